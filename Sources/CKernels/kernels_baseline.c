// The variant for any processor: 4-lane vectors, no fused multiply-add assumed (see variants.h).
//
// The same source as the others, not a BLAS: only so is a row's result independent of the number of rows here too.
//
// Memory: as the included sources state.
#include "variant_prelude.h"

#define MM_VARIANT mm_variant_baseline
#define MM_VARIANT_NAME "baseline"
#define MM_LANES 4
#define MM_ROWS 6
#include "variant_body.inl.h"
