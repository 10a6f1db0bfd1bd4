// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3" (2011): a word is a pure function of (seed, stream, index), so any part of a stream can be made anywhere.
//
// Memory: writes `count` values, reads nothing.
#include "philox.h"

#include "CKernels.h"

static const long values_per_task = 1 << 15;

typedef struct {
    uint64_t seed, stream, first;
    long count;
    uint32_t *words;
    float *values;
} request;

#if defined(__x86_64__) && defined(__linux__)
__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
static void fill(void *context, long index) {
    const request *r = context;
    const long from = index * values_per_task;
    const long to = from + values_per_task < r->count ? from + values_per_task : r->count;
    for (long i = from; i < to;) {
        const uint64_t position = r->first + (uint64_t)i;
        if (position % 4 == 0 && to - i >= mm_philox_words_at_once) {
            uint32_t words[mm_philox_words_at_once];
            mm_philox_blocks(r->seed, r->stream, position / 4, words);
            for (int w = 0; w < mm_philox_words_at_once; w++) {
                if (r->words) r->words[i + w] = words[w];
                else r->values[i + w] = mm_philox_unit(words[w]);
            }
            i += mm_philox_words_at_once;
            continue;
        }
        uint32_t block[4];
        mm_philox_block(r->seed, r->stream, position / 4, block);
        for (int word = (int)(position % 4); word < 4 && i < to; word++, i++) {
            if (r->words) r->words[i] = block[word];
            else r->values[i] = mm_philox_unit(block[word]);
        }
    }
}

void mm_philox_words(uint64_t seed, uint64_t stream, uint64_t first, long count, uint32_t *words) {
    request r = {seed, stream, first, count, words, NULL};
    mm_parallel((count + values_per_task - 1) / values_per_task, fill, &r);
}

void mm_philox_uniform_f32(uint64_t seed, uint64_t stream, uint64_t first, long count, float *values) {
    request r = {seed, stream, first, count, NULL, values};
    mm_parallel((count + values_per_task - 1) / values_per_task, fill, &r);
}
