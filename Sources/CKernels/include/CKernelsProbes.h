// What this machine can do at most, measured: the yardsticks of `mmgen bench`. Part of CKernels.h.
#ifndef CKERNELS_PROBES_H
#define CKERNELS_PROBES_H

#ifdef __cplusplus
extern "C" {
#endif

// Reads `bytes` (a multiple of 4096 is best) once, on all threads of the pool, with as many loads in flight as pay. The
// result depends on what was read, so that nothing can be left out.
float mm_probe_read(const void *memory, long bytes);

// Multiplies and adds in registers, in vectors of the instruction set in use, `rounds` times in each of `tasks` tasks on
// the pool's threads. Returns the number of floating-point operations made (a fused multiply-add counts as two).
double mm_probe_arithmetic(long tasks, long rounds);

#ifdef __cplusplus
}
#endif
#endif
