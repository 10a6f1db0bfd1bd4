// The thread pool: persistent workers that spin briefly, then park.
//
// Memory: one job at a time lives in file-scope atomics; a task's context stays the caller's. Nothing is allocated per
// job. A second caller that finds the pool busy, and a task that starts a job of its own, run their tasks in place.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "CKernels.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { max_workers = 255 };
static const long spin_nanoseconds = 50000;

// The ticket is (generation << 32 | tasks not yet taken). A worker takes a task by a compare-and-swap that only succeeds
// while the job whose fields it has read is still open: the fields change only while no task is left to take.
static _Atomic uint64_t ticket;
static _Atomic(mm_task) job_task;
static _Atomic(void *) job_context;
static _Atomic long job_first, job_count, job_done;

static atomic_flag busy = ATOMIC_FLAG_INIT;
static _Atomic int wanted;    // threads in use, the caller included; 0 = not yet determined
static int started;           // workers created so far (guarded by `busy`)
static _Atomic int sleepers;  // parked workers
static _Atomic int caller_parked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_ready = PTHREAD_COND_INITIALIZER;
static pthread_cond_t work_done = PTHREAD_COND_INITIALIZER;
static _Thread_local bool inside_task;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long now_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

#if defined(__linux__)
// The processors a cgroup v2 quota allows (rounded up), or 0 when there is no quota.
static int quota_of(const char *path) {
    char text[64] = {0};
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    long quota = 0, period = 0;
    bool found = fgets(text, sizeof text, file) && sscanf(text, "%ld %ld", &quota, &period) == 2;
    fclose(file);
    return found && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

// The tightest quota on the way from this process's cgroup up to the root.
static int cgroup_processors(void) {
    char line[1024], path[1200];
    int least = 0;
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "0::", 3) != 0) continue;
        char *group = line + 3;
        group[strcspn(group, "\n")] = 0;
        for (;;) {
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", strcmp(group, "/") == 0 ? "" : group);
            int processors = quota_of(path);
            if (processors > 0 && (least == 0 || processors < least)) least = processors;
            char *slash = strrchr(group, '/');
            if (!slash || group[0] == 0) break;
            *slash = 0;
        }
    }
    fclose(file);
    return least;
}
#endif

static int usable_processors(void) {
    int count = (int)sysconf(_SC_NPROCESSORS_ONLN);
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) count = CPU_COUNT(&set);
    int quota = cgroup_processors();
    if (quota > 0 && quota < count) count = quota;
#endif
    return count < 1 ? 1 : count > max_workers ? max_workers : count;
}

int mm_thread_count(void) {
    int count = atomic_load_explicit(&wanted, memory_order_relaxed);
    if (count > 0) return count;
    int expected = 0, found = usable_processors();
    atomic_compare_exchange_strong(&wanted, &expected, found);
    return expected > 0 ? expected : found;
}

void mm_set_thread_count(int count) {
    if (count < 1) count = 1;
    if (count > max_workers) count = max_workers;
    atomic_store(&wanted, count);
}

// Takes and runs tasks of whatever job is open until none is left.
static void work(void) {
    uint64_t seen = atomic_load_explicit(&ticket, memory_order_acquire);
    while ((uint32_t)seen != 0) {
        mm_task task = atomic_load_explicit(&job_task, memory_order_relaxed);
        void *context = atomic_load_explicit(&job_context, memory_order_relaxed);
        long first = atomic_load_explicit(&job_first, memory_order_relaxed);
        long count = atomic_load_explicit(&job_count, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&ticket, &seen, seen - 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        task(context, first + count - (long)(uint32_t)seen);
        if (atomic_fetch_add(&job_done, 1) + 1 == count && atomic_load(&caller_parked)) {
            pthread_mutex_lock(&lock);
            pthread_cond_signal(&work_done);
            pthread_mutex_unlock(&lock);
        }
        seen = atomic_load_explicit(&ticket, memory_order_acquire);
    }
}

static bool work_is_open(void) { return (uint32_t)atomic_load(&ticket) != 0; }

static void *worker(void *argument) {
    const int identity = (int)(intptr_t)argument;  // 1 ... : 0 is the caller
    inside_task = true;
    for (;;) {
        // A worker beyond the wanted number neither spins nor takes tasks.
        if (identity < atomic_load_explicit(&wanted, memory_order_relaxed)) {
            const long deadline = now_nanoseconds() + spin_nanoseconds;
            do {
                for (int i = 0; i < 64 && !work_is_open(); i++) relax();
            } while (!work_is_open() && now_nanoseconds() < deadline);
            if (work_is_open()) {
                work();
                continue;
            }
        }
        pthread_mutex_lock(&lock);
        atomic_fetch_add(&sleepers, 1);
        while (!work_is_open() || identity >= atomic_load_explicit(&wanted, memory_order_relaxed))
            pthread_cond_wait(&work_ready, &lock);
        atomic_fetch_sub(&sleepers, 1);
        pthread_mutex_unlock(&lock);
        work();
    }
    return NULL;
}

static void start_workers(int threads) {
    while (started < threads - 1) {
        pthread_attr_t attributes;
        pthread_t thread;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        int failed = pthread_create(&thread, &attributes, worker, (void *)(intptr_t)(started + 1));
        pthread_attr_destroy(&attributes);
        if (failed) return;  // fewer threads, same results
        started++;
    }
}

static void wait_until_done(long count) {
    const long deadline = now_nanoseconds() + spin_nanoseconds;
    do {
        for (int i = 0; i < 64; i++) {
            if (atomic_load(&job_done) == count) return;
            relax();
        }
    } while (now_nanoseconds() < deadline);
    pthread_mutex_lock(&lock);
    atomic_store(&caller_parked, 1);
    while (atomic_load(&job_done) != count) pthread_cond_wait(&work_done, &lock);
    atomic_store(&caller_parked, 0);
    pthread_mutex_unlock(&lock);
}

static void run_in_place(long count, mm_task task, void *context) {
    for (long i = 0; i < count; i++) task(context, i);
}

void mm_parallel(long count, mm_task task, void *context) {
    const int threads = mm_thread_count();
    if (count <= 1 || threads == 1 || inside_task || atomic_flag_test_and_set_explicit(&busy, memory_order_acquire)) {
        run_in_place(count, task, context);
        return;
    }
    start_workers(threads);
    inside_task = true;
    // The ticket counts 32 bits of tasks: longer jobs go in pieces.
    const long piece = 1L << 30;
    for (long first = 0; first < count; first += piece) {
        const long size = count - first < piece ? count - first : piece;
        atomic_store_explicit(&job_task, task, memory_order_relaxed);
        atomic_store_explicit(&job_context, context, memory_order_relaxed);
        atomic_store_explicit(&job_first, first, memory_order_relaxed);
        atomic_store_explicit(&job_count, size, memory_order_relaxed);
        atomic_store_explicit(&job_done, 0, memory_order_relaxed);
        const uint64_t generation = (atomic_load_explicit(&ticket, memory_order_relaxed) >> 32) + 1;
        atomic_store(&ticket, generation << 32 | (uint64_t)size);
        if (atomic_load(&sleepers) > 0) {
            pthread_mutex_lock(&lock);
            pthread_cond_broadcast(&work_ready);
            pthread_mutex_unlock(&lock);
        }
        work();
        wait_until_done(size);
    }
    inside_task = false;
    atomic_flag_clear_explicit(&busy, memory_order_release);
}
