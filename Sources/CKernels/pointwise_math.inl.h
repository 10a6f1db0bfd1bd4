// Scalar functions that vectorize: no branches, no table, a few units in the last place. The float versions are
// polynomials; the double versions are the C library's, as they serve only as reference.

// e^x: x = n ln 2 + r with |r| <= ln 2 / 2, a degree-6 polynomial for e^r, and 2^n applied in two halves so that
// denormal results come out right. Overflows to infinity, keeps NaN.
INLINE float exp_f(float x) {
    float clamped = x > 89.0f ? 89.0f : (x < -104.0f ? -104.0f : x);
    float n = __builtin_rintf(clamped * 1.44269504088896341f);
    float r = __builtin_fmaf(n, -0.693145751953125f, clamped);
    r = __builtin_fmaf(n, -1.42860682030941723e-6f, r);
    float p = 1.3815586e-3f;
    p = __builtin_fmaf(p, r, 8.3745158e-3f);
    p = __builtin_fmaf(p, r, 4.1669145e-2f);
    p = __builtin_fmaf(p, r, 1.6666521e-1f);
    p = __builtin_fmaf(p, r, 4.9999998e-1f);
    p = __builtin_fmaf(p, r, 1.0f);
    p = __builtin_fmaf(p, r, 1.0f);
    int32_t whole = (int32_t)n;
    int32_t half = whole >> 1;
    union { int32_t i; float f; } a = {(half + 127) << 23}, b = {(whole - half + 127) << 23};
    float y = p * a.f * b.f;
    return x == x ? y : x;
}
INLINE double exp_d(double x) { return exp(x); }

// tanh: through e^2x away from zero, an odd polynomial near it where the difference would cancel.
INLINE float tanh_f(float x) {
    float magnitude = x < 0 ? -x : x;
    float big = 1.0f - 2.0f / (exp_f(2.0f * (magnitude > 20.0f ? 20.0f : magnitude)) + 1.0f);
    float s = x * x;
    float p = -5.70498872745e-3f;
    p = __builtin_fmaf(p, s, 2.06390887954e-2f);
    p = __builtin_fmaf(p, s, -5.37397155531e-2f);
    p = __builtin_fmaf(p, s, 1.33314422036e-1f);
    p = __builtin_fmaf(p, s, -3.33332819422e-1f);
    float small = __builtin_fmaf(p * s, x, x);
    float signed_big = __builtin_copysignf(big, x);
    float y = magnitude < 0.625f ? small : signed_big;
    return x == x ? y : x;
}
INLINE double tanh_d(double x) { return tanh(x); }

// erf: two minimax polynomials, one near zero and one in the exponent beyond.
INLINE float erf_f(float x) {
    float t = x < 0 ? -x : x, s = x * x;
    float r = __builtin_fmaf(-1.72853470e-5f, t, 3.83197126e-4f);
    float u = __builtin_fmaf(-3.88396438e-3f, t, 2.42546219e-2f);
    r = __builtin_fmaf(r, s, u);
    r = __builtin_fmaf(r, t, -1.06777877e-1f);
    r = __builtin_fmaf(r, t, -6.34846687e-1f);
    r = __builtin_fmaf(r, t, -1.28717512e-1f);
    r = __builtin_fmaf(r, t, -t);
    float far = __builtin_copysignf(1.0f - exp_f(r), x);
    float q = -5.96761703e-4f;
    q = __builtin_fmaf(q, s, 4.99119423e-3f);
    q = __builtin_fmaf(q, s, -2.67681349e-2f);
    q = __builtin_fmaf(q, s, 1.12819925e-1f);
    q = __builtin_fmaf(q, s, -3.76125336e-1f);
    q = __builtin_fmaf(q, s, 1.28379166e-1f);
    float near = __builtin_fmaf(q, x, x);
    float y = t > 0.927734375f ? (t > 4.0f ? __builtin_copysignf(1.0f, x) : far) : near;
    return x == x ? y : x;
}
INLINE double erf_d(double x) { return erf(x); }

INLINE float sigmoid_f(float x) { return 1.0f / (1.0f + exp_f(-x)); }
INLINE double sigmoid_d(double x) { return 1.0 / (1.0 + exp(-x)); }

INLINE float log_f(float x) { return logf(x); }
INLINE double log_d(double x) { return log(x); }
INLINE float sqrt_f(float x) { return __builtin_sqrtf(x); }
INLINE double sqrt_d(double x) { return __builtin_sqrt(x); }
INLINE float sin_f(float x) { return sinf(x); }
INLINE double sin_d(double x) { return sin(x); }
INLINE float cos_f(float x) { return cosf(x); }
INLINE double cos_d(double x) { return cos(x); }
INLINE float abs_f(float x) { return __builtin_fabsf(x); }
INLINE double abs_d(double x) { return __builtin_fabs(x); }
INLINE float pow_f(float x, float y) { return powf(x, y); }
INLINE double pow_d(double x, double y) { return pow(x, y); }
