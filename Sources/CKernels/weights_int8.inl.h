// Products with int8 weights: exact sums of 32 bits.
//
// Memory: panels as weights.h says, rows as weights_rows.inl.h says. Sums are int32 [rows][32]. In a lane of 32 bits stand
// two neighbours of k as 16 bits, times two of x, added in 32 bits: no sum can overflow before 131072 values of k.
#if defined(MM_INTEGERS_256)
MM_INLINE __m256i pair_of(const int16_t *x) {
    int32_t two;
    memcpy(&two, x, 4);
    return _mm256_set1_epi32(two);
}
MM_INLINE __m256i even_bytes(__m256i lanes) { return _mm256_srai_epi16(_mm256_slli_epi16(lanes, 8), 8); }
MM_INLINE __m256i odd_bytes(__m256i lanes) { return _mm256_srai_epi16(lanes, 8); }

// sums[rows][32] (+)= fours of k of a panel.
MM_INLINE void int8_rows(const int rows, long quads, const int16_t *x, long x_row, const uint32_t *lanes, int32_t *sums,
                         int goes_on) {
    __m256i sum[few_rows][4];
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 4; j++)
            sum[i][j] = goes_on ? load_lanes(sums + i * weight_columns + 8 * j) : _mm256_setzero_si256();
    for (long q = 0; q < quads; q++, lanes += weight_columns)
        MM_UNROLL for (int j = 0; j < 4; j++) {
            const __m256i w = load_lanes(lanes + 8 * j), even = even_bytes(w), odd = odd_bytes(w);
            MM_UNROLL for (int i = 0; i < rows; i++) {
                const int16_t *at = x + i * x_row + 4 * q;
                sum[i][j] = add_pairs(sum[i][j], even, pair_of(at));
                sum[i][j] = add_pairs(sum[i][j], odd, pair_of(at + 2));
            }
        }
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 4; j++) store_lanes(sums + i * weight_columns + 8 * j, sum[i][j]);
}
typedef void (*int8_kernel)(long quads, const int16_t *x, long x_row, const uint32_t *lanes, int32_t *sums, int goes_on);
#define MM_INT8_ROWS(rows)                                                                                             \
    static void int8_rows_##rows(long quads, const int16_t *x, long x_row, const uint32_t *lanes, int32_t *sums,       \
                                 int goes_on) {                                                                        \
        int8_rows(rows, quads, x, x_row, lanes, sums, goes_on);                                                        \
    }
MM_INT8_ROWS(1) MM_INT8_ROWS(2)
static const int8_kernel int8_kernels[few_rows + 1] = {0, int8_rows_1, int8_rows_2};

// Few rows times several panels: sums[panel][rows][32].
static void int8_band(long rows, long panels, long k, const int16_t *x, long x_row, const uint8_t *packed, long panel_bytes,
                      int32_t *sums) {
    const long quads = divide_up(k, 4), turn = weight_turn / weight_columns;
    for (long first = 0; first < most(1, quads); first += turn)
        for (long p = 0; p < panels; p++)
            int8_kernels[rows](least(turn, quads - first), x + 4 * first, x_row,
                               (const uint32_t *)(packed + p * panel_bytes) + (first + 1) * weight_columns,
                               sums + p * rows * weight_columns, first > 0);
}

// More rows: sums[rows][32] (+)= fours of k of 16 columns of a panel, for at most six rows.
MM_INLINE void int8_tile(const int rows, long quads, const int16_t *x, long x_row, const uint32_t *lanes, ahead next,
                         int32_t *sums, int goes_on) {
    __m256i sum[6][2];
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2; j++)
            sum[i][j] = goes_on ? load_lanes(sums + i * weight_columns + 8 * j) : _mm256_setzero_si256();
    for (long q = 0; q < quads; q++, lanes += weight_columns, next.first += next.step) {
        __builtin_prefetch(next.first);
        MM_UNROLL for (int odd = 0; odd < 2; odd++) {
            const __m256i left = odd ? odd_bytes(load_lanes(lanes)) : even_bytes(load_lanes(lanes));
            const __m256i right = odd ? odd_bytes(load_lanes(lanes + 8)) : even_bytes(load_lanes(lanes + 8));
            MM_UNROLL for (int i = 0; i < rows; i++) {
                const __m256i two = pair_of(x + i * x_row + 4 * q + 2 * odd);
                sum[i][0] = add_pairs(sum[i][0], left, two);
                sum[i][1] = add_pairs(sum[i][1], right, two);
            }
        }
    }
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2; j++) store_lanes(sums + i * weight_columns + 8 * j, sum[i][j]);
}
typedef void (*int8_tile_kernel)(long quads, const int16_t *x, long x_row, const uint32_t *lanes, ahead next, int32_t *sums,
                                 int goes_on);
#define MM_INT8_TILE(rows)                                                                                             \
    static void int8_tile_##rows(long quads, const int16_t *x, long x_row, const uint32_t *lanes, ahead next,          \
                                 int32_t *sums, int goes_on) {                                                         \
        int8_tile(rows, quads, x, x_row, lanes, next, sums, goes_on);                                                  \
    }
MM_INT8_TILE(1) MM_INT8_TILE(2) MM_INT8_TILE(3) MM_INT8_TILE(4) MM_INT8_TILE(5) MM_INT8_TILE(6)
static const int8_tile_kernel int8_tiles[7] = {0,           int8_tile_1, int8_tile_2, int8_tile_3,
                                               int8_tile_4, int8_tile_5, int8_tile_6};

// As bf16_sums().
static void int8_sums(long rows, long k, const int16_t *x, long x_row, const uint32_t *lanes, int32_t *sums) {
    const long quads = divide_up(k, 4), groups = divide_up(rows, 6), parts = 2 * groups;
    for (long first = 0; first < most(1, quads); first += weight_depth / 4) {
        const long count = least(weight_depth / 4, quads - first);
        const uint32_t *block = lanes + first * weight_columns, *later = block + count * weight_columns;
        for (long part = 0; part < parts; part++) {
            const long g = part % groups, column = part / groups * 16;
            const long row = group_start(rows, groups, g), tile = group_start(rows, groups, g + 1) - row;
            const ahead next = {(const char *)later + 4 * count * weight_columns * part / parts, 4 * weight_columns / parts};
            int8_tiles[tile](count, x + row * x_row + 4 * first, x_row, block + column, next,
                             sums + row * weight_columns + column, first > 0);
        }
    }
}
#else
static void int8_sums(long rows, long k, const int16_t *x, long x_row, const uint32_t *lanes, int32_t *sums) {
    memset(sums, 0, sizeof(int32_t) * rows * weight_columns);
    for (long q = 0; q < divide_up(k, 4); q++) {
        const int8_t *w = (const int8_t *)(lanes + q * weight_columns);
        for (long i = 0; i < rows; i++) {
            const int16_t *at = x + i * x_row + 4 * q;
            const int32_t x0 = at[0], x1 = at[1], x2 = at[2], x3 = at[3];
            int32_t *to = sums + i * weight_columns;
            for (long j = 0; j < weight_columns; j++)
                to[j] += w[4 * j] * x0 + w[4 * j + 2] * x1 + w[4 * j + 1] * x2 + w[4 * j + 3] * x3;
        }
    }
}

static void int8_band(long rows, long panels, long k, const int16_t *x, long x_row, const uint8_t *packed, long panel_bytes,
                      int32_t *sums) {
    for (long p = 0; p < panels; p++)
        int8_sums(rows, k, x, x_row, (const uint32_t *)(packed + p * panel_bytes) + weight_columns,
                  sums + p * rows * weight_columns);
}
#endif

// Rows of C from the sums of one panel.
static void int8_finish(long rows, long columns, const int32_t *sums, const float *scale, const float *row_scales, float *c,
                        long c_row) {
    for (long r = 0; r < rows; r++)
        for (long column = 0; column < columns; column++)
            c[r * c_row + column] = (float)sums[r * weight_columns + column] * scale[column] * row_scales[r];
}
