// Packing the operands of products whose lanes hold pairs of 16-bit floats (bf16_dots.inl.h): as gemm_pack.inl.h does it,
// with a pair in place of a float. `numbers` values of k make half as many lanes; what an odd number lacks is zero.
//
// Memory: numbers pass as rounded floats through a block on the stack.
enum { numbers_at_once = 2 * halves_at_once };

static inline long lanes_of(long numbers, int unit) { return divide_up(numbers, unit); }

// Rows of `width` floats [numbers][width] to rows of pairs, in place or not. Up to MM_LANES - 1 lanes behind a row are
// spoilt, so `to` has as many to spare.
static void pair_rows(long numbers, long width, const float *from, float *to) {
    for (long k = 0; k < numbers; k += 2, from += 2 * width, to += width)
        for (long x = 0; x < width; x += MM_LANES)
            store(to + x, halves_joined(load(from + x), k + 1 < numbers ? load(from + width + x) : splat(0)));
}

// One row of k: neighbours become pairs, in place. Whole vectors are read and written.
static void pair_neighbours(long numbers, float *row) {
    if (numbers % 2) row[numbers] = 0;
    for (long k = 0; k < numbers; k += 2 * MM_LANES) {
        const vf left = load(row + k), right = load(row + k + MM_LANES);
        store(row + k / 2, halves_joined(even_lanes(left, right), odd_lanes(left, right)));
    }
}

static void pack_panel_of(int unit, long columns, long numbers, operand b, float *panel) {
    if (unit == 1) {
        pack_panel(columns, numbers, b, panel);
        return;
    }
    float wide[MM_PANEL * numbers_at_once];
    for (long k = 0; k < numbers; k += numbers_at_once) {
        const long count = least(numbers_at_once, numbers - k);
        pack_panel(columns, count, part(b, k, 0), wide);
        pair_rows(count, MM_PANEL, wide, panel + k / 2 * MM_PANEL);
    }
}

// Whether a product has to pack A, whose k has that many numbers.
static inline int packs_rows_of(int unit, const operand *a, long numbers) {
    if (unit == 1) return packs_rows(a);
    return a->col != 1 || a->kind != kind_halves || numbers % 2 || a->row % 2;
}

static void pack_rows_of(int unit, long rows, long numbers, operand a, float *packed) {
    if (unit == 1) {
        pack_rows(rows, numbers, a, packed);
        return;
    }
    const long lanes = lanes_of(numbers, unit), groups = group_count(rows);
    if (!packs_groups(&a)) {
        for (long i = 0; i < rows; i++) {
            const operand from = part(a, i, 0);
            uint16_t *to = (uint16_t *)(packed + i * lanes);
            if (a.kind == kind_halves) memcpy(to, from.at, numbers * sizeof *to);
            else narrow(numbers, from.at, to);
            if (numbers % 2) to[numbers] = 0;
        }
        return;
    }
    for (long g = 0; g < groups; g++) {
        const long first = group_start(rows, groups, g), count = group_start(rows, groups, g + 1) - first;
        for (long k = 0; k < numbers; k += numbers_at_once) {
            const long here = least(numbers_at_once, numbers - k), pairs = lanes_of(here, unit);
            float wide[MM_ROWS * numbers_at_once + MM_LANES], packs[MM_ROWS * halves_at_once + MM_LANES];
            pack_group(count, rows - first, here, part(a, first, k), wide);
            pair_rows(here, count, wide, packs);
            memcpy(packed + first * lanes + k / 2 * count, packs, sizeof(float) * pairs * count);
        }
    }
}
