// The body of every variant: includes the kernel sources and fills the table MM_VARIANT. See variants.h.
//
// Memory: the table is a constant. No include guard: this file belongs to exactly one .c file per variant, which has
// included variant_prelude.h before it pushed its target attribute.
#include "lanes.inl.h"
#include "vector_math.inl.h"
#include "bf16_dots.inl.h"
#include "gemm_micro.inl.h"
#include "gemm_pack.inl.h"
#include "gemm_pairs.inl.h"
#include "gemm_product.inl.h"
#include "gemm.inl.h"
#include "weights_bf16.inl.h"
#include "weights_rows.inl.h"
#include "integer_dots.inl.h"
#include "weights_int8.inl.h"
#include "weights_int4.inl.h"
#include "weights_gemm.inl.h"
#include "conv_gather.inl.h"
#include "conv_job.inl.h"
#include "conv_few.inl.h"
#include "conv_filters.inl.h"
#include "conv_winograd.inl.h"
#include "conv.inl.h"
#include "conv_weights.inl.h"
#include "attention.inl.h"
#include "attention_cached.inl.h"
#include "attention_rows.inl.h"

const mm_variant MM_VARIANT = {
    .name = MM_VARIANT_NAME,
    .panel = MM_PANEL,
    .gemm = gemm,
    .gemm_batch = gemm_batch,
    .gemm_mixed = gemm_mixed,
    .pack = pack_weights,
    .gemm_packed = gemm_packed,
    .gemm_weights = gemm_weights,
    .conv_forward = conv_forward,
    .conv_backward_data = conv_backward_data,
    .conv_backward_weights = conv_backward_weights,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .attention_cached = attention_cached,
    .attention_rows = attention_rows,
};
