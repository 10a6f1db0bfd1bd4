// The hot loops of mmgen, in C, behind one flat interface.
//
// Conventions
//   * Functions end in _f32 or _f64. f32 is the fast path, with one variant per instruction set chosen at run time;
//     f64 is the readable reference (used to check gradients and to hold the fast path against).
//   * Sizes are `long`, in elements. Matrices are addressed by a row step and a column step where stated.
//   * No function allocates from the caller's view, none keeps a reference to its arguments.
//   * Results never depend on the thread count: work is split over outputs, never over a reduction. Every output element
//     of a product is one chain of fused multiply-adds over k in ascending order, whatever the number of rows.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- Threads (pool.c) ------------------------------------------------------------------------------------------------

// The number of workers, the calling thread included; at first the processors this process may use (affinity, cgroup).
int mm_thread_count(void);
void mm_set_thread_count(int count);
typedef void (*mm_task)(void *context, long index);
// Calls task(context, 0..<count), each once, on the pool's threads and the caller's. Returns when all are done. Callable
// from several threads at once and from inside a task (then it runs in place).
void mm_parallel(long count, mm_task task, void *context);

// ---- Memory (scratch.c) ----------------------------------------------------------------------------------------------

// Gives what the heap keeps of freed memory back to the system, where the heap can.
void mm_trim_heap(void);
// What is called, on any thread, when the system has no memory for a kernel; it ends the process. NULL: abort.
void mm_set_out_of_memory(void (*handler)(size_t bytes));

// ---- Instruction sets (dispatch.c) -----------------------------------------------------------------------------------

// "baseline", "avx2", "avx512", "avx512vnni" or "avx512bf16": what is in use. The environment variable MMGEN_ISA caps it (same names).
const char *mm_isa_name(void);
// Caps the instruction set from now on; returns 0, or -1 when the processor lacks it. For tests and benchmarks.
int mm_set_isa(const char *name);
// The same for kernels called from this thread only (NULL: as everyone else). "wide16" runs the source of "avx512bf16" on
// an AVX2 processor. For tests that run beside others.
int mm_set_isa_for_thread(const char *name);

// ---- Products (gemm) -------------------------------------------------------------------------------------------------

enum mm_activation { MM_IDENTITY = 0, MM_RELU = 1, MM_GELU = 2, MM_QUICK_GELU = 3 };

// C[i,j] = act(sum_k A[i,k] B[k,j] + bias[j]), or with `accumulate` C[i,j] += sum_k ... (the chain starts from C; then
// bias must be NULL and the activation MM_IDENTITY). A[i,k] is a[i*a_row + k*a_col], B[k,j] is b[k*b_row + j*b_col],
// C[i,j] is c[i*c_row + j].
void mm_gemm_f32(long m, long n, long k, const float *a, long a_row, long a_col, const float *b, long b_row, long b_col,
                 float *c, long c_row, int accumulate, const float *bias, int activation);
void mm_gemm_f64(long m, long n, long k, const double *a, long a_row, long a_col, const double *b, long b_row,
                 long b_col, double *c, long c_row, int accumulate, const double *bias, int activation);
// The same for `batch` independent products whose operands lie a_step, b_step and c_step elements apart (0 = shared).
void mm_gemm_batch_f32(long batch, long m, long n, long k, const float *a, long a_step, long a_row, long a_col,
                       const float *b, long b_step, long b_row, long b_col, float *c, long c_step, long c_row);
void mm_gemm_batch_f64(long batch, long m, long n, long k, const double *a, long a_step, long a_row, long a_col,
                       const double *b, long b_step, long b_row, long b_col, double *c, long c_step, long c_row);

// C[i,j] = sum_k A[i,k] B[k,j] + bias[j] of 16-bit floats (bf16): A is made of them; B is too (b_type MM_BF16), or is
// rounded to them, to nearest even, as it is read (MM_F32). Sums are the float chains of mm_gemm_f32, and the result has its
// bits for operands rounded before; with "avx512bf16" the chains run over pairs of k (bf16_dots.inl.h), and so they do in
// attention of 16-bit floats and in convolutions of them that are plain products.
void mm_gemm_bf16(long m, long n, long k, const uint16_t *a, long a_row, long a_col, const void *b, int b_type, long b_row,
                  long b_col, float *c, long c_row, const float *bias);

// Weights [n, k] (row-major, outputs first) packed once into panels of outputs, for products of any number of rows with
// the same bits as mm_gemm_f32 (decode, prefill and batches agree). Sizes in bytes; `packed` is 64-byte aligned.
size_t mm_packed_size_f32(long n, long k);
void mm_pack_f32(long n, long k, const float *weights, float *packed);
void mm_gemm_packed_f32(long m, long n, long k, const float *a, long a_row, const float *packed, float *c, long c_row,
                        const float *bias, int activation);

// ---- Weights of few bits (weights) ------------------------------------------------------------------------------------

// How weights [n, k] (outputs first) are kept for inference. As rows, the way files hold them:
//   bf16  [n, k] 16-bit floats, no scales;
//   int8  [n, k] in -127...127 with a scale (float) per row: w = value * scale;
//   int4  groups of 32 along k (the last one filled with zeros), 16 bytes each: value 2i of a group in the low half of its
//         byte i, value 2i+1 in the high half, each plus 8; a scale (bf16) per group: w = (value - 8) * scale.
enum mm_weight_kind { MM_WEIGHTS_BF16 = 1, MM_WEIGHTS_INT8 = 2, MM_WEIGHTS_INT4 = 3 };
enum { MM_INT4_GROUP = 32 };
// Bytes of a row's values.
long mm_weights_row_bytes(int kind, long k);
// The nearest such weights; `values` and `scales` as above. A row (int4: group) that holds something that is not a number
// gets a scale that is none.
void mm_weights_quantize(int kind, long n, long k, const float *w, void *values, void *scales);
// Rows packed once for products; the packed form is the same for every instruction set and 64-byte aligned.
size_t mm_weights_packed_size(int kind, long n, long k);
void mm_weights_pack(int kind, long n, long k, const void *values, const void *scales, void *packed);
// Outputs first ..< first + count of packed weights as floats [count, k].
void mm_weights_unpack(int kind, long n, long k, const void *packed, long first, long count, float *w);
// C[i,j] = act(sum_k A[i,k] W[j,k] + bias[j]) for any number of rows. A row's bits depend on nothing but that row:
//   bf16  the bits of mm_gemm_f32 with the widened weights;
//   int8  A's row is rounded to 255 steps (scale: its largest magnitude / 127), products are summed exactly;
//   int4  likewise, exactly within a group, then group after group as floats.
// int8 and int4 have the same bits under every instruction set, up to the activation. k is at most 131072.
void mm_gemm_weights_f32(int kind, long m, long n, long k, const float *a, long a_row, const void *packed, float *c,
                         long c_row, const float *bias, int activation);

// ---- Convolution (conv) ----------------------------------------------------------------------------------------------

// A 3-D convolution (2-D: depth 1) of NCDHW tensors without gaps. Output size must satisfy, per axis,
// out = (in + pad_front + pad_back - dilation*(kernel-1) - 1) / stride + 1 with only pad_front stated: what lies outside
// the input reads as zero.
typedef struct {
    long batch, in_channels, out_channels;
    long in_size[3], out_size[3], kernel[3], stride[3], dilation[3], pad_front[3];
    // Non-zero: x, gy and w hold 16-bit floats only (their lower halves are zero), which may be multiplied as such.
    int halves;
} mm_conv;

// What makes at least this many channels may compute the positions of an axis in fours, counted from the first, whose last
// bits depend on each other; with fewer every position is computed by itself.
enum { MM_CONV_FOURS_CHANNELS = 16 };

// y[batch, out_channels, out_size] = x * w + bias, w is [out_channels, in_channels, kernel]; bias may be NULL; the
// activation is MM_IDENTITY or MM_RELU.
void mm_conv_forward_f32(const mm_conv *shape, const float *x, const float *w, const float *bias, int activation, float *y);
void mm_conv_forward_f64(const mm_conv *shape, const double *x, const double *w, const double *bias, int activation, double *y);
// gx = the adjoint applied to gy. Also the forward of a transposed convolution: there gy is its input, gx its output,
// w is [its inputs, its outputs, kernel]; `bias` (per in_channels of the struct, may be NULL) is added to every output.
void mm_conv_backward_data_f32(const mm_conv *shape, const float *gy, const float *w, const float *bias, int activation, float *gx);
// Of tensors with gaps: the channels of gy and gx, samples included, are gy_step and gx_step elements apart.
void mm_conv_backward_data_part_f32(const mm_conv *shape, const float *gy, long gy_step, const float *w, const float *bias,
                                    int activation, float *gx, long gx_step);
void mm_conv_backward_data_f64(const mm_conv *shape, const double *gy, const double *w, const double *bias, int activation, double *gx);
// gw = the gradient of the weights (overwritten), summed over the batch in order.
void mm_conv_backward_weights_f32(const mm_conv *shape, const float *x, const float *gy, float *gw);
void mm_conv_backward_weights_f64(const mm_conv *shape, const double *x, const double *gy, double *gw);

// ---- Attention (attention) -------------------------------------------------------------------------------------------

// softmax(q k^T * scale, masked) v for every batch and head. Element (b, h, i, c) of q is q[b*q_step[0] + h*q_step[1] +
// i*q_step[2] + c]; likewise k, v, o and their gradients (which use the steps of what they are the gradient of).
typedef struct {
    long batch, heads, queries, keys, key_dim, value_dim;
    long q_step[3], k_step[3], v_step[3], o_step[3];
    double scale;
    // Non-zero: query i sees keys 0 ... i + keys - queries only.
    int causal;
    // NULL, or 1 = attend, 0 = masked, element (b, h, i, j) at mask[b*mask_step[0] + h*mask_step[1] + i*mask_step[2] + j].
    // A query that sees no key yields zeros.
    const uint8_t *mask;
    long mask_step[3];
    // Dropout on the probabilities: each is dropped with this probability by philox keyed (seed, stream) at counter
    // ((b*heads + h)*queries + i)*keys + j, the kept ones scaled by 1/(1-p). Zero: none.
    double dropout;
    uint64_t seed, stream;
    // NULL, or what is added to the scaled scores: element (b, h, i, j) is bias[b*bias_step[0] + h*bias_step[1] +
    // i*bias_step[2] + j]; floats, of _f64 doubles.
    const void *bias;
    long bias_step[3];
    // NULL, or [parts, heads, queries, keys], where backward writes the bias's gradient, as the sum over the parts.
    void *bias_gradient;
    // NULL, or where rows lie: element b of the batch is window b % windows of sample b / windows, which is what the first
    // steps count, and row i of its queries, keys, values and result is the sample's row places[b % windows * queries + i].
    // There are as many keys as queries, every row is in one window, and there is no mask.
    const int32_t *places;
    long windows;
    // NULL, or the regions of the rows of windows, like `places`: `penalty` is added to scores between different ones.
    const int32_t *regions;
    double penalty;
} mm_attention;

// How many parts a bias's gradient has: each sums some consecutive elements of the batch. Only the shape decides.
long mm_attention_bias_parts(const mm_attention *shape);

// `statistics` ([batch, heads, queries], the log of the sum of exponentials, needed by backward) may be NULL.
void mm_attention_forward_f32(const mm_attention *shape, const float *q, const float *k, const float *v, float *o, float *statistics);
void mm_attention_forward_f64(const mm_attention *shape, const double *q, const double *k, const double *v, double *o, double *statistics);
void mm_attention_backward_f32(const mm_attention *shape, const float *q, const float *k, const float *v, const float *o,
                               const float *statistics, const float *go, float *gq, float *gk, float *gv);
void mm_attention_backward_f64(const mm_attention *shape, const double *q, const double *k, const double *v, const double *o,
                               const double *statistics, const double *go, double *gq, double *gk, double *gv);
// The same of 16-bit floats (bf16). Probabilities, after dropout, and the gradients of scores are rounded to them where they
// are multiplied, and so is the result; sums, the softmax, the statistics and gradients are floats.
void mm_attention_forward_bf16(const mm_attention *shape, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                               uint16_t *o, float *statistics);
void mm_attention_backward_bf16(const mm_attention *shape, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                                const uint16_t *o, const float *statistics, const uint16_t *go, float *gq, float *gk,
                                float *gv);
// Inference: each query row's result has the same bits whatever the number of rows in the call (prefill, decode and
// batches agree). Same struct; no dropout, no mask but `causal`.
void mm_attention_cached_f32(const mm_attention *shape, const float *q, const float *k, const float *v, float *o);

// ---- Attention over caches (attention_rows) --------------------------------------------------------------------------

// What a cache's numbers are stored as: floats, the upper halves of floats (rounded to nearest even), or signed bytes with
// one scale per head and position. Arithmetic is in floats always.
enum { MM_CACHE_F32, MM_CACHE_BF16, MM_CACHE_I8 };

// Keys and values of positions that follow each other: head h, position p, channel c at [(h*room + p)*dim + c], and the
// scales (MM_CACHE_I8 only) at [h*room + p].
typedef struct {
    void *keys, *values;
    float *key_scales, *value_scales;
    long room, length;
} mm_cache_span;

// One sequence: its first positions may be another's (shared, only read), the others are its own. The call appends
// `queries` positions to `own`, whose length is the one before; there is room. They are the tokens first, first + 1, ...
typedef struct {
    mm_cache_span shared, own;
    long queries, first;
} mm_cache_row;

// Token t, head h, channel c of the queries is q[t*q_step + h*dim + c], likewise keys and values (kv_step) and the result.
typedef struct {
    long rows, heads, dim;
    int type;
    double scale;
    long q_step, kv_step, o_step;
} mm_cache_attention;

// Appends the keys and values of the rows' tokens to their caches; then every token attends to all positions of its
// sequence up to its own. The result's bits depend on neither the other rows nor on how many tokens are read at once, nor
// on what is shared. Own positions of two rows never overlap.
void mm_attention_rows_f32(const mm_cache_attention *shape, const mm_cache_row *rows, const float *q, const float *k,
                           const float *v, float *o);

// ---- Random numbers (philox.c) ---------------------------------------------------------------------------------------

// Philox4x32-10 (Salmon et al. 2011): value `index` of the stream is word index%4 of the block whose counter is
// (index/4, stream) and whose key is seed. uniform is (word>>8 + 0.5) * 2^-24, rounded down to a float: inside (0, 1).
void mm_philox_words(uint64_t seed, uint64_t stream, uint64_t first, long count, uint32_t *words);
void mm_philox_uniform_f32(uint64_t seed, uint64_t stream, uint64_t first, long count, float *values);

#include "CKernelsDecompositions.h"
#include "CKernelsDigest.h"
#include "CKernelsPictures.h"
#include "CKernelsPointwise.h"
#include "CKernelsPools.h"
#include "CKernelsProbes.h"

#ifdef __cplusplus
}
#endif
#endif
