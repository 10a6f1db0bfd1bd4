// Weights of few bits: quantizing rows, packing them into panels, and the way back. Plain loops, run once per model.
//
// Memory: rows are [n, k] as files hold them (CKernels.h); panels as weights.h says.
#include "weights.h"

#include "bf16.h"

#include <math.h>
#include <string.h>

long mm_weights_row_bytes(int kind, long k) {
    return kind == MM_WEIGHTS_BF16 ? 2 * k : kind == MM_WEIGHTS_INT8 ? k : weight_groups(k) * (weight_group / 2);
}

size_t mm_weights_packed_size(int kind, long n, long k) {
    const long panels = (n + weight_columns - 1) / weight_columns;
    return (size_t)panels * (size_t)weight_panel_bytes(kind, k);
}

// ---- Quantizing ------------------------------------------------------------------------------------------------------

// The largest magnitude, NaN when there is one among the values: as integers NaNs are above all numbers.
static float largest_magnitude(long count, const float *w) {
    uint32_t most = 0;
    for (long i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, w + i, 4);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    float magnitude;
    memcpy(&magnitude, &most, 4);
    return magnitude;
}

static void quantize_int8(long k, const float *w, int8_t *values, float *scale) {
    const float most = largest_magnitude(k, w);
    if (!(most < INFINITY)) {
        *scale = NAN;
        memset(values, 1, (size_t)k);
        return;
    }
    // Below this the inverse is no number; such a row is nothing beside any other.
    const int is_zero = !(most > 0x1p-100f);
    *scale = is_zero ? 0 : most / 127;
    const float inverse = is_zero ? 0 : 127 / most;
    for (long i = 0; i < k; i++) values[i] = (int8_t)lrintf(fminf(fmaxf(w[i] * inverse, -127), 127));
}

static float nibble_error(const float *w, long count, float scale) {
    const float inverse = 1 / scale;
    float error = 0;
    for (long i = 0; i < count; i++) {
        const float q = rintf(fminf(fmaxf(w[i] * inverse, -8), 7));
        error += (w[i] - q * scale) * (w[i] - q * scale);
    }
    return error;
}

// The value of the largest magnitude becomes -8 or about that: of a few scales the one with the least squared error.
static uint16_t nibble_scale(const float *w, long count) {
    if (!(largest_magnitude(count, w) < INFINITY)) return 0x7fc0;  // NaN
    float extreme = 0;
    for (long i = 0; i < count; i++)
        if (fabsf(w[i]) > fabsf(extreme)) extreme = w[i];
    if (!(fabsf(extreme) > 0x1p-100f)) return 0;
    uint16_t best = 0;
    float least = INFINITY;
    for (int step = 0; step <= 12; step++) {
        // -8 exactly, then down to -6; above 8 the extreme itself would be cut off.
        const float divisor = step == 12 ? 7.0f : -8.0f - 0.5f + 0.25f * (float)step;
        const uint16_t scale = bf16_of(extreme / divisor);
        const float error = nibble_error(w, count, of_bf16(scale));
        if (error < least) least = error, best = scale;
    }
    return best;
}

static inline uint8_t nibble(float x) {
    // A NaN becomes 0 here; its group's scale says what it was.
    return x == x ? (uint8_t)(8 + (int)rintf(fminf(fmaxf(x, -8), 7))) : 8;
}

static void quantize_int4(long k, const float *w, uint8_t *values, uint16_t *scales) {
    for (long group = 0; group < weight_groups(k); group++) {
        const long first = group * weight_group, count = k - first < weight_group ? k - first : weight_group;
        const uint16_t half = nibble_scale(w + first, count);
        const float scale = of_bf16(half), inverse = scale == 0 ? 0 : 1 / scale;
        uint8_t nibbles[weight_group];
        for (long i = 0; i < weight_group; i++)
            nibbles[i] = i < count ? nibble(w[first + i] * inverse) : 8;
        for (long i = 0; i < weight_group / 2; i++)
            values[group * (weight_group / 2) + i] = (uint8_t)(nibbles[2 * i] | nibbles[2 * i + 1] << 4);
        scales[group] = half;
    }
}

typedef struct {
    int kind;
    long n, k;
    const float *w;
    uint8_t *values;
    void *scales;
} quantize_job;

static void quantize_row(void *context, long row) {
    const quantize_job *job = context;
    const float *w = job->w + row * job->k;
    uint8_t *values = job->values + row * mm_weights_row_bytes(job->kind, job->k);
    switch (job->kind) {
        case MM_WEIGHTS_BF16:
            for (long i = 0; i < job->k; i++) {
                const uint16_t half = bf16_of(w[i]);
                memcpy(values + 2 * i, &half, 2);
            }
            break;
        case MM_WEIGHTS_INT8: quantize_int8(job->k, w, (int8_t *)values, (float *)job->scales + row); break;
        default: quantize_int4(job->k, w, values, (uint16_t *)job->scales + row * weight_groups(job->k));
    }
}

void mm_weights_quantize(int kind, long n, long k, const float *w, void *values, void *scales) {
    quantize_job job = {kind, n, k, w, values, scales};
    mm_parallel(n, quantize_row, &job);
}

// ---- Packing ---------------------------------------------------------------------------------------------------------

typedef struct {
    int kind;
    long n, k;
    const uint8_t *values;
    const void *scales;
    uint8_t *packed;
} pack_job;

// Four half bytes as the low halves of four bytes.
static inline uint32_t nibbles_as_bytes(uint32_t x) {
    x = (x | x << 8) & 0x00ff00ff;
    return (x | x << 4) & 0x0f0f0f0f;
}

// Four bytes of a row as a lane has them.
static inline uint32_t lane_of(int kind, uint32_t row) {
    switch (kind) {
        case MM_WEIGHTS_BF16: return row;
        case MM_WEIGHTS_INT8: return (row & 0xff0000ff) | (row >> 8 & 0xff00) | (row << 8 & 0xff0000);
        default: return nibbles_as_bytes(row & 0xffff) | nibbles_as_bytes(row >> 16) << 4;
    }
}

static void pack_weight_panel(void *context, long panel) {
    const pack_job *job = context;
    const int kind = job->kind;
    const long k = job->k, row_bytes = mm_weights_row_bytes(kind, k), bytes = weight_panel_bytes(kind, k);
    const long first = panel * weight_columns;
    const long columns = job->n - first < weight_columns ? job->n - first : weight_columns;
    const uint8_t *from = job->values + first * row_bytes;
    uint8_t *to = job->packed + panel * bytes;
    if (columns < weight_columns) memset(to, 0, (size_t)bytes);
    if (kind == MM_WEIGHTS_INT8) {
        memcpy(to, (const float *)job->scales + first, (size_t)columns * 4);
        to += 4 * weight_columns;
    }
    for (long lane = 0; lane * 4 < row_bytes; lane++, to += 4 * weight_columns) {
        if (kind == MM_WEIGHTS_INT4 && lane % (weight_group / 8) == 0) {
            const long group = lane / (weight_group / 8), groups = weight_groups(k);
            const uint16_t *scales = (const uint16_t *)job->scales + first * groups + group;
            for (long j = 0; j < columns; j++) memcpy(to + 2 * j, scales + j * groups, 2);
            to += 2 * weight_columns;
        }
        const long left = row_bytes - lane * 4;
        for (long j = 0; j < columns; j++) {
            uint32_t row = 0;
            if (left >= 4) memcpy(&row, from + j * row_bytes + lane * 4, 4);
            else memcpy(&row, from + j * row_bytes + lane * 4, (size_t)left);
            row = lane_of(kind, row);
            memcpy(to + 4 * j, &row, 4);
        }
    }
}

void mm_weights_pack(int kind, long n, long k, const void *values, const void *scales, void *packed) {
    pack_job job = {kind, n, k, values, scales, packed};
    mm_parallel((n + weight_columns - 1) / weight_columns, pack_weight_panel, &job);
}

typedef struct {
    int kind;
    long n, k, first;
    const uint8_t *packed;
    float *w;
} unpack_job;

static void unpack_row(void *context, long row) {
    const unpack_job *job = context;
    const long k = job->k, bytes = weight_panel_bytes(job->kind, k), output = job->first + row;
    const long j = output % weight_columns;
    const uint8_t *from = job->packed + output / weight_columns * bytes;
    float *w = job->w + row * k;
    for (long i = 0; i < k; i++) {
        switch (job->kind) {
            case MM_WEIGHTS_BF16: {
                uint16_t half;
                memcpy(&half, from + (i / 2 * weight_columns + j) * 4 + i % 2 * 2, 2);
                w[i] = of_bf16(half);
                break;
            }
            case MM_WEIGHTS_INT8: {
                static const int place[4] = {0, 2, 1, 3};
                float scale;
                memcpy(&scale, from + 4 * j, 4);
                const uint8_t *lanes = from + 4 * weight_columns;
                w[i] = (float)(int8_t)lanes[(i / 4 * weight_columns + j) * 4 + place[i % 4]] * scale;
                break;
            }
            default: {
                const long within = i % weight_group;
                const uint8_t *group = from + i / weight_group * (bytes / weight_groups(k));
                uint16_t half;
                memcpy(&half, group + 2 * j, 2);
                const uint8_t pair = group[2 * weight_columns + (within / 8 * weight_columns + j) * 4 + within % 4];
                w[i] = (float)((within % 8 < 4 ? pair & 15 : pair >> 4) - 8) * of_bf16(half);
            }
        }
    }
}

void mm_weights_unpack(int kind, long n, long k, const void *packed, long first, long count, float *w) {
    if (k <= 0) return;
    unpack_job job = {kind, n, k, first, packed, w};
    mm_parallel(count, unpack_row, &job);
}
