// Sums of what processes hand each other.
#include "include/CMPI.h"

void mm_add_floats(float *restrict to, const float *restrict from, long count) {
    for (long i = 0; i < count; i++) to[i] += from[i];
}
