// How weights of few bits lie in memory once they are packed for products; shared by weights.c, which packs them, and by
// the kernels that read them (weights_*.inl.h).
//
// Memory: outputs (columns of the product) stand in panels of 32, the missing ones of the last panel zero. A panel is one
// stream, the same for every instruction set, of 32-bit lanes, one per column:
//   bf16  [pair of k][column]: even k in the low half, odd k in the high half.
//   int8  scale of each column (f32), then [four k][column]: bytes k, k+2, k+1, k+3, so that the even bytes of a lane and
//         its odd bytes are two neighbours each.
//   int4  [group of 32 k]: scale of each column (bf16), then [eight k][column]: byte i holds k+i in its low half and k+4+i
//         in its high half, each value plus 8.
#ifndef MM_WEIGHTS_H
#define MM_WEIGHTS_H

#include "CKernels.h"

enum { weight_columns = 32, weight_group = MM_INT4_GROUP };

static inline long weight_groups(long k) { return (k + weight_group - 1) / weight_group; }
// Bytes of one panel; a multiple of 64.
static inline long weight_panel_bytes(int kind, long k) {
    switch (kind) {
        case MM_WEIGHTS_BF16: return (k + 1) / 2 * weight_columns * 4;
        case MM_WEIGHTS_INT8: return weight_columns * 4 + (k + 3) / 4 * weight_columns * 4;
        default: return weight_groups(k) * (weight_columns * 2 + weight_group / 8 * weight_columns * 4);
    }
}

#endif
