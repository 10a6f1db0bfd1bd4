// Products with int4 weights: exact within a group of 32, then group after group as floats.
//
// Memory: panels as weights.h says, rows as weights_rows.inl.h says. Weights stand as value plus 8, 0...15, which one
// instruction multiplies with signed bytes and adds in pairs: a group's sum stays below 8 * 2 * 15 * 127 < 2^15 per 16 bits.
// What the 8 adds is taken off by the group's sum of x. A group's sum (15 bits) times its scale (8 bits) is exact as a float,
// so it does not matter whether the addition behind is fused.
enum {
    int4_scale_lanes = weight_columns / 2,               // a group's scales, in 32-bit lanes
    int4_group_lanes = int4_scale_lanes + 4 * weight_columns,
    int4_depth = 16,                                     // groups in a block
};

#if defined(MM_INTEGERS_256)
MM_INLINE __m256i four_of(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, 4);
    return _mm256_set1_epi32(four);
}
MM_INLINE __m256i low_nibbles(__m256i lanes) { return _mm256_and_si256(lanes, _mm256_set1_epi8(15)); }
MM_INLINE __m256i high_nibbles(__m256i lanes) {
    return _mm256_and_si256(_mm256_srli_epi16(lanes, 4), _mm256_set1_epi8(15));
}
MM_INLINE __m256 eight_scales(const uint16_t *halves) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)halves));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
MM_INLINE __m256 group_value(__m256i sum, int32_t offset) {
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(whole_fours(sum), _mm256_set1_epi32(offset)));
}

// sums[rows][32] (+)= groups of a panel.
MM_INLINE void int4_rows(const int rows, long groups, const int8_t *x, long x_row, const int32_t *offset, long offset_row,
                         const uint32_t *group, float *sums, int goes_on) {
    for (long g = 0; g < groups; g++, group += int4_group_lanes) {
        const uint32_t *lanes = group + int4_scale_lanes;
        __m256i sum[few_rows][4];
        MM_UNROLL for (int i = 0; i < rows; i++)
            MM_UNROLL for (int j = 0; j < 4; j++) sum[i][j] = _mm256_setzero_si256();
        MM_UNROLL for (int t = 0; t < 4; t++)
            MM_UNROLL for (int j = 0; j < 4; j++) {
                const __m256i w = load_lanes(lanes + t * weight_columns + 8 * j);
                const __m256i low = low_nibbles(w), high = high_nibbles(w);
                MM_UNROLL for (int i = 0; i < rows; i++) {
                    const int8_t *at = x + i * x_row + g * weight_group + 8 * t;
                    sum[i][j] = add_fours(sum[i][j], low, four_of(at));
                    sum[i][j] = add_fours(sum[i][j], high, four_of(at + 4));
                }
            }
        MM_UNROLL for (int j = 0; j < 4; j++) {
            const __m256 scale = eight_scales((const uint16_t *)group + 8 * j);
            MM_UNROLL for (int i = 0; i < rows; i++) {
                float *to = sums + i * weight_columns + 8 * j;
                const __m256 before = goes_on || g > 0 ? _mm256_loadu_ps(to) : _mm256_setzero_ps();
                _mm256_storeu_ps(to, _mm256_fmadd_ps(group_value(sum[i][j], offset[i * offset_row + g]), scale, before));
            }
        }
    }
}
typedef void (*int4_kernel)(long groups, const int8_t *x, long x_row, const int32_t *offset, long offset_row,
                            const uint32_t *group, float *sums, int goes_on);
#define MM_INT4_ROWS(rows)                                                                                             \
    static void int4_rows_##rows(long groups, const int8_t *x, long x_row, const int32_t *offset, long offset_row,     \
                                 const uint32_t *group, float *sums, int goes_on) {                                    \
        int4_rows(rows, groups, x, x_row, offset, offset_row, group, sums, goes_on);                                   \
    }
MM_INT4_ROWS(1) MM_INT4_ROWS(2)
static const int4_kernel int4_kernels[few_rows + 1] = {0, int4_rows_1, int4_rows_2};

// Few rows times several panels: sums[panel][rows][32].
static void int4_band(long rows, long panels, long groups, const int8_t *x, long x_row, const int32_t *offset,
                      const uint8_t *packed, long panel_bytes, float *sums) {
    const long turn = 2;
    if (groups == 0) memset(sums, 0, sizeof(float) * panels * rows * weight_columns);
    for (long first = 0; first < groups; first += turn)
        for (long p = 0; p < panels; p++)
            int4_kernels[rows](least(turn, groups - first), x + first * weight_group, x_row, offset + first, groups,
                               (const uint32_t *)(packed + p * panel_bytes) + first * int4_group_lanes,
                               sums + p * rows * weight_columns, first > 0);
}

// More rows: sums[rows][32] (+)= groups of 16 columns of a panel, for at most four rows: more would not stay in registers. `lanes` and `scales` are the columns'
// in the first group.
MM_INLINE void int4_tile(const int rows, long groups, const int8_t *x, long x_row, const int32_t *offset, long offset_row,
                         const uint32_t *lanes, const uint16_t *scales, ahead next, float *sums, int goes_on) {
    for (long g = 0; g < groups; g++, lanes += int4_group_lanes, scales += 2 * int4_group_lanes) {
        __m256i sum[4][2];
        MM_UNROLL for (int i = 0; i < rows; i++)
            MM_UNROLL for (int j = 0; j < 2; j++) sum[i][j] = _mm256_setzero_si256();
        for (int t = 0; t < 4; t++, next.first += next.step) {
            __builtin_prefetch(next.first);
            const uint32_t *at = lanes + t * weight_columns;
            MM_UNROLL for (int high = 0; high < 2; high++) {
                const __m256i left = high ? high_nibbles(load_lanes(at)) : low_nibbles(load_lanes(at));
                const __m256i right = high ? high_nibbles(load_lanes(at + 8)) : low_nibbles(load_lanes(at + 8));
                MM_UNROLL for (int i = 0; i < rows; i++) {
                    const __m256i four = four_of(x + i * x_row + g * weight_group + 8 * t + 4 * high);
                    sum[i][0] = add_fours(sum[i][0], left, four);
                    sum[i][1] = add_fours(sum[i][1], right, four);
                }
            }
        }
        const __m256 scale[2] = {eight_scales(scales), eight_scales(scales + 8)};
        MM_UNROLL for (int i = 0; i < rows; i++)
            MM_UNROLL for (int j = 0; j < 2; j++) {
                float *to = sums + i * weight_columns + 8 * j;
                const __m256 before = goes_on || g > 0 ? _mm256_loadu_ps(to) : _mm256_setzero_ps();
                _mm256_storeu_ps(to, _mm256_fmadd_ps(group_value(sum[i][j], offset[i * offset_row + g]), scale[j], before));
            }
    }
}
typedef void (*int4_tile_kernel)(long groups, const int8_t *x, long x_row, const int32_t *offset, long offset_row,
                                 const uint32_t *lanes, const uint16_t *scales, ahead next, float *sums, int goes_on);
#define MM_INT4_TILE(rows)                                                                                             \
    static void int4_tile_##rows(long groups, const int8_t *x, long x_row, const int32_t *offset, long offset_row,     \
                                 const uint32_t *lanes, const uint16_t *scales, ahead next, float *sums, int goes_on) { \
        int4_tile(rows, groups, x, x_row, offset, offset_row, lanes, scales, next, sums, goes_on);                     \
    }
MM_INT4_TILE(1) MM_INT4_TILE(2) MM_INT4_TILE(3) MM_INT4_TILE(4)
static const int4_tile_kernel int4_tiles[5] = {0, int4_tile_1, int4_tile_2, int4_tile_3, int4_tile_4};

static void int4_sums(long rows, long groups, const int8_t *x, long x_row, const int32_t *offset, const uint32_t *panel,
                      float *sums) {
    if (groups == 0) memset(sums, 0, sizeof(float) * rows * weight_columns);
    const long tiles = divide_up(rows, 4), parts = 2 * tiles;
    for (long first = 0; first < groups; first += int4_depth) {
        const long count = least(int4_depth, groups - first), bytes = sizeof(uint32_t) * count * int4_group_lanes;
        const uint32_t *block = panel + first * int4_group_lanes;
        for (long part = 0; part < parts; part++) {
            const long t = part % tiles, column = part / tiles * 16;
            const long row = group_start(rows, tiles, t), tile = group_start(rows, tiles, t + 1) - row;
            const ahead next = {(const char *)block + bytes + bytes * part / parts, bytes / (4 * count * parts)};
            int4_tiles[tile](count, x + row * x_row + first * weight_group, x_row, offset + row * groups + first, groups,
                             block + int4_scale_lanes + column, (const uint16_t *)block + column, next,
                             sums + row * weight_columns + column, first > 0);
        }
    }
}
#else
static void int4_sums(long rows, long groups, const int8_t *x, long x_row, const int32_t *offset, const uint32_t *panel,
                      float *sums) {
    memset(sums, 0, sizeof(float) * rows * weight_columns);
    for (long g = 0; g < groups; g++, panel += int4_group_lanes) {
        const uint16_t *scales = (const uint16_t *)panel;
        for (long i = 0; i < rows; i++) {
            int32_t sum[weight_columns] = {0};
            for (long t = 0; t < 4; t++) {
                const uint8_t *w = (const uint8_t *)(panel + int4_scale_lanes + t * weight_columns);
                const int8_t *at = x + i * x_row + g * weight_group + 8 * t;
                for (long j = 0; j < weight_columns; j++)
                    for (long b = 0; b < 4; b++)
                        sum[j] += (w[4 * j + b] & 15) * at[b] + (w[4 * j + b] >> 4) * at[4 + b];
            }
            for (long j = 0; j < weight_columns; j++) {
                const uint32_t bits = (uint32_t)scales[j] << 16;
                float scale;
                memcpy(&scale, &bits, 4);
                sums[i * weight_columns + j] += (float)(sum[j] - offset[i * groups + g]) * scale;
            }
        }
    }
}

static void int4_band(long rows, long panels, long groups, const int8_t *x, long x_row, const int32_t *offset,
                      const uint8_t *packed, long panel_bytes, float *sums) {
    for (long p = 0; p < panels; p++)
        int4_sums(rows, groups, x, x_row, offset, (const uint32_t *)(packed + p * panel_bytes),
                  sums + p * rows * weight_columns);
}
#endif

// Rows of C from the sums of one panel.
static void int4_finish(long rows, long columns, const float *sums, const float *row_scales, float *c, long c_row) {
    for (long r = 0; r < rows; r++)
        for (long column = 0; column < columns; column++)
            c[r * c_row + column] = sums[r * weight_columns + column] * row_scales[r];
}
