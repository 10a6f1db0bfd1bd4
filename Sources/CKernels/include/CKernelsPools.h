// Pooling over windows of three spatial axes, for networks that are only run forward.
#ifndef MM_KERNELS_POOLS_H
#define MM_KERNELS_POOLS_H

typedef struct {
    long planes;  // batch times channels
    long in_size[3], out_size[3], kernel[3], stride[3];
    long pad_front[3];
} mm_pool_window;

// y[plane, out...] is the largest x inside the window; what lies outside the input is left out.
void mm_max_pool_f32(const mm_pool_window *window, const float *x, float *y);
// The mean of the x inside the window; what lies outside the input is not counted.
void mm_average_pool_f32(const mm_pool_window *window, const float *x, float *y);

#endif
