// Passes of a separable change of size. Sums run over the places of one result in order, whoever calls.
#include "CKernels.h"

enum { FRACTION_BITS = 22 };

static inline uint8_t level(int32_t sum) {
    int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

void mm_resample_columns_u8(long places, long channels, const int32_t *first, const int32_t *counts,
                            const int32_t *weights, long taps, const uint8_t *input, uint8_t *output) {
    if (channels == 3) {
        for (long x = 0; x < places; x++, weights += taps, output += 3) {
            const uint8_t *from = input + 3L * first[x];
            int32_t red = 1 << (FRACTION_BITS - 1), green = red, blue = red;
            for (long tap = 0; tap < counts[x]; tap++, from += 3) {
                int32_t weight = weights[tap];
                red += weight * from[0];
                green += weight * from[1];
                blue += weight * from[2];
            }
            output[0] = level(red), output[1] = level(green), output[2] = level(blue);
        }
        return;
    }
    for (long x = 0; x < places; x++, weights += taps) {
        for (long channel = 0; channel < channels; channel++) {
            const uint8_t *from = input + channels * first[x] + channel;
            int32_t sum = 1 << (FRACTION_BITS - 1);
            for (long tap = 0; tap < counts[x]; tap++) sum += weights[tap] * from[tap * channels];
            *output++ = level(sum);
        }
    }
}

void mm_resample_row_u8(long width, long stride, long count, const int32_t *weights, const uint8_t *input,
                        int32_t *restrict sums, uint8_t *restrict output) {
    for (long x = 0; x < width; x++) sums[x] = 1 << (FRACTION_BITS - 1);
    for (long tap = 0; tap < count; tap++, input += stride) {
        int32_t weight = weights[tap];
        for (long x = 0; x < width; x++) sums[x] += weight * input[x];
    }
    for (long x = 0; x < width; x++) output[x] = level(sums[x]);
}

void mm_resample_columns_f32(long places, const int32_t *first, const int32_t *counts, const float *weights, long taps,
                             const float *input, float *output) {
    for (long x = 0; x < places; x++, weights += taps) {
        const float *from = input + first[x];
        float sum = 0;
        for (long tap = 0; tap < counts[x]; tap++) sum += weights[tap] * from[tap];
        output[x] = sum;
    }
}

void mm_resample_row_f32(long width, long stride, long count, const float *weights, const float *input,
                         float *restrict output) {
    for (long x = 0; x < width; x++) output[x] = 0;
    for (long tap = 0; tap < count; tap++, input += stride) {
        float weight = weights[tap];
        for (long x = 0; x < width; x++) output[x] += weight * input[x];
    }
}
