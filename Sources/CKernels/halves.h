// Conversions between floats and their upper halves; see halves.c.
//
// Memory: x and y do not overlap.
#ifndef MM_HALVES_H
#define MM_HALVES_H

#include <stdint.h>

void mm_widen_bf16(long n, const uint16_t *x, float *y);
void mm_narrow_bf16(long n, const float *x, uint16_t *y);

#endif
