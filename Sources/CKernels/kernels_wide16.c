// The source of "avx512vnni", line for line, on an AVX2 processor, each vector split in two and the two instructions that
// it lacks spelled out: lets tests run it anywhere; never chosen by itself (see variants.h). A test holds its macros to
// those of kernels_avx512vnni.c.
//
// Memory: as the included sources state.
#include "variant_prelude.h"

#if defined(__x86_64__)
#define MM_VARIANT mm_variant_wide16
#define MM_VARIANT_NAME "wide16"
#define MM_LANES 16
#define MM_ROWS 14
#define MM_HAS_FMA 1
#define MM_INTEGERS_256 1
#define MM_HAS_VNNI 1
// Every function over a split vector is inlined: no call has to agree on how such a vector is passed.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

// VPDPWSSD and VPDPBUSD as Intel's manual defines them (volume 2, VEX and EVEX forms, 256 bits).
static inline __attribute__((always_inline)) __m256i emulated_dpwssd(__m256i sum, __m256i a, __m256i b) {
    int32_t total[8];
    int16_t x[16], y[16];
    memcpy(total, &sum, sizeof total), memcpy(x, &a, sizeof x), memcpy(y, &b, sizeof y);
    for (int i = 0; i < 16; i++) total[i / 2] += (int32_t)x[i] * y[i];
    memcpy(&sum, total, sizeof total);
    return sum;
}
static inline __attribute__((always_inline)) __m256i emulated_dpbusd(__m256i sum, __m256i a, __m256i b) {
    int32_t total[8];
    uint8_t x[32];
    int8_t y[32];
    memcpy(total, &sum, sizeof total), memcpy(x, &a, sizeof x), memcpy(y, &b, sizeof y);
    for (int i = 0; i < 32; i++) total[i / 4] += (int32_t)x[i] * y[i];
    memcpy(&sum, total, sizeof total);
    return sum;
}
#undef _mm256_dpwssd_epi32
#undef _mm256_dpbusd_epi32
#define _mm256_dpwssd_epi32 emulated_dpwssd
#define _mm256_dpbusd_epi32 emulated_dpbusd

#include "variant_body.inl.h"
#pragma clang attribute pop
#endif
