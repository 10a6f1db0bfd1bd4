// Elementwise, reduction, normalization, indexing and optimizer loops. Included by CKernels.h.
//
// These run on the calling thread: the caller splits the work (over elements or rows, never over a reduction).
// Rows are contiguous unless steps are given; steps are in elements.
#ifndef CKERNELS_POINTWISE_H
#define CKERNELS_POINTWISE_H

enum mm_unary {
    MM_NEGATE, MM_EXP, MM_LOG, MM_SQRT, MM_RSQRT, MM_RECIPROCAL, MM_SQUARE, MM_ABS, MM_SIN, MM_COS, MM_TANH, MM_SIGMOID,
    MM_ERF, MM_UNARY_RELU, MM_UNARY_GELU, MM_UNARY_QUICK_GELU, MM_SILU, MM_SIGN
};
enum mm_binary { MM_ADD, MM_SUBTRACT, MM_MULTIPLY, MM_DIVIDE, MM_MAXIMUM, MM_MINIMUM, MM_POWER, MM_ADD_RELU };
enum mm_comparison { MM_EQUAL, MM_LESS, MM_LESS_EQUAL, MM_GREATER, MM_GREATER_EQUAL };
// The order of Swift's DType cases.
enum mm_dtype { MM_F32, MM_F64, MM_BF16, MM_F16, MM_I64, MM_I32, MM_U8, MM_BOOL };

#define MM_POINTWISE(T, S)                                                                                             \
    /* y[i] = f(x[i]) */                                                                                               \
    void mm_unary_##S(int op, long n, const T *x, T *y);                                                               \
    /* gx[i] = gy[i] * f'(x[i]); y = f(x) may be used */                                                               \
    void mm_unary_gradient_##S(int op, long n, const T *x, const T *y, const T *gy, T *gx);                            \
    /* y (contiguous, of `shape`) = a op b, each operand with its own steps (0 = broadcast) */                         \
    void mm_binary_##S(int op, long rank, const long *shape, const T *a, const long *a_steps, const T *b,              \
                       const long *b_steps, T *y);                                                                     \
    void mm_compare_##S(int op, long rank, const long *shape, const T *a, const long *a_steps, const T *b,             \
                        const long *b_steps, uint8_t *y);                                                              \
    /* y[i] = x[i] * scale + shift */                                                                                  \
    void mm_affine_##S(long n, const T *x, T scale, T shift, T *y);                                                    \
    /* y[i] += x[i] * scale */                                                                                         \
    void mm_accumulate_##S(long n, const T *x, T scale, T *y);                                                         \
    /* y[o, i] = sum over r of x[o, r, i] in ascending r; likewise the maximum with its first position */              \
    void mm_sum_##S(long outer, long count, long inner, const T *x, T *y);                                             \
    void mm_max_##S(long outer, long count, long inner, const T *x, T *y, int64_t *position);                          \
    /* the sum of squares, in double precision, of a contiguous run */                                                 \
    double mm_sum_squares_##S(long n, const T *x);                                                                     \
    /* y[i] = x[i] * factor, or x[i] * 0 where number first + i of the stream lies below `probability`; first % 32 == 0 */ \
    void mm_dropout_##S(long n, const T *x, uint64_t seed, uint64_t stream, uint64_t first, double probability,        \
                        T factor, T *y);                                                                               \
    void mm_softmax_##S(long rows, long n, const T *x, T *y);                                                          \
    void mm_log_softmax_##S(long rows, long n, const T *x, T *y);                                                      \
    /* gx = y * (gy - sum(gy * y)) for softmax, gx = gy - exp(y) * sum(gy) for its logarithm */                        \
    void mm_softmax_gradient_##S(long rows, long n, const T *y, const T *gy, T *gx);                                   \
    void mm_log_softmax_gradient_##S(long rows, long n, const T *y, const T *gy, T *gx);                               \
    /* y = (x - mean) * inverse * gain + offset per row; gain and offset may be NULL; mean and inverse are kept */     \
    void mm_layer_norm_##S(long rows, long n, double epsilon, const T *x, const T *gain, const T *offset, T *y,        \
                           T *mean, T *inverse);                                                                       \
    void mm_layer_norm_gradient_##S(long rows, long n, const T *x, const T *gain, const T *mean, const T *inverse,     \
                                    const T *gy, T *gx);                                                               \
    /* ggain[j] += sum over rows of gy * normalized x, goffset[j] += sum of gy, for columns first ..< last */          \
    void mm_layer_norm_gradient_affine_##S(long rows, long n, long first, long last, const T *x, const T *mean,        \
                                           const T *inverse, const T *gy, T *ggain, T *goffset);                       \
    /* mean and biased variance of channel c of x[batch, channels, space], accumulated in double precision */          \
    void mm_channel_moments_##S(long batch, long channels, long space, long channel, const T *x, double *mean,         \
                                double *variance);                                                                     \
    /* the sums of gy and of gy * (x - mean) over channel c */                                                         \
    void mm_channel_gradient_sums_##S(long batch, long channels, long space, long channel, const T *x, double mean,    \
                                      const T *gy, double *sum, double *sum_centered);                                 \
    /* gx[i] = a * gy[i] + b * x[i] + c over channel c: the gradient of a normalization given its coefficients */      \
    void mm_channel_combine_##S(long batch, long channels, long space, long channel, const T *x, const T *gy, T a,     \
                                T b, T c, T *gx);                                                                      \
    /* y = x * scale + shift over channel c */                                                                         \
    void mm_channel_affine_##S(long batch, long channels, long space, long channel, const T *x, T scale, T shift, T *y); \
    /* loss[r] = cross entropy of row r with smoothing, 0 where target == ignored; log-sum-exp kept per row */         \
    void mm_cross_entropy_##S(long rows, long classes, const T *logits, const int64_t *targets, int64_t ignored,       \
                              double smoothing, T *loss, T *log_sum);                                                  \
    void mm_cross_entropy_gradient_##S(long rows, long classes, const T *logits, const int64_t *targets,               \
                                       int64_t ignored, double smoothing, const T *log_sum, const T *gloss, T *glogits); \
    /* index of the nearest row of codes[count, width] to each x[rows, width], by products[rows, count] = x codes^T */ \
    void mm_nearest_##S(long rows, long count, const T *products, const T *half_norms, int64_t *index);                \
    /* one AdamW step (decoupled decay), moments in place */                                                           \
    void mm_adamw_##S(long n, T *p, const T *g, T *m, T *v, double rate, double beta1, double beta2, double epsilon,   \
                      double decay, double correction1, double correction2, double gradient_scale, int coupled_decay); \
    /* x = x * keep + y * weight */                                                                                    \
    void mm_blend_##S(long n, T *x, const T *y, T keep, T weight);

MM_POINTWISE(float, f32)
MM_POINTWISE(double, f64)
#undef MM_POINTWISE

// y (contiguous) = x with steps, and y with steps = x (contiguous), for elements of 1, 2, 4 or 8 bytes.
void mm_gather_strided(long size, long rank, const long *shape, const void *x, const long *steps, void *y);
void mm_scatter_strided(long size, long rank, const long *shape, const void *x, void *y, const long *steps);
// y[i] = f(x[i]) rounded to nearest even to 16 bits (bf16), of floats and of numbers of 16 bits.
void mm_unary_bf16(int op, long n, const float *x, uint16_t *y);
void mm_unary_of_bf16(int op, long n, const uint16_t *x, uint16_t *y);
// gx[i] = gy[i] * f'(x[i]); y = f(x) may be used.
void mm_unary_gradient_bf16(int op, long n, const uint16_t *x, const uint16_t *y, const float *gy, float *gx);
// y[i] = x[i] rounded to a float whose lower half is zero.
void mm_round_bf16(long n, const float *x, float *y);
// y[i] = x[i] converted; to integers truncating, to storage types rounding to nearest even.
void mm_cast(int from, int to, long n, const void *x, void *y);
// y[r] = table[index[r]], rows of `bytes`; the caller has checked the indices.
void mm_take_rows(long rows, long bytes, const void *table, const int64_t *index, void *y);
// table[index[r]] += x[r] in ascending r, columns first ..< last of `width`.
void mm_add_rows_f32(long rows, long width, long first, long last, const float *x, const int64_t *index, float *table);
void mm_add_rows_f64(long rows, long width, long first, long last, const double *x, const int64_t *index, double *table);

#endif
