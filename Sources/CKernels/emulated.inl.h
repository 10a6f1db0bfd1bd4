// Instructions that AVX2 lacks, as Intel's manual defines them (volume 2), under the names of their intrinsics, for
// kernels_wide16.c.
//
// Memory: registers.
#define MM_EMULATED static inline __attribute__((always_inline))

// VPDPWSSD and VPDPBUSD (VEX and EVEX forms, 256 bits).
MM_EMULATED __m256i emulated_dpwssd(__m256i sum, __m256i a, __m256i b) {
    int32_t total[8];
    int16_t x[16], y[16];
    memcpy(total, &sum, sizeof total), memcpy(x, &a, sizeof x), memcpy(y, &b, sizeof y);
    for (int i = 0; i < 16; i++) total[i / 2] += (int32_t)x[i] * y[i];
    memcpy(&sum, total, sizeof total);
    return sum;
}
MM_EMULATED __m256i emulated_dpbusd(__m256i sum, __m256i a, __m256i b) {
    int32_t total[8];
    uint8_t x[32];
    int8_t y[32];
    memcpy(total, &sum, sizeof total), memcpy(x, &a, sizeof x), memcpy(y, &b, sizeof y);
    for (int i = 0; i < 32; i++) total[i / 4] += (int32_t)x[i] * y[i];
    memcpy(&sum, total, sizeof total);
    return sum;
}

// VDPBF16PS (EVEX form, 512 bits): per lane two multiply-adds, the upper halves first, each rounded once to nearest even;
// denormal operands and results are zeros with their sign. Which of several NaN comes out is not followed.
typedef int32_t emulated_bits __attribute__((vector_size(64)));

MM_EMULATED __m512 emulated_normal(emulated_bits x) {
    const emulated_bits denormal = (x & 0x7f800000) == 0;
    return (__m512)(x & ~(denormal & 0x7fffffff));
}
MM_EMULATED __m512 emulated_step(__m512 sum, __m512 a, __m512 b) {
    const __m512 found = __builtin_elementwise_fma(a, b, sum);
    // Too small is what would be so if exponents had no end: decided on numbers 2^64 times as large.
    const __m512 large = __builtin_elementwise_fma(a * 0x1p64f, b, sum * 0x1p64f);
    const emulated_bits tiny = (large < 0x1p-62f) & (large > -0x1p-62f);
    return (__m512)((emulated_bits)found & ~(tiny & 0x7fffffff));
}
MM_EMULATED __m512 emulated_dpbf16(__m512 sum, __m512bh a, __m512bh b) {
    const emulated_bits x = (emulated_bits)a, y = (emulated_bits)b, upper = (emulated_bits){0} + (int32_t)0xffff0000;
    sum = emulated_step(emulated_normal((emulated_bits)sum), emulated_normal(x & upper), emulated_normal(y & upper));
    return emulated_step(sum, emulated_normal(x << 16), emulated_normal(y << 16));
}

#undef _mm256_dpwssd_epi32
#undef _mm256_dpbusd_epi32
#undef _mm512_dpbf16_ps
#define _mm256_dpwssd_epi32 emulated_dpwssd
#define _mm256_dpbusd_epi32 emulated_dpbusd
#define _mm512_dpbf16_ps emulated_dpbf16
