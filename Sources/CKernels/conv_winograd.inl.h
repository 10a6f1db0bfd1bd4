// Convolution phases with three neighbouring taps along depth or height, by Winograd's minimal filtering F(4, 3): four
// outputs from six products instead of twelve (Lavin and Gray 2016, arXiv:1509.09308; points 0, 1, -1, 2, -2, infinity).
//
// Memory: the six weights of every tap triple are made once per call, in scratch, packed for the product. A task takes a
// tile of columns, a column being four neighbouring outputs: for some channels at a time it transforms the inputs into six
// panels and multiplies; the six sums of the tile wait in scratch until they are joined and written out.
//
// The result does not depend on how work is cut: the fours are counted from the first output, whatever the tile. It differs
// in its last bits from the plain product.
enum { winograd_outputs = 4, winograd_products = 6, winograd_panels = 4, winograd_depth = 128,
       winograd_least_rows = MM_CONV_FOURS_CHANNELS, winograd_ahead = 4 };

typedef struct {
    conv_phase plain;
    gather from;  // as the plain one, but along `axis`: four outputs a step, six neighbours
    int axis;
    long outer, inner;    // taps of the axes before and behind
    long channels, block_channels, blocks;
    long positions, tiles;
    float *weights;       // [block of channels][product][group of rows][k][rows of the group]
    long offsets[winograd_products];
} winograd_phase;

typedef struct {
    const conv_job *conv;
    winograd_phase *phase;
    long phases, tiles, panels;
} winograd_job;

// The axis along which a phase has three neighbouring taps; -1 if there is none. It does not depend on the size, so that a
// part that starts at a multiple of four outputs has the bits of the whole.
static int winograd_axis(const conv_job *job, const conv_phase *p) {
    if (job->rows < winograd_least_rows) return -1;
    for (int axis = 0; axis < 2; axis++) {
        const gather_axis *a = &p->from.axis[axis];
        if (a->taps != 3 || a->step != 1) continue;
        const long step = a->offset[1] - a->offset[0];
        if ((step == 1 || step == -1) && a->offset[2] - a->offset[1] == step) return axis;
    }
    return -1;
}

static void winograd_describe(const conv_phase *p, int axis, winograd_phase *w) {
    const gather_axis *a = p->from.axis;
    *w = (winograd_phase){.plain = *p, .from = p->from, .axis = axis};
    w->outer = axis == 1 ? a[0].taps : 1;
    w->inner = axis == 0 ? a[1].taps * a[2].taps : a[2].taps;
    w->channels = p->k / gather_taps(&p->from);
    w->block_channels = most(1, winograd_depth / (w->outer * w->inner));
    w->blocks = divide_up(w->channels, w->block_channels);
    const long first = least(a[axis].offset[0], a[axis].offset[2]);
    for (long j = 0; j < winograd_products; j++) w->offsets[j] = first + j;
    w->from.axis[axis].count = divide_up(a[axis].count, winograd_outputs);
    w->from.axis[axis].step = winograd_outputs;
    w->from.axis[axis].taps = winograd_products;
    w->positions = gather_positions(&w->from);
}

// ---- Weights ---------------------------------------------------------------------------------------------------------

typedef struct {
    const winograd_phase *phase;
    long rows;
} winograd_weights;

static void winograd_weights_task(void *context, long block) {
    const winograd_weights *job = context;
    const winograd_phase *w = job->phase;
    const long each = w->outer * w->inner, groups = group_count(job->rows);
    const long first = block * w->block_channels, last = least(w->channels, first + w->block_channels);
    const long depth = (last - first) * each, product = job->rows * depth;
    const long *offset = w->plain.from.axis[w->axis].offset;
    const long t0 = offset[0] < offset[2] ? 0 : 2 * w->inner, t1 = w->inner, t2 = 2 * w->inner - t0;
    float *to = w->weights + winograd_products * first * each * job->rows;
    for (long g = 0; g < groups; g++) {
        const long start = group_start(job->rows, groups, g), count = group_start(job->rows, groups, g + 1) - start;
        for (long i = 0; i < count; i++) {
            const float *row = w->plain.a + (start + i) * w->plain.k;
            for (long k = 0; k < depth; k++) {
                const long tap = k % each, channel = first + k / each;
                const float *a = row + ((channel * w->outer + tap / w->inner) * 3) * w->inner + tap % w->inner;
                const float a0 = a[t0], a1 = a[t1], a2 = a[t2];
                float *u = to + start * depth + k * count + i;
                u[0] = a0 * 0.25f;
                u[product] = (a0 + a1 + a2) * (-1.0f / 6);
                u[2 * product] = (a0 - a1 + a2) * (-1.0f / 6);
                u[3 * product] = a0 * (1.0f / 24) + a1 * (1.0f / 12) + a2 * (1.0f / 6);
                u[4 * product] = a0 * (1.0f / 24) - a1 * (1.0f / 12) + a2 * (1.0f / 6);
                u[5 * product] = a2;
            }
        }
    }
}

// ---- Tiles -----------------------------------------------------------------------------------------------------------

// Six neighbours of every column to the inputs of the six products.
MM_INLINE void winograd_inputs(const float *d, long d_step, float *v, long v_step) {
    for (long x = 0; x < MM_PANEL; x += MM_LANES) {
        const vf d0 = load(d + x), d1 = load(d + d_step + x), d2 = load(d + 2 * d_step + x);
        const vf d3 = load(d + 3 * d_step + x), d4 = load(d + 4 * d_step + x), d5 = load(d + 5 * d_step + x);
        const vf a = MM_FMA(splat(-4), d2, d4), b = MM_FMA(splat(-4), d1, d3);
        const vf e = d4 - d2, f = splat(2) * (d3 - d1);
        store(v + x, MM_FMA(splat(4), d0, MM_FMA(splat(-5), d2, d4)));
        store(v + v_step + x, a + b);
        store(v + 2 * v_step + x, a - b);
        store(v + 3 * v_step + x, e + f);
        store(v + 4 * v_step + x, e - f);
        store(v + 5 * v_step + x, MM_FMA(splat(4), d1, MM_FMA(splat(-5), d3, d5)));
    }
}

// The six sums of a tile, each [rows, panels * MM_PANEL], one behind the other.
static void winograd_multiply(const winograd_phase *w, long rows, const float *x, long position, long columns, float *sums) {
    const long panels = divide_up(columns, MM_PANEL), width = panels * MM_PANEL;
    const long taps = gather_taps(&w->from), each = w->outer * w->inner;
    const long depth_most = w->block_channels * each;
    float *b = mm_scratch_take(sizeof(float) * winograd_products * depth_most * width);
    float *raw = mm_scratch_take(sizeof(float) * (taps * MM_PANEL + MM_PANEL));
    segment *segments = mm_scratch_take((sizeof(segment) * MM_PANEL * taps + sizeof(int32_t) * (taps + 1)) * panels + 64);
    int32_t *starts = (int32_t *)(segments + MM_PANEL * taps * panels);
    for (long panel = 0; panel < panels; panel++) {
        traced_run run = {segments + panel * MM_PANEL * taps, starts + panel * (taps + 1)};
        trace_run(&w->from, position + panel * MM_PANEL, least(MM_PANEL, columns - panel * MM_PANEL), &run);
    }
    for (long block = 0; block < w->blocks; block++) {
        const long first = block * w->block_channels, last = least(w->channels, first + w->block_channels);
        const long depth = (last - first) * each, product = depth * width;
        for (long channel = first; channel < last; channel++)
            for (long panel = 0; panel < panels; panel++) {
                const traced_run run = {segments + panel * MM_PANEL * taps, starts + panel * (taps + 1)};
                // The lines of a channel are far apart: ask for those of a later one in time.
                const float *ahead = x + least(channel + winograd_ahead, w->channels - 1) * w->from.channel_step;
                for (long tap = 0; tap < taps; tap++) __builtin_prefetch(ahead + most(0, run.segments[run.start[tap]].source));
                gather_panel(&w->from, &run, x, channel * taps, (channel + 1) * taps, raw);
                float *to = b + (panel * depth + (channel - first) * each) * MM_PANEL;
                for (long o = 0; o < w->outer; o++)
                    for (long i = 0; i < w->inner; i++, to += MM_PANEL)
                        winograd_inputs(raw + (o * winograd_products * w->inner + i) * MM_PANEL, w->inner * MM_PANEL, to,
                                        product);
            }
        const float *a = w->weights + winograd_products * first * each * rows;
        for (long j = 0; j < winograd_products; j++)
            multiply_block(rows, width, depth, a + j * rows * depth, 0, 1, b + j * product, MM_PANEL, depth * MM_PANEL,
                           sums + j * rows * width, width, block > 0, NULL, 0, 0);
    }
    mm_scratch_give(segments);
    mm_scratch_give(raw);
    mm_scratch_give(b);
}

// Joins the sums of one row to its four lines of outputs, `width` floats each.
MM_INLINE void winograd_outputs_of(const float *sums, long step, long width, float bias, int activation, float *lines) {
    for (long x = 0; x < width; x += MM_LANES) {
        const vf m0 = load(sums + x), m1 = load(sums + step + x), m2 = load(sums + 2 * step + x);
        const vf m3 = load(sums + 3 * step + x), m4 = load(sums + 4 * step + x), m5 = load(sums + 5 * step + x);
        const vf p = m1 + m2, q = m1 - m2, r = m3 + m4, s = m3 - m4, shift = splat(bias);
        store(lines + x, activate(m0 + p + r + shift, activation));
        store(lines + width + x, activate(MM_FMA(splat(2), s, q) + shift, activation));
        store(lines + 2 * width + x, activate(MM_FMA(splat(4), r, p) + shift, activation));
        store(lines + 3 * width + x, activate(MM_FMA(splat(8), s, q) + m5 + shift, activation));
    }
}

static void winograd_spread(const winograd_phase *w, const float *lines, long width, long position, long columns, float *y) {
    const gather_axis *height = &w->from.axis[1], *across = &w->from.axis[2];
    const long real = w->plain.from.axis[w->axis].count, step = w->plain.step[2];
    for (long done = 0; done < columns;) {
        const long at = position + done;
        const long x = at % across->count, h = at / across->count % height->count, d = at / across->count / height->count;
        const long run = least(across->count - x, columns - done), first = winograd_outputs * (w->axis == 0 ? d : h);
        for (long f = 0; f < winograd_outputs && first + f < real; f++) {
            const long z = w->axis == 0 ? first + f : d, v = w->axis == 1 ? first + f : h;
            float *to = y + w->plain.origin + z * w->plain.step[0] + v * w->plain.step[1] + x * step;
            const float *from = lines + f * width + done;
            if (step == 1) memcpy(to, from, sizeof(float) * run);
            else
                for (long i = 0; i < run; i++) to[i * step] = from[i];
        }
        done += run;
    }
}

static void winograd_task(void *context, long index) {
    const winograd_job *job = context;
    const conv_job *conv = job->conv;
    const winograd_phase *w = &job->phase[index % job->phases];
    const long tile = index / job->phases % job->tiles, sample = index / job->phases / job->tiles;
    if (tile >= w->tiles) return;
    const long position = tile * job->panels * MM_PANEL, columns = least(job->panels * MM_PANEL, w->positions - position);
    const long width = divide_up(columns, MM_PANEL) * MM_PANEL;
    float *sums = mm_scratch_take(sizeof(float) * winograd_products * conv->rows * width);
    float *lines = mm_scratch_take(sizeof(float) * winograd_outputs * width);
    winograd_multiply(w, conv->rows, conv->x + sample * conv->x_step, position, columns, sums);
    for (long r = 0; r < conv->rows; r++) {
        winograd_outputs_of(sums + r * width, conv->rows * width, width, conv->finish.bias ? conv->finish.bias[r] : 0,
                            conv->has_finish ? conv->finish.activation : MM_IDENTITY, lines);
        winograd_spread(w, lines, width, position, columns, conv->y + sample * conv->y_step + r * conv->y_row);
    }
    mm_scratch_give(lines);
    mm_scratch_give(sums);
}

// Runs the phases it can, and takes them out of the job.
static void run_winograd(conv_job *conv) {
    winograd_phase *phases = mm_scratch_take(sizeof(winograd_phase) * conv->phases);
    winograd_job job = {.conv = conv, .phase = phases, .panels = winograd_panels};
    long left = 0, floats = 0;
    for (long i = 0; i < conv->phases; i++) {
        const conv_phase *p = &conv->phase[i];
        const int axis = p->k > 0 && p->positions > 0 ? winograd_axis(conv, p) : -1;
        if (axis < 0) {
            conv->phase[left++] = *p;
            continue;
        }
        winograd_phase *w = &phases[job.phases++];
        winograd_describe(p, axis, w);
        floats += winograd_products * conv->rows * w->channels * w->outer * w->inner;
    }
    conv->phases = left;
    if (job.phases > 0) {
        float *weights = mm_scratch_take(sizeof(float) * floats);
        const long wanted = mm_thread_count() == 1 ? 1 : 4 * mm_thread_count();
        for (;; job.panels /= 2) {
            long tasks = job.tiles = 0;
            for (long i = 0; i < job.phases; i++) {
                phases[i].tiles = divide_up(phases[i].positions, job.panels * MM_PANEL);
                job.tiles = most(job.tiles, phases[i].tiles);
                tasks += phases[i].tiles * conv->samples;
            }
            if (job.panels == 1 || tasks >= wanted) break;
        }
        for (long i = 0; i < job.phases; i++) {
            winograd_phase *w = &phases[i];
            w->from.axis[w->axis].offset = w->offsets;
            w->weights = weights;
            weights += winograd_products * conv->rows * w->channels * w->outer * w->inner;
            winograd_weights packing = {w, conv->rows};
            mm_parallel(w->blocks, winograd_weights_task, &packing);
        }
        mm_parallel(job.phases * job.tiles * conv->samples, winograd_task, &job);
        mm_scratch_give(phases[0].weights);
    }
    mm_scratch_give(phases);
}
