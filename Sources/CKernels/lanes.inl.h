// Vectors of MM_LANES floats, and the few operations all kernels are written in.
//
// Memory: loads and stores need no alignment.
#define MM_INLINE static inline __attribute__((always_inline))
#define MM_PANEL (2 * MM_LANES)
#define MM_UNROLL _Pragma("clang loop unroll(full)")

typedef float vf __attribute__((vector_size(4 * MM_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * MM_LANES)));
typedef float vf_memory __attribute__((vector_size(4 * MM_LANES), aligned(4), may_alias));
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
