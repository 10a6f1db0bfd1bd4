// What a product of matrices is: sizes, operands, and what is done to the sums at the end.
//
// Memory: a description only.
//
// k is counted in lanes: of one float, or of two 16-bit floats where the processor multiplies those.
typedef struct {
    long m, n, k, numbers;  // k in lanes; in numbers
    int unit;               // numbers of a lane
    operand a, b;
    float *c;
    long c_row;
    int accumulate;
    epilogue finish;
    int has_finish;
} product;

// Numbers and operands from lane `first` on.
static inline int unit_of(const product *p) { return halves_per_lane == 1 ? 1 : p->unit; }
static inline long numbers_from(const product *p, long first, long lanes) {
    return least(lanes * unit_of(p), p->numbers - first * unit_of(p));
}
static inline operand a_from(const product *p, long i, long first) { return part(p->a, i, first * unit_of(p)); }
static inline operand b_from(const product *p, long first, long j) { return part(p->b, first * unit_of(p), j); }
static inline int packs_a(const product *p) { return packs_rows_of(unit_of(p), &p->a, p->numbers); }
static inline int form_of(const product *p) {
    return (unit_of(p) > 1 ? form_pairs : form_plain) | (packs_groups(&p->a) ? form_packed : form_plain);
}

// Where an operand has 16 bits, the other's values have no more: such products take two numbers a lane if they can.
static product make_product(long m, long n, long k, operand a, operand b, float *c, long c_row, int accumulate,
                            const float *bias, int activation) {
    // A single value of k may be read with any column step.
    if (k <= 1) a.col = 1;
    const int unit = a.kind == kind_halves || b.kind == kind_halves ? halves_per_lane : 1;
    return (product){m, n, lanes_of(k, unit), k, unit, a, b, c, c_row, accumulate, {bias, 0, activation},
                     bias != NULL || activation != MM_IDENTITY};
}
