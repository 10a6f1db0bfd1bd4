// Packing the operands of products.
//
// Memory: B goes into panels [panel][k][MM_PANEL], the missing columns of the last panel zero. A goes into groups of rows
// [group][k][rows of the group], where its k is not contiguous; where it is, only what is to be rounded or widened goes
// into rows [row][k].

// What an operand's numbers are: floats; floats that are rounded to 16 bits before they are multiplied; 16-bit floats.
// Packed they are floats always, so that one micro-kernel serves all.
enum { kind_floats, kind_rounded, kind_halves };

// Element [i, j] is number i * row + j * col from `at` on.
typedef struct {
    const void *at;
    long row, col;
    int kind;
} operand;

static inline operand floats_at(const float *at, long row, long col) { return (operand){at, row, col, kind_floats}; }
static inline operand moved(operand x, long numbers) {
    x.at = (const char *)x.at + numbers * (x.kind == kind_halves ? 2 : 4);
    return x;
}
static inline operand part(operand x, long i, long j) { return moved(x, i * x.row + j * x.col); }

// One panel: columns 0..<columns (at most MM_PANEL), k = 0..<depth, of B[k,j] = b[k*b_row + j*b_col].
static void pack_floats(long columns, long depth, const float *b, long b_row, long b_col, float *panel) {
    if (b_col == 1 && columns == MM_PANEL) {
        for (long k = 0; k < depth; k++) {
            const vf left = load(b + k * b_row), right = load(b + k * b_row + MM_LANES);
            store(panel + k * MM_PANEL, left);
            store(panel + k * MM_PANEL + MM_LANES, right);
        }
        return;
    }
    long k = 0;
    if (b_row == 1) {
        // Transposes in squares of four.
        for (; k + 4 <= depth; k += 4) {
            long j = 0;
            for (; j + 4 <= columns; j += 4) {
                const float *from = b + k + j * b_col;
                float *to = panel + k * MM_PANEL + j;
                const v4 r0 = *(const v4_memory *)from, r1 = *(const v4_memory *)(from + b_col);
                const v4 r2 = *(const v4_memory *)(from + 2 * b_col), r3 = *(const v4_memory *)(from + 3 * b_col);
                const v4 a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), c = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
                const v4 d = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), e = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
                *(v4_memory *)to = __builtin_shufflevector(a, c, 0, 1, 4, 5);
                *(v4_memory *)(to + MM_PANEL) = __builtin_shufflevector(a, c, 2, 3, 6, 7);
                *(v4_memory *)(to + 2 * MM_PANEL) = __builtin_shufflevector(d, e, 0, 1, 4, 5);
                *(v4_memory *)(to + 3 * MM_PANEL) = __builtin_shufflevector(d, e, 2, 3, 6, 7);
            }
            for (; j < MM_PANEL; j++)
                for (long x = 0; x < 4; x++) panel[(k + x) * MM_PANEL + j] = j < columns ? b[k + x + j * b_col] : 0;
        }
    }
    for (; k < depth; k++)
        for (long j = 0; j < MM_PANEL; j++) panel[k * MM_PANEL + j] = j < columns ? b[k * b_row + j * b_col] : 0;
}

enum { halves_at_once = 64 };

static void pack_halves(long columns, long depth, const uint16_t *b, long b_row, long b_col, float *panel) {
    if (b_col == 1 && columns == MM_PANEL) {
        for (long k = 0; k < depth; k++) {
            const vf left = load_half(b + k * b_row), right = load_half(b + k * b_row + MM_LANES);
            store(panel + k * MM_PANEL, left);
            store(panel + k * MM_PANEL + MM_LANES, right);
        }
        return;
    }
    if (b_row != 1) {
        for (long k = 0; k < depth; k++)
            for (long j = 0; j < MM_PANEL; j++)
                panel[k * MM_PANEL + j] = j < columns ? of_bf16(b[k * b_row + j * b_col]) : 0;
        return;
    }
    float wide[MM_PANEL * halves_at_once];
    for (long k = 0; k < depth; k += halves_at_once) {
        const long count = least(halves_at_once, depth - k);
        for (long j = 0; j < columns; j++) widen(count, b + k + j * b_col, wide + j * halves_at_once);
        pack_floats(columns, count, wide, 1, halves_at_once, panel + k * MM_PANEL);
    }
}

static void pack_panel(long columns, long depth, operand b, float *panel) {
    if (b.kind == kind_halves) {
        pack_halves(columns, depth, b.at, b.row, b.col, panel);
        return;
    }
    pack_floats(columns, depth, b.at, b.row, b.col, panel);
    if (b.kind == kind_rounded) round_floats(depth * MM_PANEL, panel, panel);
}

// Whole panels side by side, panel_step apart, of floats whose columns lie next to each other: row by row, since rows of B
// may be as far apart as pages.
static void pack_wide(long panels, long depth, const float *b, long b_row, float *to, long panel_step) {
    for (long k = 0; k < depth; k++, b += b_row, to += MM_PANEL)
        for (long panel = 0; panel < panels; panel++) {
            const vf left = load(b + panel * MM_PANEL), right = load(b + panel * MM_PANEL + MM_LANES);
            store(to + panel * panel_step, left);
            store(to + panel * panel_step + MM_LANES, right);
        }
}

// Whether a product cannot read A in place, and whether it then lies in groups.
static inline int packs_rows(const operand *a) { return a->col != 1 || a->kind != kind_floats; }
static inline int packs_groups(const operand *a) { return a->col != 1; }

// One group of `count` rows of A, of which `left` follow in the matrix.
static void pack_group(long count, long left, long depth, operand a, float *to) {
    // Whole vectors where the rows lie side by side; what runs over is overwritten by the next k.
    const long vectors = a.row == 1 && count <= MM_LANES && left >= MM_LANES ? depth - MM_LANES : 0;
    long k = 0;
    for (; k < vectors; k++)
        store(to + k * count, a.kind == kind_halves ? load_half((const uint16_t *)a.at + k * a.col)
                                                    : load((const float *)a.at + k * a.col));
    for (; k < depth; k++)
        for (long i = 0; i < count; i++) {
            const long at = i * a.row + k * a.col;
            to[k * count + i] = a.kind == kind_halves ? of_bf16(((const uint16_t *)a.at)[at]) : ((const float *)a.at)[at];
        }
    if (a.kind == kind_rounded) round_floats(count * depth, to, to);
}

// `rows` rows of A: all groups of them, or as rows where k is contiguous.
static void pack_rows(long rows, long depth, operand a, float *packed) {
    if (!packs_groups(&a)) {
        for (long i = 0; i < rows; i++) {
            const operand from = part(a, i, 0);
            if (a.kind == kind_halves) widen(depth, from.at, packed + i * depth);
            else round_floats(depth, from.at, packed + i * depth);
        }
        return;
    }
    const long groups = group_count(rows);
    for (long g = 0; g < groups; g++) {
        const long first = group_start(rows, groups, g), count = group_start(rows, groups, g + 1) - first;
        pack_group(count, rows - first, depth, part(a, first, 0), packed + first * depth);
    }
}
