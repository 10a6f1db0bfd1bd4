// Products in double precision: OpenBLAS on fixed tiles, one thread each, called from the pool's workers.
//
// Memory: an operand neither of whose steps is 1 is copied into scratch first, per tile. The tiles do not depend on the
// thread count, and no tile splits the reduction.
#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "CKernels.h"
#include "scratch.h"

enum { tile = 128 };

typedef struct {
    long m, n, k;
    const double *a;
    long a_step, a_row, a_col;
    const double *b;
    long b_step, b_row, b_col;
    double *c;
    long c_step, c_row;
    int accumulate;
    const double *bias;
    int activation;
    long row_tiles, column_tiles;
} request;

static void use_one_blas_thread(void) { openblas_set_num_threads(1); }
static pthread_once_t once = PTHREAD_ONCE_INIT;

static double activate(double x, int activation) {
    switch (activation) {
        case MM_RELU: return x < 0 ? 0 : x;
        case MM_GELU: return x * 0.5 * erfc(-x * 0.70710678118654752440);
        case MM_QUICK_GELU: return x / (1 + exp(-1.702 * x));
        default: return x;
    }
}

// A matrix as BLAS wants it: one of the steps is 1. Copies into `copy` when it must.
typedef struct {
    const double *values;
    CBLAS_TRANSPOSE transposed;
    int step;
} operand;

static operand as_blas(const double *values, long rows, long columns, long row, long column, double **copy) {
    if (column == 1 || columns == 1) {
        if (row >= columns && row >= 1) return (operand){values, CblasNoTrans, (int)row};
        if (rows == 1) return (operand){values, CblasNoTrans, (int)(columns > 1 ? columns : 1)};
    }
    if (row == 1 && column >= rows && column >= 1) return (operand){values, CblasTrans, (int)column};
    *copy = mm_scratch_take(sizeof(double) * (size_t)(rows * columns));
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) (*copy)[i * columns + j] = values[i * row + j * column];
    return (operand){*copy, CblasNoTrans, (int)columns};
}

static void multiply_tile(void *context, long index) {
    const request *r = context;
    const long i = index % r->row_tiles * tile, j = index / r->row_tiles % r->column_tiles * tile;
    const long which = index / (r->row_tiles * r->column_tiles);
    const long rows = r->m - i < tile ? r->m - i : tile, columns = r->n - j < tile ? r->n - j : tile;
    double *c = r->c + which * r->c_step + i * r->c_row + j;
    if (r->k == 0) {
        if (!r->accumulate)
            for (long x = 0; x < rows; x++) memset(c + x * r->c_row, 0, sizeof(double) * (size_t)columns);
    } else {
        double *a_copy = NULL, *b_copy = NULL;
        const operand a = as_blas(r->a + which * r->a_step + i * r->a_row, rows, r->k, r->a_row, r->a_col, &a_copy);
        const operand b = as_blas(r->b + which * r->b_step + j * r->b_col, r->k, columns, r->b_row, r->b_col, &b_copy);
        const int c_row = (int)(r->c_row > columns ? r->c_row : columns);
        cblas_dgemm(CblasRowMajor, a.transposed, b.transposed, (int)rows, (int)columns, (int)r->k, 1.0, a.values, a.step,
                    b.values, b.step, r->accumulate ? 1.0 : 0.0, c, c_row);
        if (b_copy) mm_scratch_give(b_copy);
        if (a_copy) mm_scratch_give(a_copy);
    }
    if (!r->bias && r->activation == MM_IDENTITY) return;
    for (long x = 0; x < rows; x++)
        for (long y = 0; y < columns; y++) {
            double *at = c + x * r->c_row + y;
            *at = activate(*at + (r->bias ? r->bias[j + y] : 0), r->activation);
        }
}

static void run(long batch, request r) {
    if (batch <= 0 || r.m <= 0 || r.n <= 0) return;
    pthread_once(&once, use_one_blas_thread);
    r.row_tiles = (r.m + tile - 1) / tile;
    r.column_tiles = (r.n + tile - 1) / tile;
    mm_parallel(batch * r.row_tiles * r.column_tiles, multiply_tile, &r);
}

void mm_gemm_f64(long m, long n, long k, const double *a, long a_row, long a_col, const double *b, long b_row, long b_col,
                 double *c, long c_row, int accumulate, const double *bias, int activation) {
    run(1, (request){m, n, k, a, 0, a_row, a_col, b, 0, b_row, b_col, c, 0, c_row, accumulate, bias, activation, 0, 0});
}

void mm_gemm_batch_f64(long batch, long m, long n, long k, const double *a, long a_step, long a_row, long a_col,
                       const double *b, long b_step, long b_row, long b_col, double *c, long c_step, long c_row) {
    run(batch, (request){m, n, k, a, a_step, a_row, a_col, b, b_step, b_row, b_col, c, c_step, c_row, 0, NULL,
                         MM_IDENTITY, 0, 0});
}
