// Rows of A as small integers: x = value * scale with values in -127...127, rounded to nearest, ties to even.
//
// Memory: values of a row are filled with zeros to a multiple of 32 and stand one after the other, as 16 bits (int8 weights)
// or 8 bits (int4 weights), padded_depth() apart. The arithmetic is one multiplication and one addition, never fused: every
// instruction set makes the same integers.
typedef struct {
    long m, k;
    const float *a;
    long a_row;
    int16_t *wide;      // either of
    int8_t *narrow;     // the two
    int32_t *group_sum;  // with `narrow`: 8 * the sum of each group of 32, what the offset of the weights adds
    float *scale;
} integer_rows;

MM_INLINE long padded_depth(long k) { return divide_up(k, weight_group) * weight_group; }

// The factor that takes a row to -127...127, and the scale that leads back.
static float row_inverse(const float *x, long k, float *scale) {
    int32_t largest = 0;
    for (long i = 0; i < k; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    float magnitude;
    memcpy(&magnitude, &largest, 4);
    // What is not a number stays so in every result of the row.
    if (largest >= 0x7f800000) {
        *scale = NAN;
        return 0;
    }
    if (magnitude <= 0x1p-100f) {
        *scale = 0;
        return 0;
    }
    *scale = magnitude / 127.0f;
    return 127.0f / magnitude;
}

MM_INLINE int32_t rounded_product(float x, float inverse) {
    const float product = x * inverse;
    // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    const float shifted = product + 12582912.0f;
    int32_t bits;
    memcpy(&bits, &shifted, 4);
    return bits - 0x4b400000;
}

static void quantize_row(void *context, long row) {
    const integer_rows *job = context;
    const long k = job->k, padded = padded_depth(k);
    const float *x = job->a + row * job->a_row;
    const float inverse = row_inverse(x, k, job->scale + row);
    const int is_number = job->scale[row] == job->scale[row];
    if (job->wide) {
        int16_t *to = job->wide + row * padded;
        for (long i = 0; i < k; i++) to[i] = (int16_t)rounded_product(x[i], inverse);
        if (!is_number) memset(to, 0, sizeof(int16_t) * padded);
        for (long i = k; i < padded; i++) to[i] = 0;
        return;
    }
    int8_t *to = job->narrow + row * padded;
    for (long i = 0; i < k; i++) to[i] = (int8_t)rounded_product(x[i], inverse);
    if (!is_number) memset(to, 0, padded);
    for (long i = k; i < padded; i++) to[i] = 0;
    int32_t *sums = job->group_sum + row * (padded / weight_group);
    for (long g = 0; g < padded / weight_group; g++) {
        int32_t sum = 0;
        for (long i = 0; i < weight_group; i++) sum += to[g * weight_group + i];
        sums[g] = 8 * sum;
    }
}

static void quantize_rows(integer_rows *job) {
    // A few rows are done sooner than a second thread could begin.
    if (job->m * job->k < 16384)
        for (long row = 0; row < job->m; row++) quantize_row(job, row);
    else mm_parallel(job->m, quantize_row, job);
}
