// Convolution phases with two or three neighbouring taps along some axes, by minimal filters nested along these axes (see
// conv_filters.inl.h): three taps along depth or height take half the products, two taps along any axis three quarters.
//
// Memory: the weights of every product are made once per call, in scratch, packed. A task takes a tile of columns, a column
// being the neighbouring outputs that the filters make together: for some channels at a time it transforms the inputs into
// panels, one set per product, and multiplies; the sums of the tile wait in scratch until they are joined and written out.
// Phases that interleave along the width are joined first, so that whole lines are written.
//
// The result does not depend on how work is cut: neighbours are counted from the first output, whatever the tile. It
// differs in its last bits from the plain product.
enum { winograd_panels = 4, winograd_depth = 256, winograd_least_rows = MM_CONV_FOURS_CHANNELS, winograd_ahead = 4,
       winograd_together = 2, most_reads = 4 };

typedef struct {
    conv_phase plain;
    int filter[3];
    long first_read;  // where its inputs along the width begin among those that its family reads
    long products, weight_sets;
    float *weights;   // [block of channels][set][group of rows][k][rows of the group]
} winograd_phase;

// Phases that are read and written together: one, or two whose outputs take turns along the width.
typedef struct {
    winograd_phase *phase;
    int phases, in_twos;  // whether columns are two outputs wide
    gather from;          // a step makes the outputs of the filters, from all their inputs
    long outputs[3], positions, tiles;
    long each;            // taps along direct axes: they count as channels do
    long channels, block_channels, blocks;
    long offsets[3][filter_most_products];
} winograd_family;

typedef struct {
    const conv_job *conv;
    winograd_family *family;
    long families, tiles, panels;
} winograd_job;

// ---- Choosing filters ------------------------------------------------------------------------------------------------

static int neighbours(const gather_axis *a) {
    for (long t = 1; t < a->taps; t++) {
        const long step = a->offset[t] - a->offset[t - 1];
        if ((step != 1 && step != -1) || step != a->offset[1] - a->offset[0]) return 0;
    }
    return a->step == 1;
}

static long first_offset(const gather_axis *a) { return least(a->offset[0], a->offset[a->taps - 1]); }

// The filters of some phases, which differ along the width only; false if none saves anything. They do not depend on
// sizes, so that a part that starts at a multiple of four outputs has the bits of the whole.
static int winograd_choose(const conv_phase *p, int phases, winograd_phase *w, winograd_family *f) {
    *f = (winograd_family){.phase = w, .phases = phases, .in_twos = 1};
    int saves = 0, two_taps = 0;
    long low = 0, high = 0;
    for (int i = 0; i < phases; i++) {
        const gather_axis *across = &p[i].from.axis[2];
        if (p[i].k == 0) return 0;
        f->in_twos = f->in_twos && across->taps <= 2 && neighbours(across);
        two_taps = two_taps || across->taps == 2;
        low = i == 0 ? first_offset(across) : least(low, first_offset(across));
        high = i == 0 ? first_offset(across) + across->taps : most(high, first_offset(across) + across->taps);
    }
    f->in_twos = f->in_twos && (two_taps || phases > 1) && high - low < most_reads;
    if (!f->in_twos && phases > 1) return 0;
    for (int i = 0; i < phases; i++) {
        int threes = 0;
        w[i] = (winograd_phase){.plain = p[i]};
        for (int axis = 0; axis < 3; axis++) {
            const gather_axis *a = &p[i].from.axis[axis];
            int filter = filter_direct;
            if (axis == 2) {
                if (f->in_twos) filter = a->taps == 2 ? filter_2_2 : filter_pair;
            } else if (neighbours(a)) {
                if (a->taps == 2) filter = filter_2_2;
                if (a->taps == 3 && threes++ == 0) filter = filter_4_3;
            }
            w[i].filter[axis] = filter;
            saves = saves || filters[filter].saves;
        }
        if (f->in_twos) w[i].first_read = first_offset(&p[i].from.axis[2]) - low;
    }
    for (long j = 0; j <= high - low; j++) f->offsets[2][j] = low + j;
    return saves;
}

static void winograd_describe(winograd_family *f) {
    const winograd_phase *w = f->phase;
    f->from = w->plain.from;
    f->channels = w->plain.k / gather_taps(&w->plain.from);
    f->each = 1;
    for (int axis = 0; axis < 3; axis++) {
        const filter_counts *filter = &filters[w->filter[axis]];
        gather_axis *a = &f->from.axis[axis];
        long count = 0;
        f->outputs[axis] = filter->outputs;
        for (int i = 0; i < f->phases; i++)
            count = most(count, divide_up(w[i].plain.from.axis[axis].count, filter->outputs));
        a->count = count;
        if (w->filter[axis] == filter_direct) {
            f->each *= a->taps;
            continue;
        }
        if (axis < 2) {
            const long first = first_offset(a);
            for (long j = 0; j < filter->products; j++) f->offsets[axis][j] = first + j;
            a->taps = filter->products;
        } else {
            a->taps = 0;
            for (int i = 0; i < f->phases; i++) a->taps = most(a->taps, w[i].first_read + w[i].plain.from.axis[2].taps + 1);
        }
        a->step = filter->outputs;
        a->offset = f->offsets[axis];
    }
    f->positions = gather_positions(&f->from);
    f->block_channels = most(1, winograd_depth / f->each);
    f->blocks = divide_up(f->channels, f->block_channels);
    for (int i = 0; i < f->phases; i++) {
        winograd_phase *each = &f->phase[i];
        each->products = each->weight_sets = 1;
        for (int axis = 0; axis < 3; axis++) {
            each->products *= filters[each->filter[axis]].products;
            each->weight_sets *= filters[each->filter[axis]].weights;
        }
    }
}

// ---- Weights ---------------------------------------------------------------------------------------------------------

typedef struct {
    const winograd_family *family;
    const winograd_phase *phase;
    long rows;
} winograd_weights;

static void winograd_weights_task(void *context, long index) {
    enum { width = (MM_ROWS + MM_LANES - 1) / MM_LANES * MM_LANES };
    const winograd_weights *job = context;
    const winograd_family *f = job->family;
    const winograd_phase *w = job->phase;
    const long groups = group_count(job->rows), g = index % groups, block = index / groups;
    const long first = block * f->block_channels, last = least(f->channels, first + f->block_channels);
    const long start = group_start(job->rows, groups, g), count = group_start(job->rows, groups, g + 1) - start;
    const long depth = (last - first) * f->each, set = job->rows * depth, taps = gather_taps(&w->plain.from);
    const gather_axis *axis = w->plain.from.axis;
    float *to = w->weights + w->weight_sets * first * f->each * job->rows + start * depth;
    // Lines of one value per row of the group; two copies, since a filter makes more of them than it reads.
    const long lines = taps * filter_most_products * filter_most_products * filter_most_products;
    float *from = mm_scratch_take(sizeof(float) * 2 * lines * width), *next = from + lines * width;
    memset(from, 0, sizeof(float) * taps * width);
    for (long channel = first; channel < last; channel++) {
        for (long i = 0; i < count; i++) {
            const float *a = w->plain.a + (start + i) * w->plain.k + channel * taps;
            for (long t = 0; t < taps; t++) from[t * width + i] = a[t];
        }
        // From the last axis to the first: [taps before][this axis][sets and taps behind].
        long before = taps, behind = 1;
        float *a = from, *u = next;
        for (int i = 2; i >= 0; i--) {
            const int filter = w->filter[i];
            const long here = axis[i].taps, inner = behind * width;
            before /= here;
            if (filters[filter].saves) {
                const long made = filters[filter].weights, step = axis[i].offset[1] < axis[i].offset[0] ? -inner : inner;
                for (long o = 0; o < before; o++)
                    filter_weights(filter, a + o * here * inner + (step < 0 ? (here - 1) * inner : 0), step,
                                   u + o * made * inner, inner, inner);
                float *const swap = a;
                a = u, u = swap;
                behind *= made;
            } else {
                behind *= here;
            }
        }
        // Sets are apart, the taps of direct axes follow each other.
        const long n[3] = {filters[w->filter[0]].saves ? filters[w->filter[0]].weights : axis[0].taps,
                           filters[w->filter[1]].saves ? filters[w->filter[1]].weights : axis[1].taps,
                           filters[w->filter[2]].saves ? filters[w->filter[2]].weights : axis[2].taps};
        long step[3], set_step = set, tap_step = count;
        for (int i = 2; i >= 0; i--) {
            step[i] = w->filter[i] == filter_direct ? tap_step : set_step;
            *(w->filter[i] == filter_direct ? &tap_step : &set_step) *= n[i];
        }
        for (long d = 0; d < n[0]; d++)
            for (long h = 0; h < n[1]; h++)
                for (long x = 0; x < n[2]; x++, a += width) {
                    float *at = to + (channel - first) * f->each * count + d * step[0] + h * step[1] + x * step[2];
                    for (long i = 0; i < count; i++) at[i] = a[i];
                }
    }
    mm_scratch_give(from);
}

#include "conv_winograd_inputs.inl.h"

// ---- Tiles -----------------------------------------------------------------------------------------------------------

// The sums of a tile for all phases of a family, each [product][rows, panels * MM_PANEL].
static void winograd_multiply(const winograd_family *f, const conv_job *conv, const float *x, long position, long columns,
                              float *sums, long sums_step) {
    const long panels = divide_up(columns, MM_PANEL), width = panels * MM_PANEL, rows = conv->rows;
    const winograd_reader reader = open_reader(f, conv->x, position, columns);
    float *b = mm_scratch_take(sizeof(float) * family_products(f) * (f->block_channels * f->each * width + MM_PANEL));
    for (long block = 0; block < f->blocks; block++) {
        const long first = block * f->block_channels, last = least(f->channels, first + f->block_channels);
        const long depth = (last - first) * f->each, product = depth * width + MM_PANEL;
        for (long channel = first; channel < last; channel++)
            for (long panel = 0; panel < panels; panel++)
                read_inputs(&reader, x, channel, panel, b + (panel * depth + (channel - first) * f->each) * MM_PANEL, product);
        const float *of_phase = b;
        float *c = sums;
        for (int i = 0; i < f->phases; i++) {
            const winograd_phase *w = &f->phase[i];
            const long shared = filters[w->filter[2]].products / filters[w->filter[2]].weights;
            const float *a = w->weights + w->weight_sets * first * f->each * rows;
            for (long j = 0; j < w->products; j++, of_phase += product, c += sums_step)
                multiply_block(rows, width, depth, a + j / shared * rows * depth, 0, 1, of_phase, MM_PANEL, depth * MM_PANEL,
                               c, width, block > 0, NULL, 0, 0);
        }
    }
    mm_scratch_give(b);
    close_reader(&reader);
}

// Joins the sums of one row to lines of outputs, [outputs along depth][along height][columns * outputs along the width].
static void winograd_outputs(const winograd_phase *w, const float *sums, long step, long width, float *spare, float *lines) {
    const filter_counts *n[3] = {&filters[w->filter[0]], &filters[w->filter[1]], &filters[w->filter[2]]};
    const long plane = n[1]->products * n[2]->products;
    float *deep = spare, *high = spare + n[0]->outputs * plane * width;
    for (long q = 0; q < plane; q++)
        filter_outputs(w->filter[0], sums + q * step, plane * step, deep + q * width, plane * width, width);
    for (long d = 0; d < n[0]->outputs; d++) {
        filter_outputs(w->filter[1], deep + d * plane * width, n[2]->products * width, high, n[2]->products * width,
                       n[2]->products * width);
        for (long h = 0; h < n[1]->outputs; h++, lines += n[2]->outputs * width)
            filter_outputs_across(w->filter[2], high + h * n[2]->products * width, width, lines, width);
    }
}

static void winograd_finish(float *lines, long count, float bias, int activation) {
    const vf shift = splat(bias);
    for (long x = 0; x < count; x += MM_LANES) store(lines + x, activate(load(lines + x) + shift, activation));
}

// Writes what two phases made alternately: a and b in turn, of b as many as of a or one less.
static void write_in_turn(const float *a, const float *b, long of_a, long of_b, float *to) {
    long x = 0;
    for (; x + MM_LANES <= of_b; x += MM_LANES) {
        const vf even = load(a + x), odd = load(b + x);
        store(to + 2 * x, front_pairs(even, odd));
        store(to + 2 * x + MM_LANES, back_pairs(even, odd));
    }
    for (; x < of_a; x++) {
        to[2 * x] = a[x];
        if (x < of_b) to[2 * x + 1] = b[x];
    }
}

// One row's lines of all phases of a family, those of a phase `lines_step` apart, to their places.
static void winograd_spread(const winograd_family *f, const float *lines, long lines_step, long width, long position,
                            long columns, float *y) {
    const conv_phase *p = &f->phase->plain;
    const gather_axis *grid = f->from.axis;
    const long real[3] = {p->from.axis[0].count, p->from.axis[1].count, p->from.axis[2].count};
    const long odd = f->phases == 2 ? f->phase[1].plain.from.axis[2].count : 0, line = width * f->outputs[2];
    for (long done = 0; done < columns;) {
        const long at = position + done;
        const long x = at % grid[2].count, h = at / grid[2].count % grid[1].count, d = at / grid[2].count / grid[1].count;
        const long run = least(grid[2].count - x, columns - done), start = x * f->outputs[2];
        const long count = least(run * f->outputs[2], real[2] - start);
        for (long i = 0; i < f->outputs[0] && d * f->outputs[0] + i < real[0]; i++)
            for (long j = 0; j < f->outputs[1] && h * f->outputs[1] + j < real[1]; j++) {
                float *to = y + p->origin + (d * f->outputs[0] + i) * p->step[0] + (h * f->outputs[1] + j) * p->step[1] +
                            start * p->step[2];
                const float *from = lines + (i * f->outputs[1] + j) * line + done * f->outputs[2];
                if (f->phases == 2) write_in_turn(from, from + lines_step, count, least(count, odd - start), to);
                else if (p->step[2] == 1) memcpy(to, from, sizeof(float) * count);
                else
                    for (long k = 0; k < count; k++) to[k * p->step[2]] = from[k];
            }
        done += run;
    }
}

static void winograd_task(void *context, long index) {
    const winograd_job *job = context;
    const conv_job *conv = job->conv;
    const winograd_family *f = &job->family[index / job->tiles / conv->samples];
    const long tile = index % job->tiles, sample = index / job->tiles % conv->samples;
    if (tile >= f->tiles) return;
    const long position = tile * job->panels * MM_PANEL, columns = least(job->panels * MM_PANEL, f->positions - position);
    const long width = divide_up(columns, MM_PANEL) * MM_PANEL, rows = conv->rows;
    const long sums_step = rows * width + MM_PANEL;
    const long lines_step = f->outputs[0] * f->outputs[1] * f->outputs[2] * width;
    long largest = 0;
    for (int i = 0; i < f->phases; i++) largest = most(largest, f->phase[i].products);
    float *sums = mm_scratch_take(sizeof(float) * family_products(f) * sums_step);
    float *lines = mm_scratch_take(sizeof(float) * (f->phases * lines_step + 2 * largest * width));
    winograd_multiply(f, conv, conv->x + sample * conv->x_step, position, columns, sums, sums_step);
    for (long r = 0; r < rows; r++) {
        const float *of_phase = sums + r * width;
        for (int i = 0; i < f->phases; of_phase += f->phase[i++].products * sums_step)
            winograd_outputs(&f->phase[i], of_phase, sums_step, width, lines + f->phases * lines_step,
                             lines + i * lines_step);
        if (conv->has_finish)
            winograd_finish(lines, f->phases * lines_step, conv->finish.bias ? conv->finish.bias[r] : 0,
                            conv->finish.activation);
        winograd_spread(f, lines, lines_step, width, position, columns,
                        conv->y + sample * conv->y_step + r * conv->y_row);
    }
    mm_scratch_give(lines);
    mm_scratch_give(sums);
}

// ---- All phases ------------------------------------------------------------------------------------------------------

// Runs the phases it can, and takes them out of the job.
static void run_winograd(conv_job *conv) {
    if (conv->rows < winograd_least_rows) return;
    winograd_phase *phases = mm_scratch_take(sizeof(winograd_phase) * conv->phases);
    winograd_family *families = mm_scratch_take(sizeof(winograd_family) * conv->phases);
    winograd_job job = {.conv = conv, .family = families, .panels = winograd_panels};
    winograd_phase *next = phases;
    const conv_phase *p = conv->phase;
    long left = 0, floats = 0;
    for (long i = 0; i < conv->phases;) {
        winograd_family *f = &families[job.families];
        int count = p[i].step[2] == winograd_together && i + 1 < conv->phases ? winograd_together : 1;
        int saves = winograd_choose(p + i, count, next, f);
        if (!saves && count > 1) saves = winograd_choose(p + i, count = 1, next, f);
        if (saves) {
            winograd_describe(f);
            for (int j = 0; j < count; j++) floats += next[j].weight_sets * f->channels * f->each * conv->rows;
            job.families++;
            next += count;
        } else {
            conv->phase[left++] = p[i];
        }
        i += count;
    }
    conv->phases = left;
    if (job.families > 0) {
        float *weights = mm_scratch_take(sizeof(float) * floats);
        const long wanted = mm_thread_count() == 1 ? 1 : 4 * mm_thread_count();
        for (;; job.panels /= 2) {
            long tasks = job.tiles = 0;
            for (long i = 0; i < job.families; i++) {
                families[i].tiles = divide_up(families[i].positions, job.panels * MM_PANEL);
                job.tiles = most(job.tiles, families[i].tiles);
                tasks += families[i].tiles * conv->samples;
            }
            if (job.panels == 1 || tasks >= wanted) break;
        }
        for (winograd_family *f = families; f < families + job.families; f++)
            for (winograd_phase *w = f->phase; w < f->phase + f->phases; w++) {
                w->weights = weights;
                weights += w->weight_sets * f->channels * f->each * conv->rows;
                winograd_weights packing = {f, w, conv->rows};
                mm_parallel(f->blocks * group_count(conv->rows), winograd_weights_task, &packing);
            }
        mm_parallel(job.families * job.tiles * conv->samples, winograd_task, &job);
        mm_scratch_give(phases->weights);
    }
    mm_scratch_give(families);
    mm_scratch_give(phases);
}
