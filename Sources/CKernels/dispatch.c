// Chooses the instruction-set variant at run time and forwards the public functions to it; see variants.h.
//
// Memory: packed weights begin with a 64-byte header that states the width of their panels, so that they stay valid when
// another variant is chosen later.
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"
#include "variants.h"

static _Atomic(const mm_variant *) chosen;
static _Thread_local const mm_variant *chosen_here;

#if defined(__x86_64__)
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
static int has_avx512vnni(void) { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
static int has_avx512bf16(void) { return has_avx512vnni() && __builtin_cpu_supports("avx512bf16"); }
#endif

// The variant of that name if this processor can run it.
static const mm_variant *variant_named(const char *name) {
    if (strcmp(name, "baseline") == 0) return &mm_variant_baseline;
#if defined(__x86_64__)
    if (strcmp(name, "avx2") == 0 && has_avx2()) return &mm_variant_avx2;
    if (strcmp(name, "avx512") == 0 && has_avx512()) return &mm_variant_avx512;
    if (strcmp(name, "avx512vnni") == 0 && has_avx512vnni()) return &mm_variant_avx512vnni;
    if (strcmp(name, "avx512bf16") == 0 && has_avx512bf16()) return &mm_variant_avx512bf16;
    if (strcmp(name, "wide16") == 0 && has_avx2()) return &mm_variant_wide16;
#endif
    return NULL;
}

static const mm_variant *best_variant(void) {
#if defined(__x86_64__)
    if (has_avx512bf16()) return &mm_variant_avx512bf16;
    if (has_avx512vnni()) return &mm_variant_avx512vnni;
    if (has_avx512()) return &mm_variant_avx512;
    if (has_avx2()) return &mm_variant_avx2;
#endif
    return &mm_variant_baseline;
}

const mm_variant *mm_current_variant(void) {
    if (chosen_here) return chosen_here;
    const mm_variant *variant = atomic_load_explicit(&chosen, memory_order_acquire);
    if (variant) return variant;
    // A cap the processor does not reach changes nothing, and neither does a name that does not exist.
    const char *cap = getenv("MMGEN_ISA");
    variant = cap ? variant_named(cap) : NULL;
    if (!variant) variant = best_variant();
    atomic_store_explicit(&chosen, variant, memory_order_release);
    return variant;
}

const char *mm_isa_name(void) { return mm_current_variant()->name; }

int mm_set_isa(const char *name) {
    const mm_variant *variant = variant_named(name);
    if (!variant) return -1;
    atomic_store_explicit(&chosen, variant, memory_order_release);
    return 0;
}

int mm_set_isa_for_thread(const char *name) {
    const mm_variant *variant = name ? variant_named(name) : NULL;
    if (name && !variant) return -1;
    chosen_here = variant;
    return 0;
}

// ---- Products --------------------------------------------------------------------------------------------------------

void mm_gemm_f32(long m, long n, long k, const float *a, long a_row, long a_col, const float *b, long b_row, long b_col,
                 float *c, long c_row, int accumulate, const float *bias, int activation) {
    mm_current_variant()->gemm(m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, accumulate, bias, activation);
}

void mm_gemm_batch_f32(long batch, long m, long n, long k, const float *a, long a_step, long a_row, long a_col,
                       const float *b, long b_step, long b_row, long b_col, float *c, long c_step, long c_row) {
    mm_current_variant()->gemm_batch(batch, m, n, k, a, a_step, a_row, a_col, b, b_step, b_row, b_col, c, c_step, c_row);
}

void mm_gemm_bf16(long m, long n, long k, const uint16_t *a, long a_row, long a_col, const void *b, int b_type, long b_row,
                  long b_col, float *c, long c_row, const float *bias) {
    mm_current_variant()->gemm_mixed(m, n, k, a, a_row, a_col, b, b_type, b_row, b_col, c, c_row, bias);
}

enum { header_floats = 16, widest_panel = 32 };

size_t mm_packed_size_f32(long n, long k) {
    const long columns = (n + widest_panel - 1) / widest_panel * widest_panel;
    return sizeof(float) * ((size_t)header_floats + (size_t)columns * (size_t)k);
}

void mm_pack_f32(long n, long k, const float *weights, float *packed) {
    const mm_variant *variant = mm_current_variant();
    memset(packed, 0, header_floats * sizeof(float));
    packed[0] = (float)variant->panel;
    variant->pack(n, k, weights, packed + header_floats);
}

void mm_gemm_packed_f32(long m, long n, long k, const float *a, long a_row, const float *packed, float *c, long c_row,
                        const float *bias, int activation) {
    const mm_variant *variant = mm_current_variant();
    const long panel = (long)packed[0];
    if (panel != variant->panel) {
        // Packed under another variant of this process: use one that has such panels.
        variant = &mm_variant_baseline;
#if defined(__x86_64__)
        if (panel == mm_variant_avx2.panel) variant = &mm_variant_avx2;
        if (panel == mm_variant_avx512.panel) variant = has_avx512() ? &mm_variant_avx512 : &mm_variant_wide16;
#endif
    }
    variant->gemm_packed(m, n, k, a, a_row, packed + header_floats, c, c_row, bias, activation);
}

void mm_gemm_weights_f32(int kind, long m, long n, long k, const float *a, long a_row, const void *packed, float *c,
                         long c_row, const float *bias, int activation) {
    mm_current_variant()->gemm_weights(kind, m, n, k, a, a_row, packed, c, c_row, bias, activation);
}

// ---- Convolution -----------------------------------------------------------------------------------------------------

void mm_conv_forward_f32(const mm_conv *shape, const float *x, const float *w, const float *bias, int activation,
                         float *y) {
    mm_current_variant()->conv_forward(shape, x, w, bias, activation, y);
}

void mm_conv_backward_data_f32(const mm_conv *shape, const float *gy, const float *w, const float *bias, int activation,
                               float *gx) {
    const long gy_step = shape->out_size[0] * shape->out_size[1] * shape->out_size[2];
    const long gx_step = shape->in_size[0] * shape->in_size[1] * shape->in_size[2];
    mm_current_variant()->conv_backward_data(shape, gy, gy_step, w, bias, activation, gx, gx_step);
}

void mm_conv_backward_data_part_f32(const mm_conv *shape, const float *gy, long gy_step, const float *w, const float *bias,
                                    int activation, float *gx, long gx_step) {
    mm_current_variant()->conv_backward_data(shape, gy, gy_step, w, bias, activation, gx, gx_step);
}

void mm_conv_backward_weights_f32(const mm_conv *shape, const float *x, const float *gy, float *gw) {
    mm_current_variant()->conv_backward_weights(shape, x, gy, gw);
}

// ---- Attention -------------------------------------------------------------------------------------------------------

long mm_attention_bias_parts(const mm_attention *shape) {
    enum { most_parts = 8 };
    return shape->bias_step[0] != 0 || shape->batch < most_parts ? shape->batch : most_parts;
}

void mm_attention_forward_f32(const mm_attention *shape, const float *q, const float *k, const float *v, float *o,
                              float *statistics) {
    mm_current_variant()->attention_forward(shape, MM_F32, q, k, v, o, statistics);
}

void mm_attention_forward_bf16(const mm_attention *shape, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                               uint16_t *o, float *statistics) {
    mm_current_variant()->attention_forward(shape, MM_BF16, q, k, v, o, statistics);
}

void mm_attention_backward_f32(const mm_attention *shape, const float *q, const float *k, const float *v, const float *o,
                               const float *statistics, const float *go, float *gq, float *gk, float *gv) {
    mm_current_variant()->attention_backward(shape, MM_F32, q, k, v, o, statistics, go, gq, gk, gv);
}

void mm_attention_backward_bf16(const mm_attention *shape, const uint16_t *q, const uint16_t *k, const uint16_t *v,
                                const uint16_t *o, const float *statistics, const uint16_t *go, float *gq, float *gk,
                                float *gv) {
    mm_current_variant()->attention_backward(shape, MM_BF16, q, k, v, o, statistics, go, gq, gk, gv);
}

void mm_attention_cached_f32(const mm_attention *shape, const float *q, const float *k, const float *v, float *o) {
    mm_current_variant()->attention_cached(shape, q, k, v, o);
}

void mm_attention_rows_f32(const mm_cache_attention *shape, const mm_cache_row *rows, const float *q, const float *k,
                           const float *v, float *o) {
    mm_current_variant()->attention_rows(shape, rows, q, k, v, o);
}
