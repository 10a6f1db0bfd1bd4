// Products with bf16 weights: widened to float, then the same chains of multiply-adds as any other product, so the bits are
// those of float weights with these values. One or two rows widen in registers; more rows widen a block of a panel into
// scratch that stays in the first-level cache, and multiply there.
//
// Memory: panels as weights.h says. Floats are written to C, `rows` x `columns`, c_row apart, bias and activation included.
enum {
    weight_vectors = weight_columns / MM_LANES,
    weight_depth = 256,      // a block of k
    weight_prefetch = 1024,  // 32-bit lanes ahead
};

typedef int32_t vi_memory __attribute__((vector_size(4 * MM_LANES), aligned(4), may_alias));
MM_INLINE vf even_half(const uint32_t *lanes) { return (vf)(*(const vi_memory *)lanes << 16); }
MM_INLINE vf odd_half(const uint32_t *lanes) { return (vf)(*(const vi_memory *)lanes & (int32_t)0xffff0000); }

MM_INLINE void bf16_rows(const int rows, long k, const float *a, long a_row, const uint32_t *panel, float *c, long c_row) {
    vf sum[2][weight_vectors];
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < weight_vectors; j++) sum[i][j] = splat(0);
#pragma clang loop unroll_count(2)
    for (long pair = 0; pair < k / 2; pair++, panel += weight_columns) {
        __builtin_prefetch(panel + weight_prefetch);
        __builtin_prefetch(panel + weight_prefetch + 16);
        MM_UNROLL for (int j = 0; j < weight_vectors; j++) {
            const vf even = even_half(panel + j * MM_LANES), odd = odd_half(panel + j * MM_LANES);
            MM_UNROLL for (int i = 0; i < rows; i++) {
                sum[i][j] = MM_FMA(splat(a[i * a_row + 2 * pair]), even, sum[i][j]);
                sum[i][j] = MM_FMA(splat(a[i * a_row + 2 * pair + 1]), odd, sum[i][j]);
            }
        }
    }
    if (k % 2 == 1)
        MM_UNROLL for (int j = 0; j < weight_vectors; j++)
            MM_UNROLL for (int i = 0; i < rows; i++)
                sum[i][j] = MM_FMA(splat(a[i * a_row + k - 1]), even_half(panel + j * MM_LANES), sum[i][j]);
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < weight_vectors; j++) store(c + i * c_row + j * MM_LANES, sum[i][j]);
}

static void bf16_one_row(long k, const float *a, long a_row, const uint32_t *panel, float *c, long c_row) {
    bf16_rows(1, k, a, a_row, panel, c, c_row);
}
static void bf16_two_rows(long k, const float *a, long a_row, const uint32_t *panel, float *c, long c_row) {
    bf16_rows(2, k, a, a_row, panel, c, c_row);
}

// k = 0..<depth of a panel as floats [columns / MM_PANEL][depth][MM_PANEL].
static void widen_bf16(long depth, const uint32_t *panel, float *floats) {
    for (long pair = 0; pair < (depth + 1) / 2; pair++, panel += weight_columns) {
        __builtin_prefetch(panel + weight_prefetch);
        __builtin_prefetch(panel + weight_prefetch + 16);
        MM_UNROLL for (int j = 0; j < weight_vectors; j++) {
            float *to = floats + (j / 2 * depth + 2 * pair) * MM_PANEL + j % 2 * MM_LANES;
            store(to, even_half(panel + j * MM_LANES));
            if (2 * pair + 1 < depth) store(to + MM_PANEL, odd_half(panel + j * MM_LANES));
        }
    }
}

static void bf16_panel(long rows, long columns, long k, const float *a, long a_row, const void *packed, float *c,
                       long c_row, const epilogue *finish, long i, long j) {
    const uint32_t *panel = packed;
    if (rows <= 2) {
        float edge[2 * weight_columns];
        float *to = columns == weight_columns ? c : edge;
        const long to_row = columns == weight_columns ? c_row : weight_columns;
        (rows == 1 ? bf16_one_row : bf16_two_rows)(k, a, a_row, panel, to, to_row);
        if (finish) finish_tile(rows, columns, to, to_row, finish, i, j);
        if (to == edge)
            for (long r = 0; r < rows; r++) memcpy(c + r * c_row, edge + r * weight_columns, columns * sizeof(float));
        return;
    }
    float *floats = mm_scratch_take(sizeof(float) * weight_depth * weight_columns);
    for (long first = 0; first < most(1, k); first += weight_depth) {
        const long depth = least(weight_depth, k - first);
        widen_bf16(depth, panel + first / 2 * weight_columns, floats);
        multiply_block(rows, columns, depth, a + first, a_row, 0, floats, MM_PANEL, depth * MM_PANEL, c, c_row, first > 0,
                       first + depth >= k ? finish : NULL, i, j);
    }
    mm_scratch_give(floats);
}
