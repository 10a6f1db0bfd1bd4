// Scratch memory for kernels: buffers kept per thread, so that a hot loop allocates once in a process's life.
//
// Memory: mm_scratch_take returns 64-byte aligned, uninitialized memory that stays valid until the same thread gives it
// back. Several may be out at once (a task run in place may start another kernel). Freed when the thread ends.
#ifndef MM_SCRATCH_H
#define MM_SCRATCH_H
#include <stddef.h>

void *mm_scratch_take(size_t bytes);
void mm_scratch_give(void *memory);

#endif
