// Convolutions with stride 1 that produce few channels (at most few_most_rows, such as the three of an image), all phases
// together: packing the input as in conv.inl.h would cost more than the handful of multiply-adds each value serves.
//
// Memory: a task takes a tile of positions. For a few channels at a time it copies the part of the input that any tap of
// any phase reaches into a slab in scratch, with zeros where that lies outside, and then reads the slab in place, tap by
// tap. The sums of all phases wait in scratch, and are written out together: whole cache lines even where the phases
// interleave.
//
// Same chains as everywhere: k ascending, channels outside, taps inside, those outside the input with a zero.
enum { few_most_rows = 6, few_slab_floats = 24 << 10, few_tile_floats = 12 << 10, few_tile_width = 256 };

MM_INLINE void few_body(const int rows, const int panels, long channels, long taps, const float *a, long a_row,
                        const float *x, long channel_step, const long *offset, float *c, long c_row, int from_c) {
    vf sum[few_most_rows][2 * most_panels];
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2 * panels; j++)
            sum[i][j] = from_c ? load(c + i * c_row + j * MM_LANES) : splat(0);
    for (long channel = 0; channel < channels; channel++, x += channel_step) {
        for (long tap = 0; tap < taps; tap++, a++) {
            const float *from = x + offset[tap];
            if (rows < 2 * panels) {
                vf factor[few_most_rows];
                MM_UNROLL for (int i = 0; i < rows; i++) factor[i] = splat(a[i * a_row]);
                MM_UNROLL for (int j = 0; j < 2 * panels; j++) {
                    const vf column = load(from + j * MM_LANES);
                    MM_UNROLL for (int i = 0; i < rows; i++) sum[i][j] = MM_FMA(factor[i], column, sum[i][j]);
                }
            } else {
                const vf left = load(from), right = load(from + MM_LANES);
                MM_UNROLL for (int i = 0; i < rows; i++) {
                    const vf factor = splat(a[i * a_row]);
                    sum[i][0] = MM_FMA(factor, left, sum[i][0]);
                    sum[i][1] = MM_FMA(factor, right, sum[i][1]);
                }
            }
        }
    }
    MM_UNROLL for (int i = 0; i < rows; i++)
        MM_UNROLL for (int j = 0; j < 2 * panels; j++) store(c + i * c_row + j * MM_LANES, sum[i][j]);
}

typedef void (*few_kernel)(long channels, long taps, const float *a, long a_row, const float *x, long channel_step,
                           const long *offset, float *c, long c_row, int from_c);
#define MM_FEW(rows, panels)                                                                                          \
    static void few_##rows##x##panels(long channels, long taps, const float *a, long a_row, const float *x,           \
                                      long channel_step, const long *offset, float *c, long c_row, int from_c) {      \
        few_body(rows, panels, channels, taps, a, a_row, x, channel_step, offset, c, c_row, from_c);                  \
    }
MM_FEW(1, 1) MM_FEW(2, 1) MM_FEW(3, 1) MM_FEW(4, 1) MM_FEW(5, 1) MM_FEW(6, 1) MM_FEW(1, 4) MM_FEW(2, 2) MM_FEW(3, 2)
static const few_kernel few_kernels[few_most_rows + 1] = {0, few_1x1, few_2x1, few_3x1, few_4x1, few_5x1, few_6x1};
static const few_kernel few_wide_kernels[4] = {0, few_1x4, few_2x2, few_3x2};

// The tiles, and what the taps of all phases reach.
typedef struct {
    const conv_job *conv;
    long channels;
    long low[3], reach[3];  // per axis: the least offset, and the greatest minus the least
    long count[3];          // positions of the largest phase
    cut d, h, w;            // tiles: of one d
    long row;               // slab row and tile row, in floats
    long slab_h, slab_channel, chunk;
    long tile_floats;       // the sums of one phase: [rows][h of the tile][row]
    long **offset;          // [phase][tap], into the slab
} few_job;

// The input behind one row of the slab that begins at (d, h, w), and which of the slab's columns it has; NULL if it lies
// outside.
static const float *slab_row(const few_job *job, const float *x, long row, long d, long h, long w, long *from, long *to) {
    const gather *g = &job->conv->phase[0].from;
    const gather_axis *depth = &g->axis[0], *height = &g->axis[1], *width = &g->axis[2];
    const long start = w + job->low[2];  // input column of the slab's first
    const long tall = row / job->slab_h, channel = tall / (job->reach[0] + 1);
    const long in_d = d + job->low[0] + tall % (job->reach[0] + 1), in_h = h + job->low[1] + row % job->slab_h;
    if (in_d < 0 || in_d >= depth->size || in_h < 0 || in_h >= height->size) return NULL;
    *from = least(job->row, most(0, -start)), *to = most(*from, least(job->row, width->size - start));
    return x + channel * g->channel_step + (in_d * height->size + in_h) * width->size + start + *from;
}

static void fill_slab(const few_job *job, const float *x, long channels, long d, long h, long w, float *slab) {
    const long rows = channels * (job->reach[0] + 1) * job->slab_h;
    for (long row = 0; row < rows; row++, slab += job->row) {
        long from = job->row, to = job->row;
        const float *at = slab_row(job, x, row, d, h, w, &from, &to);
        memset(slab, 0, sizeof(float) * from);
        if (at) memcpy(slab + from, at, sizeof(float) * (to - from));
        memset(slab + to, 0, sizeof(float) * (job->row - to));
    }
}

// Asks for a share of what fill_slab will read: `count` of `parts` parts.
static void prefetch_slab(const few_job *job, const float *x, long channels, long d, long h, long w, long part,
                          long count, long parts) {
    const long rows = channels * (job->reach[0] + 1) * job->slab_h, line = 64 / sizeof(float);
    for (long row = part * rows / parts; row < (part + count) * rows / parts; row++) {
        long from, to;
        const float *at = slab_row(job, x, row, d, h, w, &from, &to);
        for (long i = 0; at && i < to - from + line; i += line) __builtin_prefetch(at + i, 0, 2);
    }
}

static void few_task(void *context, long index) {
    const few_job *job = context;
    const conv_job *conv = job->conv;
    const long w = cut_start(job->w, index % job->w.count), w_tile = index % job->w.count;
    const long h_tile = index / job->w.count % job->h.count, h = cut_start(job->h, h_tile);
    const long d = index / job->w.count / job->h.count % job->d.count;
    const long sample = index / job->w.count / job->h.count / job->d.count;
    const long rows = conv->rows;
    const int wide = panels_per_step(rows);
    float *slab = mm_scratch_take(sizeof(float) * (job->chunk * job->slab_channel + MM_PANEL));
    float *sums = mm_scratch_take(sizeof(float) * conv->phases * job->tile_floats);
    const long sum_row = job->tile_floats / rows;  // of one output channel
    const float *x = conv->x + sample * conv->x_step;
    const long channel_step = conv->phase[0].from.channel_step;

    for (long channel = 0; channel < job->channels; channel += job->chunk) {
        const long channels = least(job->chunk, job->channels - channel);
        const float *from = x + channel * channel_step;
        const long ahead = least(job->chunk, job->channels - channel - channels);
        fill_slab(job, from, channels, d, h, w, slab);
        for (long i = 0; i < conv->phases; i++) {
            const conv_phase *p = &conv->phase[i];
            const long taps = gather_taps(&p->from);
            const long tall = least(cut_length(job->h, h_tile), p->from.axis[1].count - h);
            const long across = least(cut_length(job->w, w_tile), p->from.axis[2].count - w);
            if (d >= p->from.axis[0].count) continue;
            for (long y = 0; y < tall; y++)
                for (long x = 0; x < across;) {
                    // The slab and the sums have whole panels: what runs past the tile's edge is not written out.
                    const int panels = divide_up(across - x, MM_PANEL) >= wide ? wide : 1;
                    const few_kernel kernel = panels > 1 ? few_wide_kernels[rows] : few_kernels[rows];
                    kernel(channels, taps, p->a + channel * taps, p->k, slab + y * job->row + x, job->slab_channel,
                           job->offset[i], sums + i * job->tile_floats + y * job->row + x, sum_row, channel > 0);
                    // While this chunk is worked on, the next comes from memory.
                    const long line = i * tall + y, lines = conv->phases * tall;
                    prefetch_slab(job, from + channels * channel_step, ahead, d, h, w, line * across + x,
                                  panels * MM_PANEL, lines * across);
                    x += panels * MM_PANEL;
                }
        }
    }
    for (long i = 0; i < conv->phases; i++) {
        const conv_phase *p = &conv->phase[i];
        const long tall = least(cut_length(job->h, h_tile), p->from.axis[1].count - h);
        const long across = least(cut_length(job->w, w_tile), p->from.axis[2].count - w);
        if (d >= p->from.axis[0].count) continue;
        for (long r = 0; r < rows; r++)
            for (long y = 0; y < tall; y++) {
                float *sum = sums + i * job->tile_floats + r * sum_row + y * job->row;
                if (job->channels == 0 || p->k == 0) memset(sum, 0, sizeof(float) * most(0, across));
                if (conv->has_finish) finish_tile(1, across, sum, 0, &conv->finish, r, 0);
                float *to = conv->y + sample * conv->y_step + r * conv->y_row + p->origin + d * p->step[0] +
                            (h + y) * p->step[1] + w * p->step[2];
                for (long x = 0; x < across; x++) to[x * p->step[2]] = sum[x];
            }
    }
    mm_scratch_give(sums);
    mm_scratch_give(slab);
}

static void run_few(const conv_job *conv) {
    few_job job = {.conv = conv};
    for (int axis = 0; axis < 3; axis++) {
        long low = 0, high = 0, any = 0;
        for (long i = 0; i < conv->phases; i++) {
            const gather_axis *a = &conv->phase[i].from.axis[axis];
            job.count[axis] = most(job.count[axis], a->count);
            for (long t = 0; t < a->taps; t++) {
                low = any ? least(low, a->offset[t]) : a->offset[t];
                high = any ? most(high, a->offset[t]) : a->offset[t];
                any = 1;
            }
        }
        job.low[axis] = low, job.reach[axis] = high - low;
    }
    for (long i = 0; i < conv->phases; i++)
        if (gather_taps(&conv->phase[i].from) > 0) job.channels = conv->phase[i].k / gather_taps(&conv->phase[i].from);
    job.d = cut_into(job.count[0], 1);
    job.w = cut_into(job.count[2], least(few_tile_width, divide_up(job.count[2], MM_PANEL) * MM_PANEL));
    // A panel more than the reach, so that steps of several panels may run over; and no power of two.
    job.row = divide_up(job.w.piece + job.reach[2], MM_PANEL) * MM_PANEL + MM_PANEL;
    const long most_tall = most(1, few_tile_floats / (conv->phases * conv->rows * job.row));
    const long tiles = job.count[0] * job.w.count * conv->samples, wanted = 4 * mm_thread_count();
    job.h = cut_into(job.count[1], most(1, least(most_tall, job.count[1] / most(1, wanted / most(1, tiles)))));
    job.slab_h = job.h.piece + job.reach[1];
    job.slab_channel = (job.reach[0] + 1) * job.slab_h * job.row;
    job.chunk = most(1, least(job.channels, few_slab_floats / job.slab_channel));
    job.tile_floats = conv->rows * job.h.piece * job.row;

    long total = 0;
    for (long i = 0; i < conv->phases; i++) total += gather_taps(&conv->phase[i].from);
    long **table = mm_scratch_take(sizeof(long *) * conv->phases + sizeof(long) * total);
    long *next = (long *)(table + conv->phases);
    job.offset = table;
    for (long i = 0; i < conv->phases; i++) {
        const gather_axis *a = conv->phase[i].from.axis;
        table[i] = next;
        for (long d = 0; d < a[0].taps; d++)
            for (long h = 0; h < a[1].taps; h++)
                for (long w = 0; w < a[2].taps; w++)
                    *next++ = ((a[0].offset[d] - job.low[0]) * job.slab_h + a[1].offset[h] - job.low[1]) * job.row +
                              a[2].offset[w] - job.low[2];
    }
    mm_parallel(conv->samples * job.d.count * job.h.count * job.w.count, few_task, &job);
    mm_scratch_give(table);
}
