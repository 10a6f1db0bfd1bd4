// The micro-kernel of all products: a tile of C, at most MM_ROWS rows by one or more panels of MM_PANEL columns, held in
// registers while k runs upwards.
//
// Memory: A is read in place, a broadcast at a time: either rows with k contiguous ("plain"), or packed so that the rows
// of the tile are contiguous ("packed", [k][rows]). B is [k][MM_PANEL] per panel (or rows of B itself, b_row apart). C is
// rows c_row apart. Every element of C is one chain of fused multiply-adds, starting from zero or from what C holds: the
// bits depend neither on the tile's shape nor on where k was cut into blocks.
//
// What is a value of k here is a lane of 32 bits: a float, or a pair of 16-bit floats (bf16_dots.inl.h).
enum {
    most_panels = 4,
    prefetch_distance = 16,  // values of k
};
// How A lies, and what lanes hold.
enum { form_plain, form_packed = 1, form_pairs = 2 };

MM_INLINE vf broadcast(const int form, const float *a) { return form & form_pairs ? splat_lane(a) : splat(*a); }
MM_INLINE vf multiply_add(const int form, vf a, vf b, vf sum) {
#if defined(MM_HAS_BF16)
    if (form & form_pairs) return add_dots(sum, a, b);
#endif
    return MM_FMA(a, b, sum);
}

// What a kernel asks memory for while it computes: at `first`, `step` bytes further on with every value of k (0: nothing).
typedef struct {
    const char *first;
    long step;
} ahead;

// One value of k.
MM_INLINE void micro_step(const int rows, const int panels, const int form, const float *a, long row_step, const float *b,
                          long b_panel, vf sum[MM_ROWS][2 * most_panels]) {
    if (rows < 2 * panels) {
        // Whichever of the two operands is narrower stays in registers: with the sums, sixteen must do.
        vf factor[MM_ROWS];
        MM_UNROLL for (int i = 0; i < rows; i++) factor[i] = broadcast(form, a + i * row_step);
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) {
            const vf column = load(b + j / 2 * b_panel + j % 2 * MM_LANES);
            MM_UNROLL for (int i = 0; i < rows; i++) sum[i][j] = multiply_add(form, factor[i], column, sum[i][j]);
        }
    } else {
        vf column[2 * most_panels];
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) column[j] = load(b + j / 2 * b_panel + j % 2 * MM_LANES);
        MM_UNROLL for (int i = 0; i < rows; i++) {
            const vf factor = broadcast(form, a + i * row_step);
            MM_UNROLL for (int j = 0; j < 2 * panels; j++) sum[i][j] = multiply_add(form, factor, column[j], sum[i][j]);
            // Row by row: beside 28 sums no second factor fits into 32 registers.
            if (MM_ROWS > 6) __asm__ volatile("" ::: "memory");
        }
    }
}

MM_INLINE void micro_body(const int rows, const int panels, const int form, long depth, const float *a, long a_row,
                          const float *b, long b_row, long b_panel, ahead next, float *c, long c_row, int from_c) {
    vf sum[MM_ROWS][2 * most_panels];
    const long row_step = form & form_packed ? 1 : a_row, k_step = form & form_packed ? rows : 1;
    if (from_c) {
        MM_UNROLL for (int i = 0; i < rows; i++)
            MM_UNROLL for (int j = 0; j < 2 * panels; j++) sum[i][j] = load(c + i * c_row + j * MM_LANES);
    } else {
        MM_UNROLL for (int i = 0; i < rows; i++)
            MM_UNROLL for (int j = 0; j < 2 * panels; j++) sum[i][j] = splat(0);
    }
    if (MM_ROWS > 6 || rows < MM_ROWS || next.step) {
        // Not unrolled further: the compiler would put sums of full tiles on the stack. Large tiles gain nothing by it.
#pragma clang loop unroll(disable)
        for (long k = 0; k < depth; k++, b += b_row, next.first += next.step) {
            MM_UNROLL for (int j = 0; j < panels; j++) __builtin_prefetch(next.first + j * b_panel * sizeof(float));
            micro_step(rows, panels, form, a + k * k_step, row_step, b, b_panel, sum);
        }
    } else {
#pragma clang loop unroll_count(4)
        for (long k = 0; k < depth; k++, b += b_row) micro_step(rows, panels, form, a + k * k_step, row_step, b, b_panel, sum);
    }
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) store(c + i * c_row + j * MM_LANES, sum[i][j]);
}

// What to ask for comes as two numbers: as one struct it is stored in halves and read whole, which waits for all stores
// before it, those to C among them.
typedef void (*micro_kernel)(long depth, const float *a, long a_row, const float *b, long b_row, long b_panel,
                             const char *next, long next_step, float *c, long c_row, int from_c);

#define MM_MICRO(name, form, rows, panels)                                                                            \
    static void micro_##name##_##rows##x##panels(long depth, const float *a, long a_row, const float *b, long b_row,  \
                                                 long b_panel, const char *next, long next_step, float *c,            \
                                                 long c_row, int from_c) {                                            \
        micro_body(rows, panels, form, depth, a, a_row, b, b_row, b_panel, (ahead){next, next_step}, c, c_row,        \
                   from_c);                                                                                           \
    }
#define MM_MICRO_UP_TO_6(name, form)                                                                                  \
    MM_MICRO(name, form, 1, 1) MM_MICRO(name, form, 2, 1) MM_MICRO(name, form, 3, 1) MM_MICRO(name, form, 4, 1)       \
    MM_MICRO(name, form, 5, 1) MM_MICRO(name, form, 6, 1)
#define MM_MICROS_UP_TO_6(name)                                                                                       \
    0, micro_##name##_1x1, micro_##name##_2x1, micro_##name##_3x1, micro_##name##_4x1, micro_##name##_5x1,            \
        micro_##name##_6x1
#if MM_ROWS > 6
#define MM_MICRO_ALL(name, form)                                                                                      \
    MM_MICRO_UP_TO_6(name, form) MM_MICRO(name, form, 7, 1) MM_MICRO(name, form, 8, 1) MM_MICRO(name, form, 9, 1)     \
    MM_MICRO(name, form, 10, 1) MM_MICRO(name, form, 11, 1) MM_MICRO(name, form, 12, 1) MM_MICRO(name, form, 13, 1)   \
    MM_MICRO(name, form, 14, 1)
#define MM_MICROS(name)                                                                                               \
    MM_MICROS_UP_TO_6(name), micro_##name##_7x1, micro_##name##_8x1, micro_##name##_9x1, micro_##name##_10x1,         \
        micro_##name##_11x1, micro_##name##_12x1, micro_##name##_13x1, micro_##name##_14x1
#else
#define MM_MICRO_ALL(name, form) MM_MICRO_UP_TO_6(name, form)
#define MM_MICROS(name) MM_MICROS_UP_TO_6(name)
#endif
// Few rows leave too few chains to hide the latency of an addition: they take several panels a step, where A is plain.
#define MM_MICRO_WIDE(name, form) MM_MICRO(name, form, 1, 4) MM_MICRO(name, form, 2, 2) MM_MICRO(name, form, 3, 2)
#define MM_MICROS_WIDE(name) 0, micro_##name##_1x4, micro_##name##_2x2, micro_##name##_3x2

MM_MICRO_ALL(plain, form_plain) MM_MICRO_ALL(packed, form_packed) MM_MICRO_WIDE(plain, form_plain)
#if defined(MM_HAS_BF16)
MM_MICRO_ALL(pairs, form_pairs) MM_MICRO_ALL(packed_pairs, form_pairs | form_packed) MM_MICRO_WIDE(pairs, form_pairs)
#endif

static const micro_kernel micro_kernels[2 * halves_per_lane][MM_ROWS + 1] = {
    {MM_MICROS(plain)},
    {MM_MICROS(packed)},
#if defined(MM_HAS_BF16)
    {MM_MICROS(pairs)},
    {MM_MICROS(packed_pairs)},
#endif
};
static const micro_kernel wide_kernels[halves_per_lane][4] = {
    {MM_MICROS_WIDE(plain)},
#if defined(MM_HAS_BF16)
    {MM_MICROS_WIDE(pairs)},
#endif
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
// [rows of the group]), as `form` says; B is panels b_panel apart. `finish` is NULL before the last block of k; (i, j) is the position of
// the block in the whole product, for the bias. `b_next` is what is multiplied after this block, or NULL.
static void multiply_before(const float *b_next, long rows, long columns, long depth, const float *a, long a_row, int form,
                            const float *b, long b_row, long b_panel, float *c, long c_row, int from_c,
                            const epilogue *finish, long i, long j) {
    const long groups = group_count(rows);
    const int packed = form & form_packed, step = packed || groups > 1 ? 1 : panels_per_step(rows);
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
            const micro_kernel kernel = wide ? wide_kernels[form / form_pairs][count] : micro_kernels[form][count];
            if (width >= MM_PANEL) {
                kernel(depth, a_tile, a_row, panel, b_row, b_panel, next.first, next.step, c_tile, c_row, from_c);
                if (finish) finish_tile(count, width, c_tile, c_row, finish, i + first, j + column);
            } else {
                float edge[MM_ROWS * MM_PANEL];
                if (from_c)
                    for (long r = 0; r < count; r++)
                        for (long x = 0; x < MM_PANEL; x++)
                            edge[r * MM_PANEL + x] = x < width ? c_tile[r * c_row + x] : 0;
                kernel(depth, a_tile, a_row, panel, b_row, b_panel, next.first, next.step, edge, MM_PANEL, from_c);
                if (finish) finish_tile(count, width, edge, MM_PANEL, finish, i + first, j + column);
                for (long r = 0; r < count; r++) memcpy(c_tile + r * c_row, edge + r * MM_PANEL, width * sizeof(float));
            }
        }
        column += width;
    }
}

static void multiply_block(long rows, long columns, long depth, const float *a, long a_row, int form, const float *b,
                           long b_row, long b_panel, float *c, long c_row, int from_c, const epilogue *finish, long i,
                           long j) {
    multiply_before(NULL, rows, columns, depth, a, a_row, form, b, b_row, b_panel, c, c_row, from_c, finish, i, j);
}
