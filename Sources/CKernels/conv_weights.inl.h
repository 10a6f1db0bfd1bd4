// The gradient of a convolution's weights: a product whose reduction runs over the samples and positions, in order.
//
// Memory: computed transposed, [in channels * taps, out channels], in scratch, so that gy (transposed into panels of out
// channels, a stretch of positions at a time) fills the lanes, and the input's rows are plain strips of positions, copied
// by segment without any transposition; where lanes hold pairs, of two positions. The result is turned round into gw at the
// end.
typedef struct {
    gather from;
    const float *x, *gy;  // of the current sample
    long rows, columns, positions;
    long first, depth;    // the current stretch of positions
    int unit;             // of them in a lane
    float *panels;        // [panel of out channels][lanes of depth][MM_PANEL]
    float *sum;           // [rows, panels * MM_PANEL]
    int from_sum;
    long row_piece, row_tiles, panel_piece, panel_tiles, total_panels;
    float *gw;
} weights_job;

static inline int unit_of_weights(const weights_job *job) { return halves_per_lane == 1 ? 1 : job->unit; }

// Where position k0 of a panel of the stretch lies.
static float *gradient_panel(const weights_job *job, long panel, long k0) {
    const int unit = unit_of_weights(job);
    return job->panels + (panel * lanes_of(job->depth, unit) + k0 / unit) * MM_PANEL;
}

static void pack_gradient_task(void *context, long index) {
    const weights_job *job = context;
    const long blocks = divide_up(job->depth, depth_block), panel = index / blocks, block = index % blocks;
    const long k0 = block * depth_block, depth = least(depth_block, job->depth - k0);
    pack_panel_of(unit_of_weights(job), least(MM_PANEL, job->columns - panel * MM_PANEL), depth,
                  floats_at(job->gy + panel * MM_PANEL * job->positions + job->first + k0, 1, job->positions),
                  gradient_panel(job, panel, k0));
}

static void weights_task(void *context, long index) {
    const weights_job *job = context;
    const long row = index % job->row_tiles * job->row_piece, rows = least(job->row_piece, job->rows - row);
    const long panel = index / job->row_tiles * job->panel_piece;
    const long panels = least(job->panel_piece, job->total_panels - panel);
    const long taps = gather_taps(&job->from), sum_row = job->total_panels * MM_PANEL;
    const long strip = depth_block + MM_LANES;  // room for the copies' last vectors
    const int unit = unit_of_weights(job);
    float *strips = mm_scratch_take(sizeof(float) * (rows * strip + MM_LANES));
    segment *segments = mm_scratch_take((sizeof(segment) * depth_block + sizeof(int32_t)) * taps + 64);
    traced_run run = {segments, (int32_t *)(segments + depth_block * taps)};
    int32_t *ends = run.start;
    for (long k0 = 0; k0 < job->depth; k0 += depth_block) {
        const long depth = least(depth_block, job->depth - k0);
        // The taps this tile meets: all of them when it has at least that many rows.
        for (long i = 0; i < least(taps, rows); i++) {
            const long tap = (row + i) % taps;
            segment *here = segments + tap * depth_block;
            ends[tap] = (int32_t)(trace(&job->from, tap, job->first + k0, depth, here) - here);
        }
        for (long i = 0; i < rows; i++) {
            const long tap = (row + i) % taps, channel = (row + i) / taps;
            const segment *here = segments + tap * depth_block;
            copy_segments(here, here + ends[tap], job->x + channel * job->from.channel_step, job->from.axis[2].step,
                          job->from.end, strips + i * strip);
            if (unit > 1) pair_neighbours(depth, strips + i * strip);
        }
        multiply_block(rows, panels * MM_PANEL, lanes_of(depth, unit), strips, strip, unit > 1 ? form_pairs : form_plain,
                       gradient_panel(job, panel, k0), MM_PANEL, lanes_of(job->depth, unit) * MM_PANEL,
                       job->sum + row * sum_row + panel * MM_PANEL, sum_row, job->from_sum || k0 > 0, NULL, 0, 0);
    }
    mm_scratch_give(segments);
    mm_scratch_give(strips);
}

// A panel's outputs, in squares: both sides have rows that may be as far apart as pages.
static void turn_round_task(void *context, long panel) {
    const weights_job *job = context;
    const long sum_row = job->total_panels * MM_PANEL, first = panel * MM_PANEL;
    const long last = least(first + MM_PANEL, job->columns);
    for (long k = 0; k < job->rows; k += MM_PANEL) {
        const long end = least(k + MM_PANEL, job->rows);
        for (long out = first; out < last; out++)
            for (long x = k; x < end; x++) job->gw[out * job->rows + x] = job->sum[x * sum_row + out];
    }
}

static void conv_backward_weights(const mm_conv *s, const float *x, const float *gy, float *gw) {
    const long taps = volume(s->kernel), rows = s->in_channels * taps, positions = volume(s->out_size);
    if (rows <= 0 || s->out_channels <= 0) return;
    if (s->batch <= 0 || positions <= 0) {
        memset(gw, 0, sizeof(float) * s->out_channels * rows);
        return;
    }
    long *offsets = mm_scratch_take(sizeof(long) * all_taps(s));
    weights_job job = {.from = forward_gather(s, x, offsets), .rows = rows, .columns = s->out_channels,
                       .positions = positions, .unit = unit_of_conv(s),
                       .total_panels = divide_up(s->out_channels, MM_PANEL), .gw = gw};
    // A stretch of gy in panels takes at most about 4 MiB.
    const long stretch = most(depth_block, (1L << 20) / (job.total_panels * MM_PANEL) / depth_block * depth_block);
    job.panels = mm_scratch_take(sizeof(float) * least(stretch, positions) * job.total_panels * MM_PANEL);
    job.sum = mm_scratch_take(sizeof(float) * rows * job.total_panels * MM_PANEL);

    const long threads = mm_thread_count();
    const double work = (double)rows * s->out_channels * least(stretch, positions);
    const long wanted = threads == 1 ? 1 : (long)fmin(4.0 * threads, fmax(1, work / least_task));
    job.row_piece = least(divide_up(rows, MM_ROWS) * MM_ROWS, conv_tile_rows), job.panel_piece = job.total_panels;
    while (job.row_piece > 2 * MM_ROWS && divide_up(rows, job.row_piece) < wanted)
        job.row_piece = divide_up(job.row_piece / 2, MM_ROWS) * MM_ROWS;
    job.row_tiles = divide_up(rows, job.row_piece);
    while (job.panel_piece > 1 && job.row_tiles * divide_up(job.total_panels, job.panel_piece) < wanted)
        job.panel_piece = divide_up(job.panel_piece, 2);
    job.panel_tiles = divide_up(job.total_panels, job.panel_piece);

    for (long sample = 0; sample < s->batch; sample++) {
        job.x = x + sample * s->in_channels * volume(s->in_size);
        job.gy = gy + sample * s->out_channels * positions;
        for (job.first = 0; job.first < positions; job.first += stretch) {
            job.depth = least(stretch, positions - job.first);
            job.from_sum = sample > 0 || job.first > 0;
            mm_parallel(job.total_panels * divide_up(job.depth, depth_block), pack_gradient_task, &job);
            mm_parallel(job.row_tiles * job.panel_tiles, weights_task, &job);
        }
    }
    mm_parallel(job.total_panels, turn_round_task, &job);
    mm_scratch_give(job.sum);
    mm_scratch_give(job.panels);
    mm_scratch_give(offsets);
}
