// The variant for AVX-512: 16-lane vectors, tiles of 14 x 32 (see variants.h).
//
// Memory: as the included sources state.
#include "variant_prelude.h"

#if defined(__x86_64__)
#define MM_VARIANT mm_variant_avx512
#define MM_VARIANT_NAME "avx512"
#define MM_LANES 16
#define MM_ROWS 14
#define MM_HAS_FMA 1
#define MM_INTEGERS_256 1
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#include "variant_body.inl.h"
#pragma clang attribute pop
#endif
