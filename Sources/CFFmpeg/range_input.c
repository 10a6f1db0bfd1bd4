// A part of a file as a demuxer's input: whole files and members of archives are read in the same way, by position, so
// that no bytes outside the part are ever seen and nothing is extracted.
#include "include/CFFmpeg.h"

#include <stdlib.h>
#include <unistd.h>

enum { buffer_size = 1 << 16 };

struct range {
    int descriptor;
    int64_t start, length, position;
};

static int read_range(void *opaque, uint8_t *buffer, int size) {
    struct range *range = opaque;
    int64_t left = range->length - range->position;
    if (left <= 0) return AVERROR_EOF;
    size_t wanted = left < size ? (size_t)left : (size_t)size;
    ssize_t count;
    do {
        count = pread(range->descriptor, buffer, wanted, (off_t)(range->start + range->position));
    } while (count < 0 && errno == EINTR);
    if (count < 0) return AVERROR(errno);
    // The file has become shorter since it was examined.
    if (count == 0) return AVERROR_EOF;
    range->position += count;
    return (int)count;
}

static int64_t seek_range(void *opaque, int64_t offset, int whence) {
    struct range *range = opaque;
    int64_t base;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE: return range->length;
    case SEEK_SET: base = 0; break;
    case SEEK_CUR: base = range->position; break;
    case SEEK_END: base = range->length; break;
    default: return AVERROR(EINVAL);
    }
    int64_t target;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) return AVERROR(EINVAL);
    range->position = target;
    return target;
}

AVIOContext *mm_range_open(int descriptor, int64_t start, int64_t length) {
    struct range *range = malloc(sizeof *range);
    uint8_t *buffer = av_malloc(buffer_size);
    AVIOContext *input = 0;
    if (range && buffer) {
        *range = (struct range){descriptor, start, length, 0};
        input = avio_alloc_context(buffer, buffer_size, 0, range, read_range, 0, seek_range);
    }
    if (!input) {
        av_freep(&buffer);
        free(range);
        close(descriptor);
    }
    return input;
}

void mm_range_close(AVIOContext **input) {
    if (!*input) return;
    struct range *range = (*input)->opaque;
    close(range->descriptor);
    free(range);
    av_freep(&(*input)->buffer);
    avio_context_free(input);
}
