// Pooling over windows of three spatial axes. Included by CKernels.h.
#ifndef MM_KERNELS_POOLS_H
#define MM_KERNELS_POOLS_H

#include <stdint.h>

// Every window has to meet the input: pad_front < kernel, and the last window begins inside.
typedef struct {
    long planes;  // batch times channels
    long in_size[3], out_size[3], kernel[3], stride[3];
    long pad_front[3];
} mm_pool_window;

#define MM_POOLS(T, S)                                                                                                 \
    /* y[plane, out...] is the largest x inside the window (NaN if there is one); what lies outside the input is left  \
       out. `places`, unless NULL, gets the place within the plane of the first such x in row-major order. */          \
    void mm_max_pool_##S(const mm_pool_window *window, const T *x, T *y, int32_t *places);                             \
    /* gx[plane, in...] (overwritten) = the sum of gy over the windows that took x from there, in order */             \
    void mm_max_pool_gradient_##S(const mm_pool_window *window, const int32_t *places, const T *gy, T *gx);            \
    /* The sum of x inside the window, divided by the window's volume, or by how many of its places lie inside. */     \
    void mm_average_pool_##S(const mm_pool_window *window, int counts_padding, const T *x, T *y);                      \
    void mm_average_pool_gradient_##S(const mm_pool_window *window, int counts_padding, const T *gy, T *gx);

MM_POOLS(float, f32)
MM_POOLS(double, f64)
#undef MM_POOLS

#endif
