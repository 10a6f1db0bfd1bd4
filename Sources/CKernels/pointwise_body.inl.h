// Included by pointwise.c once per element type T.

#define EACH for (long i = 0; i < n; i++)

CLONES void S(mm_unary)(int op, long n, const T *restrict x, T *restrict y) {
    switch (op) {
    case MM_NEGATE: EACH y[i] = -x[i]; break;
    case MM_EXP: EACH y[i] = F(exp)(x[i]); break;
    case MM_LOG: EACH y[i] = F(log)(x[i]); break;
    case MM_SQRT: EACH y[i] = F(sqrt)(x[i]); break;
    case MM_RSQRT: EACH y[i] = 1 / F(sqrt)(x[i]); break;
    case MM_RECIPROCAL: EACH y[i] = 1 / x[i]; break;
    case MM_SQUARE: EACH y[i] = x[i] * x[i]; break;
    case MM_ABS: EACH y[i] = F(abs)(x[i]); break;
    case MM_SIN: EACH y[i] = F(sin)(x[i]); break;
    case MM_COS: EACH y[i] = F(cos)(x[i]); break;
    case MM_TANH: EACH y[i] = F(tanh)(x[i]); break;
    case MM_SIGMOID: EACH y[i] = F(sigmoid)(x[i]); break;
    case MM_ERF: EACH y[i] = F(erf)(x[i]); break;
    case MM_UNARY_RELU: EACH y[i] = x[i] > 0 || x[i] != x[i] ? x[i] : 0; break;
    case MM_UNARY_GELU: EACH y[i] = (T)0.5 * x[i] * (1 + F(erf)(x[i] * (T)0.70710678118654752440)); break;
    case MM_UNARY_QUICK_GELU: EACH y[i] = x[i] * F(sigmoid)((T)1.702 * x[i]); break;
    case MM_SILU: EACH y[i] = x[i] * F(sigmoid)(x[i]); break;
    case MM_SIGN: EACH y[i] = (T)((x[i] > 0) - (x[i] < 0)); break;
    }
}

CLONES void S(mm_unary_gradient)(int op, long n, const T *restrict x, const T *restrict y, const T *restrict gy,
                                 T *restrict gx) {
    switch (op) {
    case MM_NEGATE: EACH gx[i] = -gy[i]; break;
    case MM_EXP: EACH gx[i] = gy[i] * y[i]; break;
    case MM_LOG: EACH gx[i] = gy[i] / x[i]; break;
    case MM_SQRT: EACH gx[i] = gy[i] / (2 * y[i]); break;
    case MM_RSQRT: EACH gx[i] = gy[i] * (T)-0.5 * y[i] / x[i]; break;
    case MM_RECIPROCAL: EACH gx[i] = -gy[i] * y[i] * y[i]; break;
    case MM_SQUARE: EACH gx[i] = 2 * gy[i] * x[i]; break;
    case MM_ABS: EACH gx[i] = gy[i] * (T)((x[i] > 0) - (x[i] < 0)); break;
    case MM_SIN: EACH gx[i] = gy[i] * F(cos)(x[i]); break;
    case MM_COS: EACH gx[i] = -gy[i] * F(sin)(x[i]); break;
    case MM_TANH: EACH gx[i] = gy[i] * (1 - y[i] * y[i]); break;
    case MM_SIGMOID: EACH gx[i] = gy[i] * y[i] * (1 - y[i]); break;
    case MM_ERF: EACH gx[i] = gy[i] * (T)1.12837916709551257390 * F(exp)(-x[i] * x[i]); break;
    case MM_UNARY_RELU: EACH gx[i] = x[i] > 0 ? gy[i] : 0; break;
    case MM_UNARY_GELU:
        EACH {
            T cumulative = (T)0.5 * (1 + F(erf)(x[i] * (T)0.70710678118654752440));
            T density = (T)0.39894228040143267794 * F(exp)((T)-0.5 * x[i] * x[i]);
            gx[i] = gy[i] * (cumulative + x[i] * density);
        }
        break;
    case MM_UNARY_QUICK_GELU:
        EACH {
            T s = F(sigmoid)((T)1.702 * x[i]);
            gx[i] = gy[i] * (s + (T)1.702 * x[i] * s * (1 - s));
        }
        break;
    case MM_SILU:
        EACH {
            T s = F(sigmoid)(x[i]);
            gx[i] = gy[i] * (s + x[i] * s * (1 - s));
        }
        break;
    case MM_SIGN: EACH gx[i] = 0; break;
    }
}

// The innermost axis of a broadcast operation: both operands run, or one stands still.
#define BINARY_ROW(EXPRESSION)                                                                                         \
    if (sa == 1 && sb == 1) EACH { T u = a[i], v = b[i]; y[i] = (EXPRESSION); }                                         \
    else if (sa == 1 && sb == 0) { T v = b[0]; EACH { T u = a[i]; y[i] = (EXPRESSION); } }                              \
    else if (sa == 0 && sb == 1) { T u = a[0]; EACH { T v = b[i]; y[i] = (EXPRESSION); } }                              \
    else EACH { T u = a[i * sa], v = b[i * sb]; y[i] = (EXPRESSION); }

CLONES static void S(binary_row)(int op, long n, const T *restrict a, long sa, const T *restrict b, long sb,
                                 T *restrict y) {
    switch (op) {
    case MM_ADD: BINARY_ROW(u + v) break;
    case MM_SUBTRACT: BINARY_ROW(u - v) break;
    case MM_MULTIPLY: BINARY_ROW(u * v) break;
    case MM_DIVIDE: BINARY_ROW(u / v) break;
    case MM_MAXIMUM: BINARY_ROW(u > v || u != u ? u : v) break;
    case MM_MINIMUM: BINARY_ROW(u < v || u != u ? u : v) break;
    case MM_POWER: BINARY_ROW(F(pow)(u, v)) break;
    case MM_ADD_RELU: BINARY_ROW(u + v > 0 || u + v != u + v ? u + v : 0) break;
    }
}

#define COMPARE_ROW(EXPRESSION) EACH { T u = a[i * sa], v = b[i * sb]; y[i] = (EXPRESSION); }

static void S(compare_row)(int op, long n, const T *a, long sa, const T *b, long sb, uint8_t *y) {
    switch (op) {
    case MM_EQUAL: COMPARE_ROW(u == v) break;
    case MM_LESS: COMPARE_ROW(u < v) break;
    case MM_LESS_EQUAL: COMPARE_ROW(u <= v) break;
    case MM_GREATER: COMPARE_ROW(u > v) break;
    case MM_GREATER_EQUAL: COMPARE_ROW(u >= v) break;
    }
}

// Walks all axes but the last like an odometer.
#define FOR_EACH_ROW(ROW)                                                                                              \
    long n = rank > 0 ? shape[rank - 1] : 1, rows = 1, at[64] = {0}, ia = 0, ib = 0;                                   \
    long sa = rank > 0 ? a_steps[rank - 1] : 1, sb = rank > 0 ? b_steps[rank - 1] : 1;                                 \
    for (long d = 0; d + 1 < rank; d++) rows *= shape[d];                                                              \
    for (long row = 0; row < rows; row++) {                                                                            \
        ROW(op, n, a + ia, sa, b + ib, sb, y + row * n);                                                               \
        for (long d = rank - 2; d >= 0; d--) {                                                                         \
            ia += a_steps[d], ib += b_steps[d];                                                                        \
            if (++at[d] < shape[d]) break;                                                                             \
            ia -= a_steps[d] * shape[d], ib -= b_steps[d] * shape[d], at[d] = 0;                                       \
        }                                                                                                              \
    }

void S(mm_binary)(int op, long rank, const long *shape, const T *a, const long *a_steps, const T *b,
                  const long *b_steps, T *y) {
    FOR_EACH_ROW(S(binary_row))
}

void S(mm_compare)(int op, long rank, const long *shape, const T *a, const long *a_steps, const T *b,
                   const long *b_steps, uint8_t *y) {
    FOR_EACH_ROW(S(compare_row))
}

CLONES void S(mm_affine)(long n, const T *restrict x, T scale, T shift, T *restrict y) {
    EACH y[i] = x[i] * scale + shift;
}

CLONES void S(mm_accumulate)(long n, const T *restrict x, T scale, T *restrict y) { EACH y[i] += x[i] * scale; }

CLONES void S(mm_dropout)(long n, const T *restrict x, uint64_t seed, uint64_t stream, uint64_t first, double probability,
                          T factor, T *restrict y) {
    const uint32_t threshold = mm_philox_threshold(probability);
    uint32_t words[mm_philox_words_at_once];
    for (long i = 0; i < n; i += mm_philox_words_at_once) {
        mm_philox_blocks(seed, stream, (first + (uint64_t)i) / 4, words);
        const long count = n - i < mm_philox_words_at_once ? n - i : mm_philox_words_at_once;
        for (long w = 0; w < count; w++) y[i + w] = x[i + w] * (words[w] >> 8 < threshold ? 0 : factor);
    }
}

// ---- Reductions ------------------------------------------------------------------------------------------------------

// A row is summed in sixteen interleaved chains that are then added pairwise: the order depends on n alone.
INLINE T S(row_sum)(long n, const T *x) {
    T lanes[16] = {0};
    long i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) lanes[l] += x[i + l];
    for (int l = 0; i < n; i++, l++) lanes[l] += x[i];
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

CLONES void S(mm_sum)(long outer, long count, long inner, const T *restrict x, T *restrict y) {
    for (long o = 0; o < outer; o++) {
        const T *base = x + o * count * inner;
        if (inner == 1) {
            // Long rows go through blocks of 4096 so that the error grows with the square root of the length.
            T total = 0;
            for (long first = 0; first < count; first += 4096)
                total += S(row_sum)(count - first < 4096 ? count - first : 4096, base + first);
            y[o] = total;
            continue;
        }
        T *out = y + o * inner;
        for (long i = 0; i < inner; i++) out[i] = 0;
        for (long r = 0; r < count; r++)
            for (long i = 0; i < inner; i++) out[i] += base[r * inner + i];
    }
}

void S(mm_max)(long outer, long count, long inner, const T *x, T *y, int64_t *position) {
    for (long o = 0; o < outer; o++)
        for (long i = 0; i < inner; i++) {
            const T *base = x + o * count * inner + i;
            T best = base[0];
            int64_t where = 0;
            for (long r = 1; r < count && best == best; r++) {
                T value = base[r * inner];
                if (value > best || value != value) best = value, where = r;
            }
            y[o * inner + i] = best;
            if (position) position[o * inner + i] = where;
        }
}

CLONES double S(mm_sum_squares)(long n, const T *x) {
    double lanes[8] = {0};
    long i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) lanes[l] += (double)x[i + l] * x[i + l];
    for (int l = 0; i < n; i++, l++) lanes[l] += (double)x[i] * x[i];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

INLINE T S(row_max)(long n, const T *x) {
    T best = n > 0 ? x[0] : 0;
    for (long i = 1; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

// A row of nothing but -infinity has no distribution: it becomes NaN, as in the peer.
CLONES void S(mm_softmax)(long rows, long n, const T *restrict x, T *restrict y) {
    for (long r = 0; r < rows; r++, x += n, y += n) {
        T top = S(row_max)(n, x);
        EACH y[i] = F(exp)(x[i] - top);
        T scale = 1 / S(row_sum)(n, y);
        EACH y[i] *= scale;
    }
}

CLONES void S(mm_log_softmax)(long rows, long n, const T *restrict x, T *restrict y) {
    for (long r = 0; r < rows; r++, x += n, y += n) {
        T top = S(row_max)(n, x);
        EACH y[i] = F(exp)(x[i] - top);
        T shift = top + F(log)(S(row_sum)(n, y));
        EACH y[i] = x[i] - shift;
    }
}

CLONES void S(mm_softmax_gradient)(long rows, long n, const T *restrict y, const T *restrict gy, T *restrict gx) {
    for (long r = 0; r < rows; r++, y += n, gy += n, gx += n) {
        EACH gx[i] = gy[i] * y[i];
        T total = S(row_sum)(n, gx);
        EACH gx[i] = gx[i] - y[i] * total;
    }
}

CLONES void S(mm_log_softmax_gradient)(long rows, long n, const T *restrict y, const T *restrict gy, T *restrict gx) {
    for (long r = 0; r < rows; r++, y += n, gy += n, gx += n) {
        T total = S(row_sum)(n, gy);
        EACH gx[i] = gy[i] - F(exp)(y[i]) * total;
    }
}

// ---- Normalization ---------------------------------------------------------------------------------------------------

CLONES void S(mm_layer_norm)(long rows, long n, double epsilon, const T *restrict x, const T *gain, const T *offset,
                             T *restrict y, T *mean, T *inverse) {
    for (long r = 0; r < rows; r++, x += n, y += n) {
        T m = S(row_sum)(n, x) / (T)n;
        EACH y[i] = (x[i] - m) * (x[i] - m);
        T s = 1 / F(sqrt)(S(row_sum)(n, y) / (T)n + (T)epsilon);
        if (gain && offset) EACH y[i] = (x[i] - m) * s * gain[i] + offset[i];
        else if (gain) EACH y[i] = (x[i] - m) * s * gain[i];
        else EACH y[i] = (x[i] - m) * s;
        mean[r] = m, inverse[r] = s;
    }
}

CLONES void S(mm_layer_norm_gradient)(long rows, long n, const T *restrict x, const T *gain, const T *mean,
                                      const T *inverse, const T *restrict gy, T *restrict gx) {
    for (long r = 0; r < rows; r++, x += n, gy += n, gx += n) {
        T m = mean[r], s = inverse[r];
        // gx holds the gradient of the normalized value first.
        if (gain) EACH gx[i] = gy[i] * gain[i];
        else EACH gx[i] = gy[i];
        T sum = 0, dot = 0;
        T lanes[16] = {0}, dots[16] = {0};
        long i = 0;
        for (; i + 16 <= n; i += 16)
            for (int l = 0; l < 16; l++) lanes[l] += gx[i + l], dots[l] += gx[i + l] * (x[i + l] - m);
        for (int l = 0; i < n; i++, l++) lanes[l] += gx[i], dots[l] += gx[i] * (x[i] - m);
        for (int l = 0; l < 16; l++) sum += lanes[l], dot += dots[l];
        T a = sum / (T)n, b = dot * s * s / (T)n;
        for (long j = 0; j < n; j++) gx[j] = s * (gx[j] - a - (x[j] - m) * b);
    }
}

CLONES void S(mm_layer_norm_gradient_affine)(long rows, long n, long first, long last, const T *restrict x,
                                             const T *mean, const T *inverse, const T *restrict gy, T *restrict ggain,
                                             T *restrict goffset) {
    for (long r = 0; r < rows; r++, x += n, gy += n)
        for (long j = first; j < last; j++) {
            ggain[j] += gy[j] * (x[j] - mean[r]) * inverse[r];
            goffset[j] += gy[j];
        }
}

#define CHANNEL_RUNS(...)                                                                                              \
    for (long item = 0; item < batch; item++) {                                                                        \
        long start = (item * channels + channel) * space;                                                              \
        __VA_ARGS__                                                                                                    \
    }

CLONES void S(mm_channel_moments)(long batch, long channels, long space, long channel, const T *x, double *mean,
                                  double *variance) {
    double count = (double)batch * space, sum = 0, squares = 0;
    CHANNEL_RUNS({
        double lanes[8] = {0};
        long i = 0;
        for (; i + 8 <= space; i += 8)
            for (int l = 0; l < 8; l++) lanes[l] += x[start + i + l];
        for (int l = 0; i < space; i++, l++) lanes[l] += x[start + i];
        for (int l = 0; l < 8; l++) sum += lanes[l];
    })
    double m = sum / count;
    CHANNEL_RUNS({
        double lanes[8] = {0};
        long i = 0;
        for (; i + 8 <= space; i += 8)
            for (int l = 0; l < 8; l++) {
                double d = x[start + i + l] - m;
                lanes[l] += d * d;
            }
        for (int l = 0; i < space; i++, l++) {
            double d = x[start + i] - m;
            lanes[l] += d * d;
        }
        for (int l = 0; l < 8; l++) squares += lanes[l];
    })
    *mean = m, *variance = squares / count;
}

CLONES void S(mm_channel_gradient_sums)(long batch, long channels, long space, long channel, const T *x, double mean,
                                        const T *gy, double *sum, double *sum_centered) {
    double total = 0, centered = 0;
    CHANNEL_RUNS({
        double lanes[8] = {0}, dots[8] = {0};
        long i = 0;
        for (; i + 8 <= space; i += 8)
            for (int l = 0; l < 8; l++) {
                double g = gy[start + i + l];
                lanes[l] += g, dots[l] += g * (x[start + i + l] - mean);
            }
        for (int l = 0; i < space; i++, l++) {
            double g = gy[start + i];
            lanes[l] += g, dots[l] += g * (x[start + i] - mean);
        }
        for (int l = 0; l < 8; l++) total += lanes[l], centered += dots[l];
    })
    *sum = total, *sum_centered = centered;
}

CLONES void S(mm_channel_combine)(long batch, long channels, long space, long channel, const T *x, const T *gy, T a,
                                  T b, T c, T *gx) {
    CHANNEL_RUNS({
        for (long i = start; i < start + space; i++) gx[i] = a * gy[i] + b * x[i] + c;
    })
}

CLONES void S(mm_channel_affine)(long batch, long channels, long space, long channel, const T *x, T scale, T shift,
                                 T *y) {
    CHANNEL_RUNS({
        for (long i = start; i < start + space; i++) y[i] = x[i] * scale + shift;
    })
}

// ---- Losses and lookups ----------------------------------------------------------------------------------------------

CLONES void S(mm_cross_entropy)(long rows, long classes, const T *logits, const int64_t *targets, int64_t ignored,
                                double smoothing, T *loss, T *log_sum) {
    for (long r = 0; r < rows; r++) {
        const T *x = logits + r * classes;
        T top = S(row_max)(classes, x), lanes[16] = {0}, total = 0;
        long i = 0;
        for (; i + 16 <= classes; i += 16)
            for (int l = 0; l < 16; l++) lanes[l] += F(exp)(x[i + l] - top);
        for (int l = 0; i < classes; i++, l++) lanes[l] += F(exp)(x[i] - top);
        for (int l = 0; l < 16; l++) total += lanes[l];
        log_sum[r] = top + F(log)(total);
        if (targets[r] == ignored) {
            loss[r] = 0;
            continue;
        }
        T value = log_sum[r] - x[targets[r]];
        if (smoothing > 0) {
            T mean = log_sum[r] - S(row_sum)(classes, x) / (T)classes;
            value = (T)(1 - smoothing) * value + (T)smoothing * mean;
        }
        loss[r] = value;
    }
}

CLONES void S(mm_cross_entropy_gradient)(long rows, long classes, const T *logits, const int64_t *targets,
                                         int64_t ignored, double smoothing, const T *log_sum, const T *gloss,
                                         T *glogits) {
    for (long r = 0; r < rows; r++) {
        const T *x = logits + r * classes;
        T *g = glogits + r * classes;
        if (targets[r] == ignored) {
            memset(g, 0, sizeof(T) * (size_t)classes);
            continue;
        }
        T scale = gloss[r], uniform = (T)(smoothing / (double)classes), shift = log_sum[r];
        for (long i = 0; i < classes; i++) g[i] = scale * (F(exp)(x[i] - shift) - uniform);
        g[targets[r]] -= scale * (T)(1 - smoothing);
    }
}

CLONES void S(mm_nearest)(long rows, long count, const T *products, const T *half_norms, int64_t *index) {
    for (long r = 0; r < rows; r++) {
        const T *p = products + r * count;
        T best = half_norms[0] - p[0];
        int64_t where = 0;
        for (long k = 1; k < count; k++) {
            T distance = half_norms[k] - p[k];
            if (distance < best) best = distance, where = k;
        }
        index[r] = where;
    }
}

// ---- Optimizer -------------------------------------------------------------------------------------------------------

CLONES void S(mm_adamw)(long n, T *restrict p, const T *restrict g, T *restrict m, T *restrict v, double rate,
                        double beta1, double beta2, double epsilon, double decay, double correction1,
                        double correction2, double gradient_scale, int coupled_decay) {
    T keep = (T)(1 - rate * decay), b1 = (T)beta1, b2 = (T)beta2, c1 = (T)(1 - beta1), c2 = (T)(1 - beta2);
    T step = (T)(rate / correction1), root = (T)(1 / sqrt(correction2)), e = (T)epsilon, s = (T)gradient_scale;
    T coupled = coupled_decay ? (T)decay : 0;
    if (coupled_decay) keep = 1;
    EACH {
        T gradient = g[i] * s + coupled * p[i];
        m[i] = b1 * m[i] + c1 * gradient;
        v[i] = b2 * v[i] + c2 * gradient * gradient;
        p[i] = keep * p[i] - step * m[i] / (F(sqrt)(v[i]) * root + e);
    }
}

CLONES void S(mm_blend)(long n, T *restrict x, const T *restrict y, T keep, T weight) {
// Both products are rounded, so that the bits do not depend on whether the compiler fuses one with the sum.
#pragma STDC FP_CONTRACT OFF
    EACH x[i] = x[i] * keep + y[i] * weight;
}

void S(mm_add_rows)(long rows, long width, long first, long last, const T *x, const int64_t *index, T *table) {
    for (long r = 0; r < rows; r++) {
        T *row = table + index[r] * width;
        const T *add = x + r * width;
        for (long j = first; j < last; j++) row[j] += add[j];
    }
}

#undef EACH
#undef BINARY_ROW
#undef COMPARE_ROW
#undef FOR_EACH_ROW
#undef CHANNEL_RUNS
