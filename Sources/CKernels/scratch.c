// Scratch memory per thread; see scratch.h.
//
// Memory: each thread owns a few slots. Buffers over `keep_bytes` are returned to the system as soon as they are given
// back; smaller ones wait for the next kernel.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "CKernels.h"

enum { slot_count = 16 };
static const size_t keep_bytes = (size_t)64 << 20;
static const size_t huge_page = (size_t)2 << 20;

typedef struct {
    void *memory;
    size_t bytes;
    int taken;
} slot;
typedef struct {
    slot slots[slot_count];
} arena;

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local arena *mine;

static void free_arena(void *pointer) {
    arena *old = pointer;
    for (int i = 0; i < slot_count; i++) free(old->slots[i].memory);
    free(old);
}
static void make_key(void) { pthread_key_create(&key, free_arena); }

static _Atomic(void (*)(size_t)) handler;

void mm_set_out_of_memory(void (*body)(size_t)) { atomic_store(&handler, body); }

static void out_of_memory(size_t bytes) {
    void (*body)(size_t) = atomic_load(&handler);
    if (body) body(bytes);
    fprintf(stderr, "mmgen: out of memory: a kernel needs %zu bytes of scratch\n", bytes);
    abort();
}

void mm_trim_heap(void) {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

static void *allocate(size_t bytes) {
    void *memory = NULL;
    const size_t alignment = bytes >= huge_page ? huge_page : 64;
    if (posix_memalign(&memory, alignment, bytes) != 0) out_of_memory(bytes);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    // Packed panels are walked in many streams at once: small pages would miss in the TLB.
    if (alignment == huge_page) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

void *mm_scratch_take(size_t bytes) {
    pthread_once(&once, make_key);
    if (!mine) {
        mine = calloc(1, sizeof *mine);
        if (!mine) out_of_memory(sizeof *mine);
        pthread_setspecific(key, mine);
    }
    bytes = (bytes + 4095) & ~(size_t)4095;
    slot *best = NULL;
    for (int i = 0; i < slot_count; i++) {
        slot *s = &mine->slots[i];
        if (s->taken) continue;
        // The smallest that is large enough, else the largest to replace.
        if (!best) best = s;
        else if (best->bytes >= bytes ? (s->bytes >= bytes && s->bytes < best->bytes) : s->bytes > best->bytes) best = s;
    }
    if (!best) {
        fprintf(stderr, "mmgen: kernels are nested too deeply\n");
        abort();
    }
    if (best->bytes < bytes) {
        free(best->memory);
        best->memory = allocate(bytes);
        best->bytes = bytes;
    }
    best->taken = 1;
    return best->memory;
}

void mm_scratch_give(void *memory) {
    for (int i = 0; i < slot_count; i++) {
        slot *s = &mine->slots[i];
        if (s->memory != memory || !s->taken) continue;
        s->taken = 0;
        if (s->bytes > keep_bytes) {
            free(s->memory);
            s->memory = NULL;
            s->bytes = 0;
        }
        return;
    }
}
