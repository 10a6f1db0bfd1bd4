// Instruction-set variants: how one source becomes several kernels.
//
//   * Hot code stands in *.inl.h files, written with vectors of MM_LANES floats and tiles of MM_ROWS x 2*MM_LANES. It is
//     compiled once per instruction set: kernels_baseline.c, kernels_avx2.c, kernels_avx512.c, kernels_avx512vnni.c,
//     kernels_avx512bf16.c (and kernels_wide16.c: the last one's source on an AVX2 processor, for tests) define those
//     macros, push the target attribute over everything that follows, and include variant_body.inl.h, which includes all
//     *.inl.h files and fills one `mm_variant` table.
//   * dispatch.c chooses a table (processor, MMGEN_ISA, mm_set_isa) and forwards the public functions to it.
//   * To add a kernel family: declare its function pointers in a struct, give it a member here, write `family.inl.h` with
//     static functions, include it from variant_body.inl.h and fill the member there. Pointwise loops
//     stand apart (pointwise.c): the compiler vectorizes them and the loader picks their level.
//   * MM_INTEGERS_256 says that products of small integers may use 256-bit vectors, MM_HAS_VNNI that one instruction
//     multiplies and adds them (integer_dots.inl.h), MM_HAS_BF16 that one does so with pairs of 16-bit floats
//     (bf16_dots.inl.h).
//   * In an *.inl.h file: no system headers (variant_body.inl.h includes them before the target attribute), every function
//     static, functions that take or return vectors MM_INLINE (a 64-byte vector has no stable calling convention).
//
// Memory: tables are constants.
#ifndef MM_VARIANTS_H
#define MM_VARIANTS_H

#include "CKernels.h"

typedef struct {
    const char *name;
    long panel;  // columns in a panel of packed weights: 2 * lanes
    void (*gemm)(long m, long n, long k, const float *a, long a_row, long a_col, const float *b, long b_row, long b_col,
                 float *c, long c_row, int accumulate, const float *bias, int activation);
    void (*gemm_batch)(long batch, long m, long n, long k, const float *a, long a_step, long a_row, long a_col,
                       const float *b, long b_step, long b_row, long b_col, float *c, long c_step, long c_row);
    void (*gemm_mixed)(long m, long n, long k, const uint16_t *a, long a_row, long a_col, const void *b, int b_type,
                       long b_row, long b_col, float *c, long c_row, const float *bias);
    void (*pack)(long n, long k, const float *weights, float *panels);
    void (*gemm_packed)(long m, long n, long k, const float *a, long a_row, const float *panels, float *c, long c_row,
                        const float *bias, int activation);
    void (*gemm_weights)(int kind, long m, long n, long k, const float *a, long a_row, const void *packed, float *c,
                         long c_row, const float *bias, int activation);
    void (*conv_forward)(const mm_conv *, const float *x, const float *w, const float *bias, int activation, float *y);
    void (*conv_backward_data)(const mm_conv *, const float *gy, long gy_step, const float *w, const float *bias,
                               int activation, float *gx, long gx_step);
    void (*conv_backward_weights)(const mm_conv *, const float *x, const float *gy, float *gw);
    void (*attention_forward)(const mm_attention *, int type, const void *q, const void *k, const void *v, void *o,
                              float *statistics);
    void (*attention_backward)(const mm_attention *, int type, const void *q, const void *k, const void *v, const void *o,
                               const float *statistics, const void *go, float *gq, float *gk, float *gv);
    void (*attention_cached)(const mm_attention *, const float *q, const float *k, const float *v, float *o);
    void (*attention_rows)(const mm_cache_attention *, const mm_cache_row *, const float *q, const float *k, const float *v,
                           float *o);
} mm_variant;

extern const mm_variant mm_variant_baseline;
#if defined(__x86_64__)
extern const mm_variant mm_variant_avx2, mm_variant_avx512, mm_variant_avx512vnni, mm_variant_avx512bf16, mm_variant_wide16;
#endif

// What the calling thread uses now.
const mm_variant *mm_current_variant(void);

#endif
