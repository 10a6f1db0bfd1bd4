// Measures nothing itself: does work whose time is the machine's limit (see CKernelsProbes.h).
//
// Memory: tasks share a context on the caller's stack and read the caller's memory; nothing is allocated.
#include "CKernels.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "variants.h"

// ---- Reading ---------------------------------------------------------------------------------------------------------

typedef struct {
    const char *memory;
    long bytes, part;
    _Atomic float sum;
} read_job;

#if defined(__x86_64__) && defined(__linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

enum { streams = 4, turn = 256 };

// Four places take turns, a kilobyte of each at a time: more than one stream that the processor reads ahead of by itself is
// what it takes to reach memory's speed. 64 sums are as many registers as every level has.
CLONES static float read_floats(const float *x, long count) {
    float sums[64] = {0};
    const long quarter = count / streams / turn * turn;
    for (long i = 0; i < quarter; i += turn)
        for (int stream = 0; stream < streams; stream++) {
            const float *from = x + stream * quarter + i;
            for (int k = 0; k < turn; k += 64)
                for (int j = 0; j < 64; j++) sums[j] += from[k + j];
        }
    float total = 0;
    for (long i = streams * quarter; i < count; i++) total += x[i];
    for (int j = 0; j < 64; j++) total += sums[j];
    return total;
}

static void read_part(void *context, long index) {
    read_job *job = context;
    const long first = index * job->part;
    const long bytes = first + job->part < job->bytes ? job->part : job->bytes - first;
    const float sum = read_floats((const float *)(job->memory + first), bytes / (long)sizeof(float));
    atomic_store_explicit(&job->sum, sum, memory_order_relaxed);
}

float mm_probe_read(const void *memory, long bytes) {
    // A few long runs per thread: long enough for the hardware's prefetching, short enough to end together.
    const long parts = 4L * mm_thread_count();
    read_job job = {memory, bytes, (bytes / parts + 4095) / 4096 * 4096, 0};
    if (job.part < 4096) job.part = 4096;
    mm_parallel((bytes + job.part - 1) / job.part, read_part, &job);
    return atomic_load(&job.sum);
}

// ---- Arithmetic ------------------------------------------------------------------------------------------------------

typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));

typedef struct {
    long rounds;
    _Atomic float sum;
} arithmetic_job;

// Twelve chains: more than latency times throughput of any processor so far, and they fit sixteen registers.
enum { chains = 12 };

#define ARITHMETIC(V, COMBINE)                                                                                         \
    V factor = (V){0} + 0.999f, addend = (V){0} + 0.001f;                                                              \
    V a = addend, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5;                                               \
    V g = a + 6, h = a + 7, i = a + 8, j = a + 9, k = a + 10, l = a + 11;                                              \
    for (long round = 0; round < rounds; round++) {                                                                    \
        a = COMBINE(a), b = COMBINE(b), c = COMBINE(c), d = COMBINE(d), e = COMBINE(e), f = COMBINE(f);                \
        g = COMBINE(g), h = COMBINE(h), i = COMBINE(i), j = COMBINE(j), k = COMBINE(k), l = COMBINE(l);                \
    }                                                                                                                  \
    V all = ((a + b) + (c + d)) + ((e + f) + (g + h)) + ((i + j) + (k + l));                                           \
    return all[0] + all[1];

#define FUSED(x) __builtin_elementwise_fma(x, factor, addend)
#define APART(x) ((x) * factor + addend)

static float arithmetic_baseline(long rounds) { ARITHMETIC(v4, APART) }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static float arithmetic_avx2(long rounds) { ARITHMETIC(v8, FUSED) }
__attribute__((target("avx512f"))) static float arithmetic_avx512(long rounds) { ARITHMETIC(v16, FUSED) }
#endif

static int lanes(void) {
    const char *name = mm_isa_name();
    return strncmp(name, "avx512", 6) == 0 ? 16 : strcmp(name, "baseline") == 0 ? 4 : 8;
}

static void arithmetic_task(void *context, long index) {
    arithmetic_job *job = context;
    (void)index;
    float sum;
    switch (lanes()) {
#if defined(__x86_64__)
    case 16: sum = arithmetic_avx512(job->rounds); break;
    case 8: sum = arithmetic_avx2(job->rounds); break;
#endif
    default: sum = arithmetic_baseline(job->rounds); break;
    }
    atomic_store_explicit(&job->sum, sum, memory_order_relaxed);
}

double mm_probe_arithmetic(long tasks, long rounds) {
    arithmetic_job job = {rounds, 0};
    mm_parallel(tasks, arithmetic_task, &job);
    return 2.0 * chains * lanes() * (double)rounds * (double)tasks;
}
