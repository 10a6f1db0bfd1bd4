// Convolution phases with two or three neighbouring taps along some axes, by minimal filters nested along these axes (see
// conv_filters.inl.h): three taps along depth or height take half the products, two taps along any axis three quarters.
//
// Memory: the weights of every product are made once per call, in scratch, packed (of 240 by 240 channels, 230 KB a set).
// A task takes a tile of columns, a column being the neighbouring outputs that the filters make together: for some channels
// at a time it transforms the inputs into panels, one set per value that products take, and multiplies; the sums wait in
// scratch until they are joined and written out. Phases that take turns along height and width read the same inputs: they
// are a family, whose values are made once, and those along the width are joined first, so that whole lines are written.
// For 240 channels, three taps along depth and a step of two along height and width, a tile of 64 columns keeps 6 MiB of
// values and as much of sums, which the third-level cache holds.
//
// The result does not depend on how work is cut: neighbours are counted from the first output, whatever the tile. It
// differs in its last bits from the plain product.
enum { winograd_panels = 4, winograd_depth = 256, winograd_least_rows = MM_CONV_FOURS_CHANNELS, winograd_ahead = 4,
       most_reads = 4, most_values = 6 };

// How a family reads along an axis: a step of its columns reads `reads` neighbours, of which the products take `values`:
// for filter_4_3 and direct axes as many; in twos, an input or the difference of two.
typedef struct {
    int in_twos, reads, values;
    signed char plus[most_values], minus[most_values];  // in twos: x[plus] - x[minus]; minus is -1 for x[plus]
} winograd_axis;

typedef struct {
    conv_phase plain;
    int filter[3], value[3][filter_most_products];  // of each product along an axis, which value it takes
    long weight_sets;
    float *weights;  // [block of channels][set][group of rows][k][rows of the group]
} winograd_phase;

// Phases that read together: one, or those whose outputs take turns along the width or along width and height.
typedef struct {
    winograd_phase *phase;
    int phases, across;  // across: how many take turns along the width
    winograd_axis axis[3];
    gather from;         // a step makes the outputs of the filters
    long outputs[3], positions, tiles;
    long values, each;   // each: taps along direct axes; they count as channels do
    long channels, block_channels, blocks;
    long offsets[3][most_values];
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

static int value_of(winograd_axis *axis, int plus, int minus) {
    for (int v = 0; v < axis->values; v++)
        if (axis->plus[v] == plus && axis->minus[v] == minus) return v;
    axis->plus[axis->values] = (signed char)plus, axis->minus[axis->values] = (signed char)minus;
    return axis->values++;
}

// The filters of all phases along one axis in twos; false if they reach too far or have other numbers of taps.
static int choose_twos(winograd_family *f, int axis) {
    winograd_axis *all = &f->axis[axis];
    long low = 0, high = 0;
    for (int i = 0; i < f->phases; i++) {
        const gather_axis *a = &f->phase[i].plain.from.axis[axis];
        if (a->taps > 2 || !neighbours(a)) return 0;
        const long first = first_offset(a);
        low = i == 0 ? first : least(low, first);
        high = i == 0 ? first + a->taps : most(high, first + a->taps);
    }
    if (high - low >= most_reads) return 0;
    *all = (winograd_axis){.in_twos = 1, .reads = (int)(high - low) + 1};
    for (long j = 0; j < all->reads; j++) f->offsets[axis][j] = low + j;
    for (int i = 0; i < f->phases; i++) {
        winograd_phase *w = &f->phase[i];
        const gather_axis *a = &w->plain.from.axis[axis];
        const int x = (int)(first_offset(a) - low);
        int *value = w->value[axis];
        w->filter[axis] = a->taps == 2 ? filter_2_2 : filter_pair;
        if (a->taps == 2) value[0] = value_of(all, x, x + 1), value[2] = value_of(all, x + 2, x + 1);
        else value[0] = value_of(all, x, -1);
        value[1] = value_of(all, x + 1, -1);
    }
    return 1;
}

// Chooses the filters of phases that differ along the height (`high` of them take turns) and the width; false if they do
// not fit together or nothing is saved. Filters do not depend on sizes, so that a part that starts at a multiple of four
// outputs has the bits of the whole.
static int winograd_choose(const conv_phase *p, long high, long across, winograd_phase *w, winograd_family *f) {
    const long turns[3] = {1, high, across};
    *f = (winograd_family){.phase = w, .phases = (int)(high * across), .across = (int)across};
    for (int i = 0; i < f->phases; i++) {
        if (p[i].k == 0) return 0;
        w[i] = (winograd_phase){.plain = p[i]};
    }
    int saves = 0, threes = 0;
    for (int axis = 0; axis < 3; axis++) {
        const gather_axis *a = &p->from.axis[axis];
        if (turns[axis] > 1 || a->taps == 2) {
            if (choose_twos(f, axis)) {
                for (int i = 0; i < f->phases; i++) saves = saves || w[i].filter[axis] == filter_2_2;
                continue;
            }
            if (turns[axis] > 1) return 0;
        }
        const int filter = axis < 2 && a->taps == 3 && neighbours(a) && threes++ == 0 ? filter_4_3 : filter_direct;
        f->axis[axis].reads = f->axis[axis].values = filter == filter_4_3 ? filters[filter].products : (int)a->taps;
        if (filter == filter_4_3) saves = 1;
        for (int i = 0; i < f->phases; i++) {
            w[i].filter[axis] = filter;
            for (int j = 0; j < filters[filter].products; j++) w[i].value[axis][j] = j;
        }
        if (filter == filter_4_3)
            for (int j = 0; j < f->axis[axis].reads; j++) f->offsets[axis][j] = first_offset(a) + j;
    }
    return saves;
}

static void winograd_describe(winograd_family *f) {
    f->from = f->phase->plain.from;
    f->channels = f->phase->plain.k / gather_taps(&f->from);
    f->each = f->values = 1;
    for (int axis = 0; axis < 3; axis++) {
        const int filter = f->phase->filter[axis];
        gather_axis *a = &f->from.axis[axis];
        f->outputs[axis] = filters[filter].outputs;
        a->count = 0;
        for (int i = 0; i < f->phases; i++)
            a->count = most(a->count, divide_up(f->phase[i].plain.from.axis[axis].count, f->outputs[axis]));
        if (filter == filter_direct) {
            f->each *= a->taps;
        } else {
            *a = (gather_axis){a->count, f->outputs[axis], f->axis[axis].reads, a->size, f->offsets[axis]};
            f->values *= f->axis[axis].values;
        }
    }
    f->positions = gather_positions(&f->from);
    f->block_channels = most(1, winograd_depth / f->each);
    f->blocks = divide_up(f->channels, f->block_channels);
    for (int i = 0; i < f->phases; i++) {
        const int *filter = f->phase[i].filter;
        f->phase[i].weight_sets = filters[filter[0]].weights * filters[filter[1]].weights * filters[filter[2]].weights;
    }
}

#include "conv_winograd_inputs.inl.h"
#include "conv_winograd_weights.inl.h"

// ---- Tiles -----------------------------------------------------------------------------------------------------------

static long winograd_products_of(const winograd_phase *w) {
    return filters[w->filter[0]].products * filters[w->filter[1]].products * filters[w->filter[2]].products;
}

// The products of one phase for a block of channels, from the values of their inputs.
static void multiply_phase(const winograd_family *f, const winograd_phase *w, long rows, long first, long depth,
                           const float *values, long value_step, long width, float *sums, long sums_step) {
    const filter_counts *n[3] = {&filters[w->filter[0]], &filters[w->filter[1]], &filters[w->filter[2]]};
    const float *weights = w->weights + w->weight_sets * first * f->each * rows;
    const long high = w->filter[1] == filter_direct ? 1 : f->axis[1].values;
    const long across = w->filter[2] == filter_direct ? 1 : f->axis[2].values;
    for (int d = 0; d < n[0]->products; d++)
        for (int h = 0; h < n[1]->products; h++)
            for (int x = 0; x < n[2]->products; x++, sums += sums_step) {
                // filter_pair takes its only weight twice.
                const long row = (d % n[0]->weights) * n[1]->weights + h % n[1]->weights;
                const long set = row * n[2]->weights + x % n[2]->weights;
                const long value = (w->value[0][d] * high + w->value[1][h]) * across + w->value[2][x];
                multiply_block(rows, width, depth, weights + set * rows * depth, 0, 1, values + value * value_step,
                               MM_PANEL, depth * MM_PANEL, sums, width, first > 0, NULL, 0, 0);
            }
}

// Joins the sums of one row to lines of outputs, [outputs along depth][along height][columns * outputs along the width].
static void winograd_outputs(const winograd_phase *w, const float *sums, long step, long width, float *spare,
                             float *lines) {
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

// One row's lines of phases that take turns along the width, those of a phase `lines_step` apart, to their places.
static void winograd_spread(const winograd_family *f, int first, const float *lines, long lines_step, long width,
                            long position, long columns, float *y) {
    const conv_phase *p = &f->phase[first].plain;
    const gather_axis *grid = f->from.axis;
    const long real[3] = {p->from.axis[0].count, p->from.axis[1].count, p->from.axis[2].count};
    const long odd = f->across == 2 ? f->phase[first + 1].plain.from.axis[2].count : 0, line = width * f->outputs[2];
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
                if (f->across == 2) write_in_turn(from, from + lines_step, count, least(count, odd - start), to);
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
    const float *x = conv->x + sample * conv->x_step;
    const long depth_most = f->block_channels * f->each, sums_step = rows * width + MM_PANEL;
    const long lines_step = f->outputs[0] * f->outputs[1] * f->outputs[2] * width;
    long products = 0, largest = 0;
    for (int i = 0; i < f->phases; i += f->across) {
        long together = 0;
        for (int j = i; j < i + f->across; j++) {
            together += winograd_products_of(&f->phase[j]);
            largest = most(largest, winograd_products_of(&f->phase[j]));
        }
        products = most(products, together);
    }
    float *values = mm_scratch_take(sizeof(float) * f->values * (depth_most * width + MM_PANEL));
    float *sums = mm_scratch_take(sizeof(float) * products * sums_step);
    float *lines = mm_scratch_take(sizeof(float) * (f->across * lines_step + 2 * largest * width));
    const winograd_reader reader = open_reader(f, conv->x, position, columns);
    for (int i = 0; i < f->phases; i += f->across) {
        for (long block = 0; block < f->blocks; block++) {
            const long first = block * f->block_channels, last = least(f->channels, first + f->block_channels);
            const long depth = (last - first) * f->each, value_step = depth * width + MM_PANEL;
            // A single block serves all phases.
            if (i == 0 || f->blocks > 1) read_values(&reader, x, first, last, width / MM_PANEL, values, value_step);
            float *to = sums;
            for (int j = i; j < i + f->across; j++) {
                multiply_phase(f, &f->phase[j], rows, first, depth, values, value_step, width, to, sums_step);
                to += winograd_products_of(&f->phase[j]) * sums_step;
            }
        }
        for (long r = 0; r < rows; r++) {
            const float *from = sums + r * width;
            for (int j = 0; j < f->across; j++) {
                winograd_outputs(&f->phase[i + j], from, sums_step, width, lines + f->across * lines_step,
                                 lines + j * lines_step);
                from += winograd_products_of(&f->phase[i + j]) * sums_step;
            }
            if (conv->has_finish)
                winograd_finish(lines, f->across * lines_step, conv->finish.bias ? conv->finish.bias[r] : 0,
                                conv->finish.activation);
            winograd_spread(f, i, lines, lines_step, width, position, columns,
                            conv->y + sample * conv->y_step + r * conv->y_row);
        }
    }
    close_reader(&reader);
    mm_scratch_give(lines);
    mm_scratch_give(sums);
    mm_scratch_give(values);
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
        // As many phases as fit together: those of all residues of height and width, of the width alone, or one.
        winograd_family *f = &families[job.families];
        const long *turns = conv->turns;
        const long across = turns[2] == 2 && i % 2 == 0 ? 2 : 1;
        const long high = turns[1] == 2 && turns[2] == across && i / across % 2 == 0 ? 2 : 1;
        const long tries[3][2] = {{high, across}, {1, across}, {1, 1}};
        int saves = 0;
        for (int t = 0; t < 3 && !saves; t++) saves = winograd_choose(p + i, tries[t][0], tries[t][1], next, f);
        if (saves) {
            winograd_describe(f);
            for (int j = 0; j < f->phases; j++) floats += next[j].weight_sets * f->channels * f->each * conv->rows;
            job.families++;
            next += f->phases;
            i += f->phases;
        } else {
            conv->phase[left++] = p[i++];
        }
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
