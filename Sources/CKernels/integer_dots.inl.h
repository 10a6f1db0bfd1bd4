// Vectors of eight 32-bit integers, and the sums of products that weights of few bits are multiplied with.
//
// Memory: loads and stores need no alignment.
//
// MM_HAS_VNNI says that the processor multiplies and adds in one instruction. The sums are exact either way, so the
// results have the same bits.
#if defined(MM_INTEGERS_256)
MM_INLINE __m256i load_lanes(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
MM_INLINE void store_lanes(void *p, __m256i v) { _mm256_storeu_si256((__m256i *)p, v); }

// sum + a0 b0 + a1 b1 per lane: two signed 16-bit numbers each.
MM_INLINE __m256i add_pairs(__m256i sum, __m256i a, __m256i b) {
#if MM_HAS_VNNI
    return _mm256_dpwssd_epi32(sum, a, b);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#endif
}

// sum + a0 b0 + ... + a3 b3 per lane, a being 0...15 and b signed bytes: in 32 bits with MM_HAS_VNNI, otherwise in two
// times 16, which at most eight such sums may be added in. whole_fours() makes 32 bits of it.
MM_INLINE __m256i add_fours(__m256i sum, __m256i a, __m256i b) {
#if MM_HAS_VNNI
    return _mm256_dpbusd_epi32(sum, a, b);
#else
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, b));
#endif
}
MM_INLINE __m256i whole_fours(__m256i sum) {
#if MM_HAS_VNNI
    return sum;
#else
    return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
#endif
}
#endif
