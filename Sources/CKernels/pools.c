// Pooling and its gradients, a plane (one channel of one sample) per task.
//
// Rows of results are made together, so that the compiler has long loops. Sums meet their taps in row-major order, whatever
// the number of threads; the largest is found along one axis after the other, which gives the same.
//
// Memory: reads and writes its arguments, a table of a few numbers per tap and, for the largest, a plane or two in scratch.
#include "CKernels.h"

#include <math.h>
#include <string.h>

#include "scratch.h"

#if defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    long first, end;
} span;

// The part of a window that begins at `start` which lies inside an axis.
INLINE span inside(long start, long kernel, long size) {
    const long end = start + kernel;
    return (span){start < 0 ? 0 : start, end < size ? end : size};
}

// For each tap of the last axis, the results whose tap lies inside.
static span *tap_columns(const mm_pool_window *w) {
    const long stride = w->stride[2];
    span *columns = mm_scratch_take(sizeof(span) * (size_t)(w->kernel[2] + 1));
    for (long k = 0; k < w->kernel[2]; k++) {
        const long before = w->pad_front[2] - k, last = w->in_size[2] - 1 + before;
        const long first = before > 0 ? (before + stride - 1) / stride : 0, end = last < 0 ? 0 : last / stride + 1;
        columns[k] = (span){first, end < w->out_size[2] ? end : w->out_size[2]};
    }
    return columns;
}

static long volume(const long size[3]) { return size[0] * size[1] * size[2]; }

#define T float
#define S(name) name##_f32
#include "pools_body.inl.h"
#undef T
#undef S

#define T double
#define S(name) name##_f64
#include "pools_body.inl.h"
#undef T
#undef S
