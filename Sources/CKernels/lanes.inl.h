// Vectors of MM_LANES floats, and the few operations all kernels are written in.
//
// Memory: loads and stores need no alignment.
#define MM_INLINE static inline __attribute__((always_inline))
#define MM_PANEL (2 * MM_LANES)
#define MM_UNROLL _Pragma("clang loop unroll(full)")

typedef float vf __attribute__((vector_size(4 * MM_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * MM_LANES)));
typedef float vf_memory __attribute__((vector_size(4 * MM_LANES), aligned(4), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * MM_LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * MM_LANES)));
typedef uint16_t vh_memory __attribute__((vector_size(2 * MM_LANES), aligned(2), may_alias));
typedef float v4 __attribute__((vector_size(16)));
typedef float v4_memory __attribute__((vector_size(16), aligned(4), may_alias));

MM_INLINE vf load(const float *p) { return *(const vf_memory *)p; }
MM_INLINE void store(float *p, vf v) { *(vf_memory *)p = v; }
MM_INLINE vf splat(float x) { return (vf)(x - (vf){0}); }
// a * b + c, rounded once where the processor can.
#if defined(MM_HAS_FMA)
#define MM_FMA(a, b, c) __builtin_elementwise_fma((a), (b), (c))
#else
#define MM_FMA(a, b, c) ((a) * (b) + (c))
#endif
MM_INLINE vf choose(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }
MM_INLINE vf larger(vf a, vf b) { return choose(a > b, a, b); }
MM_INLINE vf smaller(vf a, vf b) { return choose(a < b, a, b); }

// The first `count` floats, the rest `fill`.
MM_INLINE vf load_some(const float *p, long count, float fill) {
    float lanes[MM_LANES];
    for (long i = 0; i < MM_LANES; i++) lanes[i] = i < count ? p[i] : fill;
    return load(lanes);
}
MM_INLINE void store_some(float *p, vf v, long count) {
    float lanes[MM_LANES];
    store(lanes, v);
    for (long i = 0; i < count && i < MM_LANES; i++) p[i] = lanes[i];
}
// Sums in a fixed tree: halves, quarters, ... .
MM_INLINE float sum_lanes(vf v) {
    float lanes[MM_LANES];
    store(lanes, v);
    MM_UNROLL for (int half = MM_LANES / 2; half > 0; half /= 2)
        MM_UNROLL for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}
MM_INLINE float largest_lane(vf v) {
    float lanes[MM_LANES];
    store(lanes, v);
    float most = lanes[0];
    MM_UNROLL for (int i = 1; i < MM_LANES; i++) most = lanes[i] > most ? lanes[i] : most;
    return most;
}

static inline long least(long a, long b) { return a < b ? a : b; }
static inline long most(long a, long b) { return a > b ? a : b; }
static inline long divide_up(long a, long b) { return (a + b - 1) / b; }

// Every other float of two vectors.
MM_INLINE vf even_lanes(vf a, vf b) {
#if MM_LANES == 4
    return __builtin_shufflevector(a, b, 0, 2, 4, 6);
#elif MM_LANES == 8
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#else
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#endif
}

MM_INLINE vf odd_lanes(vf a, vf b) {
#if MM_LANES == 4
    return __builtin_shufflevector(a, b, 1, 3, 5, 7);
#elif MM_LANES == 8
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#endif
}

// Two vectors in turn, one lane of each at a time: the first half of the result, and the second.
MM_INLINE vf front_pairs(vf a, vf b) {
#if MM_LANES == 4
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#elif MM_LANES == 8
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#endif
}
MM_INLINE vf back_pairs(vf a, vf b) {
#if MM_LANES == 4
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#elif MM_LANES == 8
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#endif
}

// Floats of 16 bits (bf16.h): the upper halves of floats.
MM_INLINE vf load_half(const uint16_t *p) {
    return (vf)(__builtin_convertvector(*(const vh_memory *)p, vu) << (vu)((vu){0} + 16u));
}
// The nearest floats whose lower half is zero, to even where two are.
MM_INLINE vf rounded(vf x) {
    const vu bits = (vu)x, upper = (vu){0} + 0xffff0000u;
    const vu nearest = bits + ((vu){0} + 0x7fffu) + (bits >> ((vu){0} + 16u) & ((vu){0} + 1u));
    const vu silent = bits | ((vu){0} + 0x400000u);
    return choose(x == x, (vf)(nearest & upper), (vf)(silent & upper));
}
// Of floats that are rounded already.
MM_INLINE void store_half(uint16_t *p, vf x) {
    *(vh_memory *)p = __builtin_convertvector((vu)x >> ((vu){0} + 16u), vh);
}
static inline void widen(long count, const uint16_t *x, float *y) {
    long i = 0;
    for (; i + MM_LANES <= count; i += MM_LANES) store(y + i, load_half(x + i));
    for (; i < count; i++) y[i] = of_bf16(x[i]);
}
static inline void round_floats(long count, const float *x, float *y) {
    long i = 0;
    for (; i + MM_LANES <= count; i += MM_LANES) store(y + i, rounded(load(x + i)));
    for (; i < count; i++) y[i] = of_bf16(bf16_of(x[i]));
}
static inline void narrow(long count, const float *x, uint16_t *y) {
    long i = 0;
    for (; i + MM_LANES <= count; i += MM_LANES) store_half(y + i, rounded(load(x + i)));
    for (; i < count; i++) y[i] = bf16_of(x[i]);
}
