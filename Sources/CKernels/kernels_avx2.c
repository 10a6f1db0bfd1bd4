// The variant for AVX2 with FMA: 8-lane vectors, tiles of 6 x 16 (see variants.h).
//
// Memory: as the included sources state.
#include "variant_prelude.h"

#if defined(__x86_64__)
#define MM_VARIANT mm_variant_avx2
#define MM_VARIANT_NAME "avx2"
#define MM_LANES 8
#define MM_ROWS 6
#define MM_HAS_FMA 1
#define MM_INTEGERS_256 1
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "variant_body.inl.h"
#pragma clang attribute pop
#endif
