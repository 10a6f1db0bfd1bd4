// Products of 16-bit floats two by two, where the processor has an instruction for them.
//
// Memory: a lane of 32 bits holds a pair, two neighbours of k: the even one in its low half.
//
// MM_HAS_BF16 says that the instruction is there, which knows 512-bit vectors (MM_LANES 16). It adds the odd product, then
// the even one, each with one rounding to nearest even, and takes what is too small to be a normal number for zero, before
// and after (Intel's manual, volume 2, VDPBF16PS). Numbers beyond an odd k are zeros.
#if defined(MM_HAS_BF16)
enum { halves_per_lane = 2 };

MM_INLINE vf add_dots(vf sum, vf a, vf b) { return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }
#else
enum { halves_per_lane = 1 };  // widened to a float
#endif

typedef int32_t lane_memory __attribute__((aligned(2), may_alias));
MM_INLINE vf splat_lane(const void *p) { return (vf)((vi){0} + *(const lane_memory *)p); }

// Floats whose lower halves are zero to pairs.
MM_INLINE vf halves_joined(vf even, vf odd) { return (vf)((vu)odd | (vu)even >> ((vu){0} + 16u)); }

// The sum of `count` products from zero on, in the order of the products of matrices.
static inline float dot_of_halves(const uint16_t *a, const uint16_t *b, long count) {
    long i = 0;
#if defined(MM_HAS_BF16)
    vf sums = splat(0);
    for (; i + 2 <= count; i += 2) sums = add_dots(sums, splat_lane(a + i), splat_lane(b + i));
    if (i < count) {
        const uint16_t left[2] = {a[i], 0}, right[2] = {b[i], 0};
        sums = add_dots(sums, splat_lane(left), splat_lane(right));
    }
    return sums[0];
#else
    float sum = 0;
    for (; i < count; i++) sum += of_bf16(a[i]) * of_bf16(b[i]);
    return sum;
#endif
}
