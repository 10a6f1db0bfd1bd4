// Packing the operands of products.
//
// Memory: B goes into panels [panel][k][MM_PANEL], the missing columns of the last panel zero. A goes into groups of rows
// [group][k][rows of the group], only where its k is not contiguous.

// One panel: columns 0..<columns (at most MM_PANEL), k = 0..<depth, of B[k,j] = b[k*b_row + j*b_col].
static void pack_panel(long columns, long depth, const float *b, long b_row, long b_col, float *panel) {
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

// All groups of `rows` rows of A[i,k] = a[i*a_row + k*a_col].
static void pack_rows(long rows, long depth, const float *a, long a_row, long a_col, float *packed) {
    const long groups = group_count(rows);
    for (long g = 0; g < groups; g++) {
        const long first = group_start(rows, groups, g), count = group_start(rows, groups, g + 1) - first;
        const float *from = a + first * a_row;
        float *to = packed + first * depth;
        for (long k = 0; k < depth; k++)
            for (long i = 0; i < count; i++) to[k * count + i] = from[i * a_row + k * a_col];
    }
}
