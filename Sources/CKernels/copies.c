// Copies between strided and contiguous memory, row lookups and conversions between element types.
#include "CKernels.h"

#include "bf16.h"
#include "halves.h"

#include <string.h>

// Calls BODY for each row of the last axis, with `i` the strided start of the row and `row` its number.
#define FOR_EACH_STRIDED_ROW(BODY)                                                                                     \
    long n = rank > 0 ? shape[rank - 1] : 1, step = rank > 0 ? steps[rank - 1] : 1, rows = 1, at[64] = {0}, i = 0;     \
    for (long d = 0; d + 1 < rank; d++) rows *= shape[d];                                                              \
    for (long row = 0; row < rows; row++) {                                                                            \
        BODY                                                                                                           \
        for (long d = rank - 2; d >= 0; d--) {                                                                         \
            i += steps[d];                                                                                             \
            if (++at[d] < shape[d]) break;                                                                             \
            i -= steps[d] * shape[d], at[d] = 0;                                                                       \
        }                                                                                                              \
    }

#define STRIDED_COPY(U)                                                                                                \
    static void gather_##U(long rank, const long *shape, const U *restrict x, const long *steps, U *restrict y) {      \
        FOR_EACH_STRIDED_ROW({                                                                                         \
            if (step == 1) memcpy(y + row * n, x + i, (size_t)n * sizeof(U));                                          \
            else for (long j = 0; j < n; j++) y[row * n + j] = x[i + j * step];                                        \
        })                                                                                                             \
    }                                                                                                                  \
    static void scatter_##U(long rank, const long *shape, const U *restrict x, U *restrict y, const long *steps) {     \
        FOR_EACH_STRIDED_ROW({                                                                                         \
            if (step == 1) memcpy(y + i, x + row * n, (size_t)n * sizeof(U));                                          \
            else for (long j = 0; j < n; j++) y[i + j * step] = x[row * n + j];                                        \
        })                                                                                                             \
    }
STRIDED_COPY(uint8_t)
STRIDED_COPY(uint16_t)
STRIDED_COPY(uint32_t)
STRIDED_COPY(uint64_t)

void mm_gather_strided(long size, long rank, const long *shape, const void *x, const long *steps, void *y) {
    switch (size) {
    case 1: gather_uint8_t(rank, shape, x, steps, y); break;
    case 2: gather_uint16_t(rank, shape, x, steps, y); break;
    case 4: gather_uint32_t(rank, shape, x, steps, y); break;
    case 8: gather_uint64_t(rank, shape, x, steps, y); break;
    }
}

void mm_scatter_strided(long size, long rank, const long *shape, const void *x, void *y, const long *steps) {
    switch (size) {
    case 1: scatter_uint8_t(rank, shape, x, y, steps); break;
    case 2: scatter_uint16_t(rank, shape, x, y, steps); break;
    case 4: scatter_uint32_t(rank, shape, x, y, steps); break;
    case 8: scatter_uint64_t(rank, shape, x, y, steps); break;
    }
}

void mm_take_rows(long rows, long bytes, const void *table, const int64_t *index, void *y) {
    for (long r = 0; r < rows; r++)
        memcpy((char *)y + r * bytes, (const char *)table + index[r] * bytes, (size_t)bytes);
}

// ---- Conversions -----------------------------------------------------------------------------------------------------

static inline float bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline uint32_t float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}
static inline float from_f16(uint16_t x) {
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = (x >> 10) & 31, fraction = x & 1023;
    if (exponent == 31) return bits_to_float(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return bits_to_float(sign | (exponent + 112) << 23 | fraction << 13);
}
static inline uint16_t to_f16(float x) {
    uint32_t bits = float_to_bits(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x47800000) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) {
        // Below the smallest normal half: adding 0.5 lines the fraction up at the right bit and rounds it.
        float shifted = bits_to_float(magnitude) + 0.5f;
        return (uint16_t)(sign | (float_to_bits(shifted) - 0x3f000000));
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

// Integers are read and written through int64, reals through double (exact for every float type here).
static inline int64_t load_int(int type, const void *x, long i) {
    switch (type) {
    case MM_I64: return ((const int64_t *)x)[i];
    case MM_I32: return ((const int32_t *)x)[i];
    default: return ((const uint8_t *)x)[i];
    }
}
static inline double load_real(int type, const void *x, long i) {
    switch (type) {
    case MM_F32: return ((const float *)x)[i];
    case MM_F64: return ((const double *)x)[i];
    case MM_BF16: return of_bf16(((const uint16_t *)x)[i]);
    default: return from_f16(((const uint16_t *)x)[i]);
    }
}
static inline int64_t saturate(int type, double x) {
    if (x != x) return 0;
    if (type == MM_I32) return x >= 2147483647.0 ? INT32_MAX : x <= -2147483648.0 ? INT32_MIN : (int64_t)x;
    if (type == MM_U8) return x >= 255.0 ? 255 : x <= 0.0 ? 0 : (int64_t)x;
    if (x >= 9223372036854775808.0) return INT64_MAX;
    if (x < -9223372036854775808.0) return INT64_MIN;
    return (int64_t)x;
}

void mm_cast(int from, int to, long n, const void *x, void *y) {
    // The pairs that training and loading hit, as plain loops.
    if (from == MM_U8 && to == MM_F32) {
        for (long i = 0; i < n; i++) ((float *)y)[i] = ((const uint8_t *)x)[i];
        return;
    }
    if (from == MM_BF16 && to == MM_F32) {
        mm_widen_bf16(n, x, y);
        return;
    }
    if (from == MM_F32 && to == MM_BF16) {
        mm_narrow_bf16(n, x, y);
        return;
    }
    int from_real = from <= MM_F16, to_real = to <= MM_F16;
    for (long i = 0; i < n; i++) {
        if (to_real) {
            double value = from_real ? load_real(from, x, i) : (double)load_int(from, x, i);
            switch (to) {
            case MM_F32: ((float *)y)[i] = (float)value; break;
            case MM_F64: ((double *)y)[i] = value; break;
            case MM_BF16: ((uint16_t *)y)[i] = bf16_of((float)value); break;
            case MM_F16: ((uint16_t *)y)[i] = to_f16((float)value); break;
            }
            continue;
        }
        if (to == MM_BOOL) {
            ((uint8_t *)y)[i] = from_real ? load_real(from, x, i) != 0 : load_int(from, x, i) != 0;
            continue;
        }
        int64_t value = from_real ? saturate(to, load_real(from, x, i)) : load_int(from, x, i);
        switch (to) {
        case MM_I64: ((int64_t *)y)[i] = value; break;
        case MM_I32: ((int32_t *)y)[i] = (int32_t)value; break;
        case MM_U8: ((uint8_t *)y)[i] = (uint8_t)value; break;
        }
    }
}
