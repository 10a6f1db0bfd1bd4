#include "CKernelsDecompositions.h"

#include <cblas.h>
#include <stdlib.h>

// OpenBLAS holds LAPACK under its Fortran names; the lengths of character arguments come last, as gfortran passes them.
void dsyevd_(const char *job, const char *half, const int *n, double *a, const int *step, double *w, double *work,
             const int *work_size, int *integers, const int *integers_size, int *info, size_t, size_t);
void dgesdd_(const char *job, const int *m, const int *n, double *a, const int *step, double *s, double *u,
             const int *u_step, double *vt, const int *vt_step, double *work, const int *work_size, int *integers,
             int *info, size_t);

enum { no_memory = -1000 };

int mm_symmetric_eigen_f64(long n, double *matrix, double *values) {
    openblas_set_num_threads(1);
    int order = (int)n, info = 0, ask = -1, integers_size = 0;
    double size = 0;
    dsyevd_("V", "U", &order, matrix, &order, values, &size, &ask, &integers_size, &ask, &info, 1, 1);
    if (info != 0) return info;
    int work_size = (int)size;
    double *work = malloc(sizeof *work * (size_t)work_size);
    int *integers = malloc(sizeof *integers * (size_t)integers_size);
    // A symmetric matrix is its own transpose; the columns that LAPACK leaves are rows here.
    if (work && integers) {
        dsyevd_("V", "U", &order, matrix, &order, values, work, &work_size, integers, &integers_size, &info, 1, 1);
    } else {
        info = no_memory;
    }
    free(work);
    free(integers);
    return info;
}

int mm_singular_values_f64(long rows, long columns, double *matrix, double *values) {
    openblas_set_num_threads(1);
    // The transpose has the same singular values.
    int m = (int)columns, n = (int)rows, one = 1, info = 0, ask = -1;
    double size = 0, nothing = 0;
    int *integers = malloc(sizeof *integers * 8 * (size_t)(m < n ? m : n));
    if (!integers) return no_memory;
    dgesdd_("N", &m, &n, matrix, &m, values, &nothing, &one, &nothing, &one, &size, &ask, integers, &info, 1);
    int work_size = (int)size;
    double *work = info == 0 ? malloc(sizeof *work * (size_t)work_size) : NULL;
    if (info == 0 && !work) info = no_memory;
    if (info == 0) {
        dgesdd_("N", &m, &n, matrix, &m, values, &nothing, &one, &nothing, &one, work, &work_size, integers, &info, 1);
    }
    free(work);
    free(integers);
    return info;
}
