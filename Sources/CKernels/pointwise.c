// Elementwise, reduction, normalization and optimizer loops, written plainly for the compiler to vectorize.
//
// The body is compiled for float and for double; each function exists once per instruction-set level and the loader
// picks the best (target_clones). None of them is worth hand-written vectors: they are bound by memory or by exp.
#include "CKernels.h"

#include <math.h>
#include <string.h>

#include "philox.h"

#if defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

#include "pointwise_math.inl.h"

#define T float
#define S(name) name##_f32
#define F(name) name##_f
#include "pointwise_body.inl.h"
#undef T
#undef S
#undef F

#define T double
#define S(name) name##_f64
#define F(name) name##_d
#include "pointwise_body.inl.h"
#undef T
#undef S
#undef F
