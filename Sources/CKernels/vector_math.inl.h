// Elementary functions on vectors of floats, as polynomials of our own fit (relative least squares, reweighted towards
// the minimax; errors below are against double precision).
//
// Memory: pure functions. Every lane is computed alike, so a value's bits do not depend on its position.

// e^x, within 1.2 units in the last place; 0 below -87.3, infinity above 88.7, NaN for NaN.
MM_INLINE vf exponential(vf x) {
    const vf bounded = smaller(larger(x, splat(-87.33654f)), splat(88.72283f));
    // x = n ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to the nearest integer.
    const vf shifted = MM_FMA(bounded, splat(1.44269504f), splat(12582912.0f));
    const vf n = shifted - splat(12582912.0f);
    vf r = MM_FMA(n, splat(-0.693359375f), bounded);
    r = MM_FMA(n, splat(2.12194440e-4f), r);
    vf p = splat(0x1.6ab968p-10f);
    p = MM_FMA(p, r, splat(0x1.126d1ep-7f));
    p = MM_FMA(p, r, splat(0x1.55589ap-5f));
    p = MM_FMA(p, r, splat(0x1.55540ap-3f));
    p = MM_FMA(p, r, splat(0x1.fffffap-2f));
    p = MM_FMA(p, r, splat(1.0f));
    p = MM_FMA(p, r, splat(1.0f));
    // 2^n in two factors, since 2^128 is not a float.
    const vi whole = (vi)shifted - (vi)splat(12582912.0f);
    const vi half = whole >> 1;
    const vf scale = (vf)((half + 127) << 23), rest = (vf)((whole - half + 127) << 23);
    vf y = p * scale * rest;
    y = choose(x < splat(-87.33654f), splat(0), y);
    y = choose(x > splat(88.72283f), splat(INFINITY), y);
    return choose(x != x, x, y);
}

// The normal distribution function: half of erfc(-x / sqrt 2), within 3e-7 relative on both tails.
// erfc(t) = e^(-t^2) P(1 / (1 + t/2)) for t >= 0, P of degree 9.
MM_INLINE vf normal_below(vf x) {
    const vf magnitude = (vf)((vi)x & 0x7fffffff);
    const vf t = smaller(magnitude * splat(0.707106781f), splat(10.5f));
    const vf u = splat(1) / MM_FMA(t, splat(0.5f), splat(1.0f));
    vf p = splat(-0.0558347267f);
    p = MM_FMA(p, u, splat(0.267978577f));
    p = MM_FMA(p, u, splat(-0.450606069f));
    p = MM_FMA(p, u, splat(0.232711895f));
    p = MM_FMA(p, u, splat(0.00807610527f));
    p = MM_FMA(p, u, splat(0.185750966f));
    p = MM_FMA(p, u, splat(0.248357494f));
    p = MM_FMA(p, u, splat(0.281379518f));
    p = MM_FMA(p, u, splat(0.282190811f));
    p = MM_FMA(p, u, splat(-4.60637328e-06f));
    const vf tail = splat(0.5f) * p * exponential(splat(-0.5f) * magnitude * magnitude);
    return choose(x < splat(0), tail, choose(x != x, x, splat(1) - tail));
}
