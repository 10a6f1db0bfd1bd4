// Changing the size of pictures: each pass mixes places along one axis.
//
// A table says for each of `places` results the first input place that it reads (`first`), how many it reads (`counts`)
// and `taps` weights, of which the first `counts` are used.
#ifndef MM_KERNELS_PICTURES_H
#define MM_KERNELS_PICTURES_H

#include <stdint.h>

// 8-bit samples with weights in units of 2^-22, rounded to the nearest level and cut off, as Pillow's.
//
// Columns: one row of `channels` interleaved samples to another. Rows: `width` samples of one row out of rows that lie
// `stride` samples apart; `input` is the first row that the result reads. `sums` is scratch for `width` numbers.
void mm_resample_columns_u8(long places, long channels, const int32_t *first, const int32_t *counts,
                            const int32_t *weights, long taps, const uint8_t *input, uint8_t *output);
void mm_resample_row_u8(long width, long stride, long count, const int32_t *weights, const uint8_t *input,
                        int32_t *sums, uint8_t *output);

// The same for single precision, one plane.
void mm_resample_columns_f32(long places, const int32_t *first, const int32_t *counts, const float *weights, long taps,
                             const float *input, float *output);
void mm_resample_row_f32(long width, long stride, long count, const float *weights, const float *input, float *output);

#endif
