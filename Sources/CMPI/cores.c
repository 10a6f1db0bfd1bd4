// Which cores this process may run on; the call hides behind a macro that Swift does not set.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "include/CMPI.h"

#include <sched.h>

long mm_usable_cores(void *bits, long size) {
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
    long count = 0;
    for (long core = 0; core < CPU_SETSIZE && core / 8 < size; core++) {
        if (!CPU_ISSET(core, &set)) continue;
        ((unsigned char *)bits)[core / 8] |= (unsigned char)(1 << core % 8);
        count = core / 8 + 1;
    }
    return count;
#else
    return 0;
#endif
}
