// Blocks of Philox4x32-10 and their reading as numbers in (0, 1); shared by philox.c and the attention kernels.
//
// Memory: pure functions of their arguments.
#ifndef MM_PHILOX_H
#define MM_PHILOX_H
#include <stdint.h>

static inline void mm_philox_block(uint64_t seed, uint64_t stream, uint64_t block, uint32_t words[4]) {
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0, c1 = (uint32_t)p1, c2 = n2, c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

// The words of `mm_philox_at_once` blocks in a row, in vectors of whatever width the caller is compiled for.
enum { mm_philox_at_once = 8, mm_philox_words_at_once = 4 * mm_philox_at_once };

static inline __attribute__((always_inline)) void mm_philox_blocks(uint64_t seed, uint64_t stream, uint64_t block,
                                                                   uint32_t words[mm_philox_words_at_once]) {
    typedef uint32_t single __attribute__((vector_size(4 * mm_philox_at_once)));
    typedef uint64_t wide __attribute__((vector_size(8 * mm_philox_at_once)));
    const wide blocks = block + (wide){0, 1, 2, 3, 4, 5, 6, 7};
    single c0 = __builtin_convertvector(blocks, single), c1 = __builtin_convertvector(blocks >> 32, single);
    single c2 = (uint32_t)stream - (single){0}, c3 = (uint32_t)(stream >> 32) - (single){0};
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const wide p0 = __builtin_convertvector(c0, wide) * 0xD2511F53u, p1 = __builtin_convertvector(c2, wide) * 0xCD9E8D57u;
        const single n0 = __builtin_convertvector(p1 >> 32, single) ^ c1 ^ k0;
        const single n2 = __builtin_convertvector(p0 >> 32, single) ^ c3 ^ k1;
        c0 = n0, c1 = __builtin_convertvector(p1, single), c2 = n2, c3 = __builtin_convertvector(p0, single);
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < mm_philox_at_once; i++)
        words[4 * i] = c0[i], words[4 * i + 1] = c1[i], words[4 * i + 2] = c2[i], words[4 * i + 3] = c3[i];
}

// (v + 0.5) * 2^-24 with v = word >> 8. From 2^23 on the half does not fit a float's 24 bits and is dropped: rounding it
// up would let the largest value become 1.
static inline float mm_philox_unit(uint32_t word) {
    const uint32_t v = word >> 8;
    return ((float)v + (v < (1u << 23) ? 0.5f : 0.0f)) * 0x1p-24f;
}

// The number of values v = word >> 8 whose unit value lies below `probability`: dropped means (word >> 8) < this.
static inline uint32_t mm_philox_threshold(double probability) {
    if (probability <= 0) return 0;
    if (probability >= 1) return 1u << 24;
    uint32_t v = (uint32_t)(probability * 0x1p24);
    while (v > 0 && (double)mm_philox_unit((v - 1) << 8) >= probability) v--;
    while (v < (1u << 24) && (double)mm_philox_unit(v << 8) < probability) v++;
    return v;
}

#endif
