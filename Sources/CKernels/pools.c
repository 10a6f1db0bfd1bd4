#include "CKernels.h"

// One output is one pass over its window in ascending order, so results do not depend on how planes are shared out.
typedef struct {
    const mm_pool_window *window;
    const float *x;
    float *y;
    int averages;
} pool_job;

static long first_inside(long start) { return start < 0 ? 0 : start; }
static long end_inside(long start, long kernel, long size) { return start + kernel < size ? start + kernel : size; }

static void pool_plane(void *context, long plane) {
    const pool_job *job = context;
    const mm_pool_window *w = job->window;
    const long *in = w->in_size, *out = w->out_size;
    const float *x = job->x + plane * in[0] * in[1] * in[2];
    float *y = job->y + plane * out[0] * out[1] * out[2];
    for (long t = 0; t < out[0]; t++) {
        long t0 = t * w->stride[0] - w->pad_front[0], t1 = end_inside(t0, w->kernel[0], in[0]);
        for (long r = 0; r < out[1]; r++) {
            long r0 = r * w->stride[1] - w->pad_front[1], r1 = end_inside(r0, w->kernel[1], in[1]);
            for (long c = 0; c < out[2]; c++, y++) {
                long c0 = c * w->stride[2] - w->pad_front[2], c1 = end_inside(c0, w->kernel[2], in[2]);
                float largest = -__builtin_inff(), sum = 0;
                long count = 0;
                for (long i = first_inside(t0); i < t1; i++) {
                    for (long j = first_inside(r0); j < r1; j++) {
                        const float *row = x + (i * in[1] + j) * in[2];
                        for (long k = first_inside(c0); k < c1; k++, count++) {
                            largest = row[k] > largest ? row[k] : largest;
                            sum += row[k];
                        }
                    }
                }
                *y = job->averages ? sum / (float)count : largest;
            }
        }
    }
}

void mm_max_pool_f32(const mm_pool_window *window, const float *x, float *y) {
    pool_job job = {window, x, y, 0};
    mm_parallel(window->planes, pool_plane, &job);
}

void mm_average_pool_f32(const mm_pool_window *window, const float *x, float *y) {
    pool_job job = {window, x, y, 1};
    mm_parallel(window->planes, pool_plane, &job);
}
