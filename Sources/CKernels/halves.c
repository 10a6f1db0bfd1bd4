// Loops over 16-bit floats (bf16.h), for the compiler to vectorize as in pointwise.c.
//
// Memory: an activation goes through blocks on the stack, so that nothing of 32 bits is written that is not asked for.
#include "halves.h"

#include "CKernels.h"

#include <string.h>

#if defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

enum { block = 1024 };

// bf16_of without a branch.
static inline __attribute__((always_inline)) uint32_t nearest(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t up = bits + 0x7fff + (bits >> 16 & 1), silent = bits | 0x400000;
    return (bits & 0x7fffffff) > 0x7f800000 ? silent : up;
}

CLONES void mm_widen_bf16(long n, const uint16_t *restrict x, float *restrict y) {
    for (long i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)x[i] << 16;
        memcpy(y + i, &bits, sizeof bits);
    }
}

CLONES void mm_narrow_bf16(long n, const float *restrict x, uint16_t *restrict y) {
    for (long i = 0; i < n; i++) y[i] = (uint16_t)(nearest(x[i]) >> 16);
}

CLONES void mm_round_bf16(long n, const float *x, float *y) {
    for (long i = 0; i < n; i++) {
        const uint32_t bits = nearest(x[i]) & 0xffff0000;
        memcpy(y + i, &bits, sizeof bits);
    }
}

void mm_unary_bf16(int op, long n, const float *x, uint16_t *y) {
    float output[block];
    for (long i = 0; i < n; i += block) {
        const long count = n - i < block ? n - i : block;
        mm_unary_f32(op, count, x + i, output);
        mm_narrow_bf16(count, output, y + i);
    }
}

void mm_unary_of_bf16(int op, long n, const uint16_t *x, uint16_t *y) {
    float input[block];
    for (long i = 0; i < n; i += block) {
        const long count = n - i < block ? n - i : block;
        mm_widen_bf16(count, x + i, input);
        mm_unary_bf16(op, count, input, y + i);
    }
}

void mm_unary_gradient_bf16(int op, long n, const uint16_t *x, const uint16_t *y, const float *gy, float *gx) {
    float input[block], output[block];
    for (long i = 0; i < n; i += block) {
        const long count = n - i < block ? n - i : block;
        mm_widen_bf16(count, x + i, input);
        if (y != x) mm_widen_bf16(count, y + i, output);
        mm_unary_gradient_f32(op, count, input, y != x ? output : input, gy + i, gx + i);
    }
}
