// What the kernel sources need from outside, included before a variant pushes its target attribute.
//
// Memory: declarations only.
#ifndef MM_VARIANT_PRELUDE_H
#define MM_VARIANT_PRELUDE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "bf16.h"
#include "philox.h"
#include "scratch.h"
#include "variants.h"
#include "weights.h"

#endif
