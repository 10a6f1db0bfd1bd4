// Decompositions of dense matrices in double precision, by LAPACK, on one thread. Matrices are row-major.
#ifndef MM_KERNELS_DECOMPOSITIONS_H
#define MM_KERNELS_DECOMPOSITIONS_H

// Eigenvalues, ascending, and eigenvectors of a symmetric matrix [n, n]; row i of `matrix` becomes that of values[i].
// Returns 0, or what LAPACK's dsyevd says; -1000 without memory.
int mm_symmetric_eigen_f64(long n, double *matrix, double *values);

// Singular values, descending, min(rows, columns) of them; `matrix` [rows, columns] is overwritten. Returns as above.
int mm_singular_values_f64(long rows, long columns, double *matrix, double *values);

#endif
