// Products with bf16 weights: widened to float, then the same chains of multiply-adds as any other product, so the bits are
// those of float weights with these values. Few rows widen in registers; more rows widen a block of a panel into
// scratch that stays in the first-level cache, and multiply there.
//
// Memory: panels as weights.h says. Floats are written to C, `rows` x `columns`, c_row apart, bias and activation included.
enum {
    weight_vectors = weight_columns / MM_LANES,
    weight_depth = 256,  // a block of k
    // Few rows are read at the memory's speed, which one stream per thread does not reach: they take turns between panels,
    // a kilobyte of each at a time. Prefetching by hand on top of that slows the processor's own prefetching down.
    weight_streams = 4,
    weight_turn = 8 * weight_columns,  // 32-bit lanes
    few_rows = 4,                      // that many rows go this way, in groups of at most three
};

typedef int32_t vi_memory __attribute__((vector_size(4 * MM_LANES), aligned(4), may_alias));
MM_INLINE vf even_half(const uint32_t *lanes) { return (vf)(*(const vi_memory *)lanes << 16); }
MM_INLINE vf odd_half(const uint32_t *lanes) { return (vf)(*(const vi_memory *)lanes & (int32_t)0xffff0000); }

// sums[rows][32] (+)= pairs of k of a panel.
MM_INLINE void bf16_rows(const int rows, long pairs, const float *a, long a_row, const uint32_t *panel, float *sums,
                         int goes_on) {
    vf sum[3][weight_vectors];
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < weight_vectors; j++)
            sum[i][j] = goes_on ? load(sums + i * weight_columns + j * MM_LANES) : splat(0);
    for (long pair = 0; pair < pairs; pair++, panel += weight_columns)
        MM_UNROLL for (int j = 0; j < weight_vectors; j++) {
            const vf even = even_half(panel + j * MM_LANES), odd = odd_half(panel + j * MM_LANES);
            MM_UNROLL for (int i = 0; i < rows; i++) {
                sum[i][j] = MM_FMA(splat(a[i * a_row + 2 * pair]), even, sum[i][j]);
                sum[i][j] = MM_FMA(splat(a[i * a_row + 2 * pair + 1]), odd, sum[i][j]);
            }
        }
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < weight_vectors; j++) store(sums + i * weight_columns + j * MM_LANES, sum[i][j]);
}

typedef void (*bf16_kernel)(long pairs, const float *a, long a_row, const uint32_t *panel, float *sums, int goes_on);
#define MM_BF16_ROWS(rows)                                                                                             \
    static void bf16_rows_##rows(long pairs, const float *a, long a_row, const uint32_t *panel, float *sums, int goes_on) { \
        bf16_rows(rows, pairs, a, a_row, panel, sums, goes_on);                                                        \
    }
MM_BF16_ROWS(1) MM_BF16_ROWS(2) MM_BF16_ROWS(3)
static const bf16_kernel bf16_kernels[4] = {0, bf16_rows_1, bf16_rows_2, bf16_rows_3};

// The last k of an odd number stands alone.
static void bf16_last(long rows, const float *a, long a_row, const uint32_t *panel, float *sums) {
    for (long i = 0; i < rows; i++)
        for (int j = 0; j < weight_vectors; j++) {
            float *to = sums + i * weight_columns + j * MM_LANES;
            store(to, MM_FMA(splat(a[i * a_row]), even_half(panel + j * MM_LANES), load(to)));
        }
}

// Few rows times several panels: sums[panel][rows][32].
static void bf16_band(long rows, long panels, long k, const float *a, long a_row, const uint8_t *packed, long panel_bytes,
                      float *sums) {
    const long turn = weight_turn / weight_columns * (rows > 3 ? 2 : 1), groups = divide_up(rows, 3);
    for (long first = 0; first < most(1, k / 2); first += turn)
        for (long p = 0; p < panels; p++)
            for (long g = 0; g < groups; g++) {
                const long row = group_start(rows, groups, g), count = group_start(rows, groups, g + 1) - row;
                bf16_kernels[count](least(turn, k / 2 - first), a + row * a_row + 2 * first, a_row,
                                    (const uint32_t *)(packed + p * panel_bytes) + first * weight_columns,
                                    sums + (p * rows + row) * weight_columns, first > 0);
            }
    if (k % 2 == 0) return;
    for (long p = 0; p < panels; p++)
        bf16_last(rows, a + k - 1, a_row, (const uint32_t *)(packed + p * panel_bytes) + k / 2 * weight_columns,
                  sums + p * rows * weight_columns);
}

// k = 0..<depth of a panel as floats [columns / MM_PANEL][depth][MM_PANEL].
static void widen_bf16(long depth, const uint32_t *panel, float *floats) {
    for (long pair = 0; pair < (depth + 1) / 2; pair++, panel += weight_columns) {
        MM_UNROLL for (int j = 0; j < weight_vectors; j++) {
            float *to = floats + (j / 2 * depth + 2 * pair) * MM_PANEL + j % 2 * MM_LANES;
            store(to, even_half(panel + j * MM_LANES));
            if (2 * pair + 1 < depth) store(to + MM_PANEL, odd_half(panel + j * MM_LANES));
        }
    }
}

// More rows times one panel.
static void bf16_panel(long rows, long columns, long k, const float *a, long a_row, const void *packed, float *c,
                       long c_row, const epilogue *finish, long i, long j) {
    const uint32_t *panel = packed;
    float *floats = mm_scratch_take(sizeof(float) * weight_depth * weight_columns);
    for (long first = 0; first < most(1, k); first += weight_depth) {
        const long depth = least(weight_depth, k - first);
        widen_bf16(depth, panel + first / 2 * weight_columns, floats);
        multiply_block(rows, columns, depth, a + first, a_row, 0, floats, MM_PANEL, depth * MM_PANEL, c, c_row, first > 0,
                       first + depth >= k ? finish : NULL, i, j);
    }
    mm_scratch_give(floats);
}
