// The variant for AVX-512 with products of small integers and of 16-bit floats (see variants.h). Every processor with the
// second has the first.
//
// Memory: as the included sources state.
#include "variant_prelude.h"

#if defined(__x86_64__)
#define MM_VARIANT mm_variant_avx512bf16
#define MM_VARIANT_NAME "avx512bf16"
#define MM_LANES 16
#define MM_ROWS 14
#define MM_HAS_FMA 1
#define MM_INTEGERS_256 1
#define MM_HAS_VNNI 1
#define MM_HAS_BF16 1
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16"))), apply_to = function)
#include "variant_body.inl.h"
#pragma clang attribute pop
#endif
