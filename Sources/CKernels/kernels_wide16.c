// The source of "avx512bf16", line for line, on an AVX2 processor, each vector split in two and the three instructions that
// it lacks spelled out (emulated.inl.h): lets tests run it anywhere; never chosen by itself (see variants.h). A test holds
// its macros to those of kernels_avx512bf16.c.
//
// Memory: as the included sources state.
#include "variant_prelude.h"

#if defined(__x86_64__)
#define MM_VARIANT mm_variant_wide16
#define MM_VARIANT_NAME "wide16"
#define MM_LANES 16
#define MM_ROWS 14
#define MM_HAS_FMA 1
#define MM_INTEGERS_256 1
#define MM_HAS_VNNI 1
#define MM_HAS_BF16 1
// Every function over a split vector is inlined: no call has to agree on how such a vector is passed.
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "emulated.inl.h"
#include "variant_body.inl.h"
#pragma clang attribute pop
#endif
