// SHA-256 (FIPS 180-4), for files that are known by their hash.
#ifndef MM_KERNELS_DIGEST_H
#define MM_KERNELS_DIGEST_H

#include <stdint.h>

typedef struct {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} mm_sha256;

void mm_sha256_start(mm_sha256 *digest);
void mm_sha256_add(mm_sha256 *digest, const void *bytes, long count);
// Leaves the digest unusable.
void mm_sha256_finish(mm_sha256 *digest, uint8_t *result);

#endif
