// Reading a convolution's input as the matrix [channels * taps, positions] that a product wants, without making it.
//
// Memory: x of one sample is [channels, size], a channel without gaps, and is read in place, never past `end`. What lies outside the
// input reads as zero. For each tap, the input positions behind a run of output positions are traced once into segments,
// which then serve every channel.

// Along one axis, output j and tap t read input j * step + offset[t], if that lies in 0..<size.
typedef struct {
    long count, step, taps, size;
    const long *offset;
} gather_axis;

typedef struct {
    gather_axis axis[3];
    long channel_step;  // input elements of one channel
    const float *end;   // of the tensor
} gather;

// `count` positions from input `source` on, axis[2].step apart; or zeros, when source is negative.
typedef struct {
    long source, count;
} segment;

static inline long gather_taps(const gather *g) { return g->axis[0].taps * g->axis[1].taps * g->axis[2].taps; }
static inline long gather_positions(const gather *g) { return g->axis[0].count * g->axis[1].count * g->axis[2].count; }

MM_INLINE segment *add_segment(segment *first, segment *next, long source, long count, long step) {
    if (count <= 0) return next;
    if (next > first) {
        segment *previous = next - 1;
        if (source < 0 ? previous->source < 0
                       : previous->source >= 0 && previous->source + previous->count * step == source) {
            previous->count += count;
            return next;
        }
    }
    *next = (segment){source, count};
    return next + 1;
}

// The segments of output positions position..<position+count under a tap: at most `count` of them. Returns the end.
static segment *trace(const gather *g, long tap, long position, long count, segment *first) {
    const gather_axis *depth = &g->axis[0], *height = &g->axis[1], *width = &g->axis[2];
    const long along_w = width->offset[tap % width->taps];
    const long along_h = height->offset[tap / width->taps % height->taps];
    const long along_d = depth->offset[tap / width->taps / height->taps];
    // Output columns whose input lies inside: low..<high.
    const long low = along_w >= 0 ? 0 : divide_up(-along_w, width->step);
    const long high = along_w >= width->size ? 0 : (width->size - 1 - along_w) / width->step + 1;
    long w = position % width->count, h = position / width->count % height->count;
    long d = position / width->count / height->count;
    segment *next = first;
    while (count > 0) {
        const long stop = least(width->count, w + count), run = stop - w;
        const long z = d * depth->step + along_d, y = h * height->step + along_h;
        if (z < 0 || z >= depth->size || y < 0 || y >= height->size) {
            next = add_segment(first, next, -1, run, width->step);
        } else {
            const long from = least(stop, most(w, low)), to = most(from, least(stop, high));
            const long row = (z * height->size + y) * width->size + along_w;
            next = add_segment(first, next, -1, from - w, width->step);
            next = add_segment(first, next, row + from * width->step, to - from, width->step);
            next = add_segment(first, next, -1, stop - to, width->step);
        }
        count -= run;
        w = 0;
        if (++h == height->count) h = 0, d++;
    }
    return next;
}

// Copies segments to consecutive floats at `to`. Whole vectors are written: up to MM_LANES - 1 floats past the end are
// spoilt, so what follows there must be written later.
MM_INLINE void copy_segments(const segment *s, const segment *stop, const float *channel, long step, const float *end,
                             float *to) {
    for (; s < stop; s++) {
        const long count = s->count;
        if (s->source < 0) {
            for (long x = 0; x < count; x += MM_LANES) store(to + x, splat(0));
        } else {
            const float *from = channel + s->source;
            const long vectors = divide_up(count, MM_LANES);
            if (step == 1 && end - from >= vectors * MM_LANES) {
                for (long x = 0; x < count; x += MM_LANES) store(to + x, load(from + x));
            } else if (step == 2 && end - from >= vectors * 2 * MM_LANES) {
                for (long x = 0; x < count; x += MM_LANES)
                    store(to + x, even_lanes(load(from + 2 * x), load(from + 2 * x + MM_LANES)));
            } else {
                for (long x = 0; x < count; x++) to[x] = from[x * step];
            }
        }
        to += count;
    }
}

// The segments of one run of positions under every tap: those of tap t are segments[start[t]] ..< segments[start[t + 1]].
typedef struct {
    segment *segments;
    int32_t *start;
} traced_run;

static void trace_run(const gather *g, long position, long count, traced_run *run) {
    const long taps = gather_taps(g);
    segment *next = run->segments;
    for (long tap = 0; tap < taps; tap++) {
        run->start[tap] = (int32_t)(next - run->segments);
        next = trace(g, tap, position, count, next);
    }
    run->start[taps] = (int32_t)(next - run->segments);
}

// Rows first..<last of the matrix (row = channel * taps + tap), MM_PANEL positions wide, into as many panels as there are
// runs, `panel_step` floats apart, with MM_LANES floats to spare at the end of each. A run shorter than a panel leaves the
// rest of each row undefined, which is harmless: those columns are never stored. Row by row: channels are as far apart as
// pages.
static void gather_panels(const gather *g, const traced_run *runs, long panels, const float *x, long first, long last,
                          float *to, long panel_step) {
    if (first >= last) return;  // a phase without taps
    const long taps = gather_taps(g), step = g->axis[2].step;
    long channel = first / taps, tap = first % taps;
    for (long row = first; row < last; row++, to += MM_PANEL) {
        const float *base = x + channel * g->channel_step;
        for (long panel = 0; panel < panels; panel++) {
            const segment *s = runs[panel].segments + runs[panel].start[tap];
            float *here = to + panel * panel_step;
            if (step == 1 && s->count == MM_PANEL && s->source >= 0) {
                const float *from = base + s->source;
                const vf left = load(from), right = load(from + MM_LANES);
                store(here, left);
                store(here + MM_LANES, right);
            } else {
                copy_segments(s, runs[panel].segments + runs[panel].start[tap + 1], base, step, g->end, here);
            }
        }
        if (++tap == taps) tap = 0, channel++;
    }
}
