// The inputs of minimal filters: what a tile's columns read, gathered and transformed for every product.
//
// Memory: x is read in place, never outside the tensor. Where columns are two outputs wide, a vector of columns reads two
// vectors of inputs, whose even and odd lanes are taken apart; what lies outside a row is masked. Vectors whose columns lie
// in several rows are read a lane at a time. One channel and panel at a time passes through `raw`,
// [depth and height taps][reads][MM_PANEL].
typedef struct {
    const winograd_family *family;
    const float *begin;    // of the tensor
    float *raw, *spare;
    traced_run *runs;      // of each panel, where columns are one output wide; otherwise:
    long *row, *start;     // [vector][depth and height taps][lane]: the input row, or -1; [vector][lane]: the first column
    vi *mask;              // [vector][reads]
    int *together;         // [vector]: its columns lie in one row
} winograd_reader;

static void trace_vector(const winograd_reader *r, long vector, long position, long count) {
    const gather *g = &r->family->from;
    const gather_axis *depth = &g->axis[0], *height = &g->axis[1], *width = &g->axis[2];
    const long lines = depth->taps * height->taps;
    long *row = r->row + vector * lines * MM_LANES, *start = r->start + vector * MM_LANES;
    for (long lane = 0; lane < MM_LANES; lane++) {
        const long at = position + lane, w = at % width->count;
        const long h = at / width->count % height->count, d = at / width->count / height->count;
        start[lane] = w * width->step + width->offset[0];
        for (long line = 0; line < lines; line++) {
            const long z = d * depth->step + depth->offset[line / height->taps];
            const long y = h * height->step + height->offset[line % height->taps];
            const int inside = lane < count && z >= 0 && z < depth->size && y >= 0 && y < height->size;
            row[line * MM_LANES + lane] = inside ? (z * height->size + y) * width->size : -1;
        }
        for (long i = 0; i < width->taps; i++)
            r->mask[vector * most_reads + i][lane] = start[lane] + i >= 0 && start[lane] + i < width->size ? -1 : 0;
    }
    r->together[vector] = count >= MM_LANES && position % width->count + MM_LANES <= width->count;
}

static winograd_reader open_reader(const winograd_family *f, const float *begin, long position, long columns) {
    const gather *g = &f->from;
    const long panels = divide_up(columns, MM_PANEL), vectors = 2 * panels, taps = gather_taps(g);
    const long lines = g->axis[0].taps * g->axis[1].taps;
    winograd_reader r = {.family = f, .begin = begin};
    // An axis in twos has more values than inputs.
    const long room = (taps * most_values / 2 * most_values / 2 + 1) * MM_PANEL;
    r.raw = mm_scratch_take(sizeof(float) * 2 * room);
    r.spare = r.raw + room;
    if (f->axis[2].in_twos) {
        r.mask = mm_scratch_take(vectors * (sizeof(vi) * most_reads + sizeof(long) * MM_LANES * (lines + 1) + sizeof(int)));
        r.row = (long *)(r.mask + vectors * most_reads);
        r.start = r.row + vectors * lines * MM_LANES;
        r.together = (int *)(r.start + vectors * MM_LANES);
        for (long v = 0; v < vectors; v++) trace_vector(&r, v, position + v * MM_LANES, columns - v * MM_LANES);
    } else {
        r.runs = mm_scratch_take(panels * (sizeof(traced_run) + sizeof(segment) * MM_PANEL * taps +
                                           sizeof(int32_t) * (taps + 1)));
        segment *segments = (segment *)(r.runs + panels);
        int32_t *starts = (int32_t *)(segments + MM_PANEL * taps * panels);
        for (long panel = 0; panel < panels; panel++) {
            r.runs[panel] = (traced_run){segments + panel * MM_PANEL * taps, starts + panel * (taps + 1)};
            trace_run(g, position + panel * MM_PANEL, least(MM_PANEL, columns - panel * MM_PANEL), &r.runs[panel]);
        }
    }
    return r;
}

static void close_reader(const winograd_reader *r) {
    mm_scratch_give(r->family->axis[2].in_twos ? (void *)r->mask : (void *)r->runs);
    mm_scratch_give(r->raw);
}

// One vector of columns under one tap of depth and height: `reads` neighbouring inputs of each.
MM_INLINE void read_in_twos(const winograd_reader *r, long vector, long line, long lines, int reads, const float *channel,
                            const float *ahead, float *to) {
    const gather *g = &r->family->from;
    const long *row = r->row + (vector * lines + line) * MM_LANES, *start = r->start + vector * MM_LANES;
    const vi *mask = r->mask + vector * most_reads;
    const float *from = channel + row[0] + start[0];
    if (r->together[vector] && row[0] < 0) {
        for (int i = 0; i < reads; i++) store(to + i * MM_PANEL, splat(0));
    } else if (r->together[vector] && from >= r->begin && g->end - from >= 2 * MM_LANES + most_reads - 2) {
        __builtin_prefetch(ahead + row[0] + start[0]);
        for (int i = 0; i < reads; i += 2) {
            const vf left = load(from + i), right = load(from + i + MM_LANES);
            store(to + i * MM_PANEL, (vf)((vi)even_lanes(left, right) & mask[i]));
            if (i + 1 < reads) store(to + (i + 1) * MM_PANEL, (vf)((vi)odd_lanes(left, right) & mask[i + 1]));
        }
    } else {
        for (int i = 0; i < reads; i++)
            for (long lane = 0; lane < MM_LANES; lane++)
                to[i * MM_PANEL + lane] =
                    row[lane] >= 0 && mask[i][lane] ? channel[row[lane] + start[lane] + i] : 0;
    }
}

static void read_raw(const winograd_reader *r, const float *x, long channel, long panel) {
    const winograd_family *f = r->family;
    const gather *g = &f->from;
    const long taps = gather_taps(g), lines = g->axis[0].taps * g->axis[1].taps, reads = g->axis[2].taps;
    // The lines of a channel are far apart: ask for those of a later one in time.
    const float *ahead = x + least(channel + winograd_ahead, f->channels - 1) * g->channel_step;
    if (!f->axis[2].in_twos) {
        const traced_run *run = &r->runs[panel];
        for (long tap = 0; tap < taps; tap++) __builtin_prefetch(ahead + most(0, run->segments[run->start[tap]].source));
        gather_panels(g, run, 1, x, channel * taps, (channel + 1) * taps, r->raw, 0);
        return;
    }
    const float *from = x + channel * g->channel_step;
    float *to = r->raw;
    for (long line = 0; line < lines; line++, to += reads * MM_PANEL)
        for (int half = 0; half < 2; half++)
            switch (reads) {
                case 2: read_in_twos(r, 2 * panel + half, line, lines, 2, from, ahead, to + half * MM_LANES); break;
                case 3: read_in_twos(r, 2 * panel + half, line, lines, 3, from, ahead, to + half * MM_LANES); break;
                default: read_in_twos(r, 2 * panel + half, line, lines, 4, from, ahead, to + half * MM_LANES);
            }
}

// The values of an axis from its inputs, lines of `width` floats; in place if v is x and the axis is not in twos.
static void take_values(const winograd_axis *axis, const float *x, long step, float *v, long v_step, long width) {
    if (!axis->in_twos) {
        filter_inputs(x, step, v, v_step, width);
        return;
    }
    for (int i = 0; i < axis->values; i++) {
        const float *plus = x + axis->plus[i] * step, *minus = x + axis->minus[i] * step;
        float *to = v + i * v_step;
        if (axis->minus[i] < 0)
            for (long j = 0; j < width; j += MM_LANES) store(to + j, load(plus + j));
        else
            for (long j = 0; j < width; j += MM_LANES) store(to + j, load(plus + j) - load(minus + j));
    }
}

// The values of one channel and panel. Different values are `value` floats apart, the taps of direct axes a panel.
static void transform_inputs(const winograd_reader *r, float *to, long value) {
    const winograd_family *f = r->family;
    const int *filter = f->phase->filter;
    const winograd_axis *axis = f->axis;
    long step[3], value_step = value, tap_step = MM_PANEL;
    for (int a = 2; a >= 0; a--) {
        step[a] = filter[a] == filter_direct ? tap_step : value_step;
        *(filter[a] == filter_direct ? &tap_step : &value_step) *= axis[a].values;
    }
    const long line = axis[2].reads * MM_PANEL;
    float *from = r->raw, *spare = r->spare;
    if (filter[0] != filter_direct) {
        float *made = axis[0].in_twos ? spare : from;
        take_values(&axis[0], from, axis[1].reads * line, made, axis[1].reads * line, axis[1].reads * line);
        if (made == spare) spare = from, from = made;
    }
    if (filter[1] != filter_direct) {
        for (long d = 0; d < axis[0].values; d++)
            take_values(&axis[1], from + d * axis[1].reads * line, line, spare + d * axis[1].values * line, line, line);
        from = spare;
    }
    for (long d = 0; d < axis[0].values; d++)
        for (long h = 0; h < axis[1].values; h++, from += line) {
            float *at = to + d * step[0] + h * step[1];
            if (axis[2].in_twos) take_values(&axis[2], from, MM_PANEL, at, step[2], MM_PANEL);
            else
                for (long t = 0; t < axis[2].values; t++) {
                    store(at + t * step[2], load(from + t * MM_PANEL));
                    store(at + t * step[2] + MM_LANES, load(from + t * MM_PANEL + MM_LANES));
                }
        }
}

// The values of channels first ..< last in panels, [value][panel][channel and taps of direct axes][MM_PANEL].
static void read_values(const winograd_reader *r, const float *x, long first, long last, long panels, float *values,
                        long value_step) {
    const winograd_family *f = r->family;
    for (long channel = first; channel < last; channel++)
        for (long panel = 0; panel < panels; panel++) {
            read_raw(r, x, channel, panel);
            transform_inputs(r, values + (panel * (last - first) + channel - first) * f->each * MM_PANEL, value_step);
        }
}
