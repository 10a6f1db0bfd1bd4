// The micro-kernel of all products: a tile of C, at most MM_ROWS rows by one or more panels of MM_PANEL columns, held in
// registers while k runs upwards.
//
// Memory: A is read in place, a broadcast at a time: either rows with k contiguous ("plain"), or packed so that the rows
// of the tile are contiguous ("packed", [k][rows]). B is [k][MM_PANEL] per panel (or rows of B itself, b_row apart). C is
// rows c_row apart. Every element of C is one chain of fused multiply-adds, starting from zero or from what C holds: the
// bits depend neither on the tile's shape nor on where k was cut into blocks.
enum {
    most_panels = 4,
    prefetch_distance = 16,  // values of k
};

// What a kernel asks memory for while it computes: at `first`, `step` bytes further on with every value of k (0: nothing).
typedef struct {
    const char *first;
    long step;
} ahead;

// One value of k.
MM_INLINE void micro_step(const int rows, const int panels, const float *a, long row_step, const float *b, long b_panel,
                          vf sum[MM_ROWS][2 * most_panels]) {
    if (rows < 2 * panels) {
        // Whichever of the two operands is narrower stays in registers: with the sums, sixteen must do.
        vf factor[MM_ROWS];
        MM_UNROLL for (int i = 0; i < rows; i++) factor[i] = splat(a[i * row_step]);
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) {
            const vf column = load(b + j / 2 * b_panel + j % 2 * MM_LANES);
            MM_UNROLL for (int i = 0; i < rows; i++) sum[i][j] = MM_FMA(factor[i], column, sum[i][j]);
        }
    } else {
        vf column[2 * most_panels];
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) column[j] = load(b + j / 2 * b_panel + j % 2 * MM_LANES);
        MM_UNROLL for (int i = 0; i < rows; i++) {
            const vf factor = splat(a[i * row_step]);
            MM_UNROLL for (int j = 0; j < 2 * panels; j++) sum[i][j] = MM_FMA(factor, column[j], sum[i][j]);
        }
    }
}

MM_INLINE void micro_body(const int rows, const int panels, const int packed, long depth, const float *a, long a_row,
                          const float *b, long b_row, long b_panel, ahead next, float *c, long c_row, int from_c) {
    vf sum[MM_ROWS][2 * most_panels];
    const long row_step = packed ? 1 : a_row, k_step = packed ? rows : 1;
    if (from_c) {
        MM_UNROLL for (int i = 0; i < rows; i++)
            MM_UNROLL for (int j = 0; j < 2 * panels; j++) sum[i][j] = load(c + i * c_row + j * MM_LANES);
    } else {
        MM_UNROLL for (int i = 0; i < rows; i++)
            MM_UNROLL for (int j = 0; j < 2 * panels; j++) sum[i][j] = splat(0);
    }
    if (rows < MM_ROWS || next.step) {
        // Not unrolled further: the compiler would put sums of full tiles on the stack.
#pragma clang loop unroll(disable)
        for (long k = 0; k < depth; k++, b += b_row, next.first += next.step) {
            MM_UNROLL for (int j = 0; j < panels; j++) __builtin_prefetch(next.first + j * b_panel * sizeof(float));
            micro_step(rows, panels, a + k * k_step, row_step, b, b_panel, sum);
        }
    } else {
#pragma clang loop unroll_count(4)
        for (long k = 0; k < depth; k++, b += b_row) micro_step(rows, panels, a + k * k_step, row_step, b, b_panel, sum);
    }
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) store(c + i * c_row + j * MM_LANES, sum[i][j]);
}

typedef void (*micro_kernel)(long depth, const float *a, long a_row, const float *b, long b_row, long b_panel, ahead next,
                             float *c, long c_row, int from_c);

#define MM_MICRO(rows, panels)                                                                                        \
    static void micro_plain_##rows##x##panels(long depth, const float *a, long a_row, const float *b, long b_row,     \
                                              long b_panel, ahead next, float *c, long c_row, int from_c) {           \
        micro_body(rows, panels, 0, depth, a, a_row, b, b_row, b_panel, next, c, c_row, from_c);                      \
    }                                                                                                                 \
    static void micro_packed_##rows##x##panels(long depth, const float *a, long a_row, const float *b, long b_row,    \
                                               long b_panel, ahead next, float *c, long c_row, int from_c) {          \
        micro_body(rows, panels, 1, depth, a, a_row, b, b_row, b_panel, next, c, c_row, from_c);                      \
    }
MM_MICRO(1, 1) MM_MICRO(2, 1) MM_MICRO(3, 1) MM_MICRO(4, 1) MM_MICRO(5, 1) MM_MICRO(6, 1)
MM_MICRO(1, 4) MM_MICRO(2, 2) MM_MICRO(3, 2)
#if MM_ROWS > 6
MM_MICRO(7, 1) MM_MICRO(8, 1) MM_MICRO(9, 1) MM_MICRO(10, 1) MM_MICRO(11, 1) MM_MICRO(12, 1) MM_MICRO(13, 1)
MM_MICRO(14, 1)
#endif

static const micro_kernel micro_kernels[2][MM_ROWS + 1] = {
    {0, micro_plain_1x1, micro_plain_2x1, micro_plain_3x1, micro_plain_4x1, micro_plain_5x1, micro_plain_6x1,
#if MM_ROWS > 6
     micro_plain_7x1, micro_plain_8x1, micro_plain_9x1, micro_plain_10x1, micro_plain_11x1, micro_plain_12x1,
     micro_plain_13x1, micro_plain_14x1,
#endif
    },
    {0, micro_packed_1x1, micro_packed_2x1, micro_packed_3x1, micro_packed_4x1, micro_packed_5x1, micro_packed_6x1,
#if MM_ROWS > 6
     micro_packed_7x1, micro_packed_8x1, micro_packed_9x1, micro_packed_10x1, micro_packed_11x1, micro_packed_12x1,
     micro_packed_13x1, micro_packed_14x1,
#endif
    },
};
// Few rows leave too few chains to hide the latency of an addition: they take several panels a step.
static const micro_kernel wide_kernels[2][4] = {
    {0, micro_plain_1x4, micro_plain_2x2, micro_plain_3x2},
    {0, micro_packed_1x4, micro_packed_2x2, micro_packed_3x2},
};
MM_INLINE int panels_per_step(long rows) { return rows == 1 ? 4 : rows <= 3 ? 2 : 1; }

// The epilogue of a product: act(c + bias), on `rows` rows of at most one panel.
typedef struct {
    const float *bias;  // of the product's columns, or NULL
    int bias_by_row;    // the bias belongs to rows instead (convolutions: a row is an output channel)
    int activation;
} epilogue;

MM_INLINE vf activate(vf x, int activation) {
    switch (activation) {
        case MM_RELU: return choose(x < splat(0), splat(0), x);  // keeps a NaN
        case MM_GELU: return x * normal_below(x);
        case MM_QUICK_GELU: return x / (splat(1) + exponential(splat(-1.702f) * x));
        default: return x;
    }
}

static void finish_tile(long rows, long columns, float *c, long c_row, const epilogue *e, long i, long j) {
    for (long first = 0; first < columns; first += MM_LANES) {
        const long count = least(columns - first, MM_LANES);
        const int whole = count == MM_LANES;
        vf bias = splat(0);
        if (e->bias && !e->bias_by_row) bias = whole ? load(e->bias + j + first) : load_some(e->bias + j + first, count, 0);
        for (long r = 0; r < rows; r++) {
            float *at = c + r * c_row + first;
            vf x = whole ? load(at) : load_some(at, count, 0);
            if (e->bias) x += e->bias_by_row ? splat(e->bias[i + r]) : bias;
            x = activate(x, e->activation);
            if (whole) store(at, x);
            else store_some(at, x, count);
        }
    }
}

// How the rows of a tile are cut into groups of at most MM_ROWS, as evenly as can be (7 = 4 + 3, not 6 + 1).
MM_INLINE long group_count(long rows) { return divide_up(rows, MM_ROWS); }
MM_INLINE long group_start(long rows, long groups, long g) { return g * rows / groups; }

// One product of a block: rows x columns of C from `depth` values of k. A is plain (a_row apart) or packed ([group][k]
// [rows of the group]); B is panels b_panel apart. `finish` is NULL before the last block of k; (i, j) is the position of
// the block in the whole product, for the bias. `b_next` is what is multiplied after this block, or NULL.
static void multiply_before(const float *b_next, long rows, long columns, long depth, const float *a, long a_row, int packed,
                            const float *b, long b_row, long b_panel, float *c, long c_row, int from_c,
                            const epilogue *finish, long i, long j) {
    const long groups = group_count(rows);
    const int step = packed || groups > 1 ? 1 : panels_per_step(rows);
    for (long column = 0; column < columns;) {
        const int wide = step > 1 && columns - column >= step * MM_PANEL;
        const long width = wide ? step * MM_PANEL : least(columns - column, MM_PANEL);
        const float *panel = b + column / MM_PANEL * b_panel;
        const float *later = column + width < columns ? panel + b_panel : b_next;
        for (long g = 0; g < groups; g++) {
            const long first = group_start(rows, groups, g), count = group_start(rows, groups, g + 1) - first;
            const float *a_tile = packed ? a + first * depth : a + first * a_row;
            float *c_tile = c + first * c_row + column;
            // One group alone reads what comes from memory a little ahead of itself; a few share the next panel between
            // them; with many there is time enough without.
            ahead next = {(const char *)(panel + prefetch_distance * b_row), b_row * (long)sizeof(float)};
            if (groups > 1)
                next = later && b_row == MM_PANEL
                           ? (ahead){(const char *)later + depth * MM_PANEL * (long)sizeof(float) * g / groups,
                                     MM_PANEL * (long)sizeof(float) / groups}
                           : (ahead){(const char *)c_tile, 0};
            const micro_kernel kernel = wide ? wide_kernels[packed][count] : micro_kernels[packed][count];
            if (width >= MM_PANEL) {
                kernel(depth, a_tile, a_row, panel, b_row, b_panel, next, c_tile, c_row, from_c);
                if (finish) finish_tile(count, width, c_tile, c_row, finish, i + first, j + column);
            } else {
                float edge[MM_ROWS * MM_PANEL];
                if (from_c)
                    for (long r = 0; r < count; r++)
                        for (long x = 0; x < MM_PANEL; x++)
                            edge[r * MM_PANEL + x] = x < width ? c_tile[r * c_row + x] : 0;
                kernel(depth, a_tile, a_row, panel, b_row, b_panel, next, edge, MM_PANEL, from_c);
                if (finish) finish_tile(count, width, edge, MM_PANEL, finish, i + first, j + column);
                for (long r = 0; r < count; r++) memcpy(c_tile + r * c_row, edge + r * MM_PANEL, width * sizeof(float));
            }
        }
        column += width;
    }
}

static void multiply_block(long rows, long columns, long depth, const float *a, long a_row, int packed, const float *b,
                           long b_row, long b_panel, float *c, long c_row, int from_c, const epilogue *finish, long i,
                           long j) {
    multiply_before(NULL, rows, columns, depth, a, a_row, packed, b, b_row, b_panel, c, c_row, from_c, finish, i, j);
}
