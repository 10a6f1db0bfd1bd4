// Products with bf16 weights: widened to float in registers, then the same chains of multiply-adds as any other product, so
// the bits are those of float weights with these values.
//
// Memory: panels as weights.h says. Sums are floats [rows][32].
enum {
    weight_vectors = weight_columns / MM_LANES,
    weight_depth = 256,  // a block of k
    // Few rows are read at the memory's speed, which one stream per thread does not reach: they take turns between panels,
    // a kilobyte of each at a time. Prefetching by hand on top of that slows the processor's own prefetching down.
    weight_streams = 4,
    weight_turn = 8 * weight_columns,  // 32-bit lanes
    few_rows = 2,                      // that many rows go this way
};

typedef int32_t vi_memory __attribute__((vector_size(4 * MM_LANES), aligned(4), may_alias));
MM_INLINE vf even_half(const uint32_t *lanes) { return (vf)(*(const vi_memory *)lanes << 16); }
MM_INLINE vf odd_half(const uint32_t *lanes) { return (vf)(*(const vi_memory *)lanes & (int32_t)0xffff0000); }

// sums[rows][32] (+)= pairs of k of a panel.
MM_INLINE void bf16_rows(const int rows, long pairs, const float *a, long a_row, const uint32_t *panel, float *sums,
                         int goes_on) {
    vf sum[few_rows][weight_vectors];
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
MM_BF16_ROWS(1) MM_BF16_ROWS(2)
static const bf16_kernel bf16_kernels[few_rows + 1] = {0, bf16_rows_1, bf16_rows_2};

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
    const long turn = weight_turn / weight_columns;
    for (long first = 0; first < most(1, k / 2); first += turn)
        for (long p = 0; p < panels; p++)
            bf16_kernels[rows](least(turn, k / 2 - first), a + 2 * first, a_row,
                               (const uint32_t *)(packed + p * panel_bytes) + first * weight_columns,
                               sums + p * rows * weight_columns, first > 0);
    if (k % 2 == 0) return;
    for (long p = 0; p < panels; p++)
        bf16_last(rows, a + k - 1, a_row, (const uint32_t *)(packed + p * panel_bytes) + k / 2 * weight_columns,
                  sums + p * rows * weight_columns);
}

// More rows: sums[rows][32] (+)= pairs of k of MM_PANEL columns of a panel, widened in registers for at most MM_ROWS rows.
MM_INLINE void bf16_tile(const int rows, long pairs, const float *a, long a_row, const uint32_t *panel, ahead next,
                         float *sums, int goes_on) {
    vf sum[MM_ROWS][2];
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2; j++) sum[i][j] = goes_on ? load(sums + i * weight_columns + j * MM_LANES) : splat(0);
    for (long pair = 0; pair < pairs; pair++, panel += weight_columns, next.first += next.step) {
        __builtin_prefetch(next.first);
        vf left = even_half(panel), right = even_half(panel + MM_LANES);
        MM_UNROLL for (int i = 0; i < rows; i++) {
            const vf factor = splat(a[i * a_row + 2 * pair]);
            sum[i][0] = MM_FMA(factor, left, sum[i][0]);
            sum[i][1] = MM_FMA(factor, right, sum[i][1]);
        }
        left = odd_half(panel), right = odd_half(panel + MM_LANES);
        MM_UNROLL for (int i = 0; i < rows; i++) {
            const vf factor = splat(a[i * a_row + 2 * pair + 1]);
            sum[i][0] = MM_FMA(factor, left, sum[i][0]);
            sum[i][1] = MM_FMA(factor, right, sum[i][1]);
        }
    }
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2; j++) store(sums + i * weight_columns + j * MM_LANES, sum[i][j]);
}

typedef void (*bf16_tile_kernel)(long pairs, const float *a, long a_row, const uint32_t *panel, ahead next, float *sums,
                                 int goes_on);
#define MM_BF16_TILE(rows)                                                                                             \
    static void bf16_tile_##rows(long pairs, const float *a, long a_row, const uint32_t *panel, ahead next, float *sums, \
                                 int goes_on) {                                                                        \
        bf16_tile(rows, pairs, a, a_row, panel, next, sums, goes_on);                                                  \
    }
MM_BF16_TILE(1) MM_BF16_TILE(2) MM_BF16_TILE(3) MM_BF16_TILE(4) MM_BF16_TILE(5) MM_BF16_TILE(6)
#if MM_ROWS > 6
MM_BF16_TILE(7) MM_BF16_TILE(8) MM_BF16_TILE(9) MM_BF16_TILE(10) MM_BF16_TILE(11) MM_BF16_TILE(12) MM_BF16_TILE(13)
MM_BF16_TILE(14)
#endif
static const bf16_tile_kernel bf16_tiles[MM_ROWS + 1] = {
    0, bf16_tile_1, bf16_tile_2, bf16_tile_3, bf16_tile_4, bf16_tile_5, bf16_tile_6,
#if MM_ROWS > 6
    bf16_tile_7, bf16_tile_8, bf16_tile_9, bf16_tile_10, bf16_tile_11, bf16_tile_12, bf16_tile_13, bf16_tile_14,
#endif
};

// A block of k stays in the first-level cache for all rows; the next one arrives meanwhile.
static void bf16_sums(long rows, long k, const float *a, long a_row, const uint32_t *panel, float *sums) {
    const long groups = group_count(rows), parts = weight_columns / MM_PANEL * groups, pairs = k / 2;
    for (long first = 0; first < most(1, pairs); first += weight_depth / 2) {
        const long count = least(weight_depth / 2, pairs - first);
        const uint32_t *block = panel + first * weight_columns, *later = block + count * weight_columns;
        for (long part = 0; part < parts; part++) {
            const long g = part % groups, column = part / groups * MM_PANEL;
            const long row = group_start(rows, groups, g), tile = group_start(rows, groups, g + 1) - row;
            const ahead next = {(const char *)later + 4 * count * weight_columns * part / parts, 4 * weight_columns / parts};
            bf16_tiles[tile](count, a + row * a_row + 2 * first, a_row, block + column, next,
                             sums + row * weight_columns + column, first > 0);
        }
    }
    if (k % 2) bf16_last(rows, a + k - 1, a_row, panel + pairs * weight_columns, sums);
}
