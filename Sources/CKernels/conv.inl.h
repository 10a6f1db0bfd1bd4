// Convolution and its adjoint as implicit products: rows are the channels produced, columns the positions, k the channels
// read times the taps. See conv_gather.inl.h for how the columns are read, gemm_micro.inl.h for the chains.
//
// Memory: forward reads the weights in place and writes y directly. The adjoint packs the weights of each phase once and,
// with a stride, computes tiles in scratch and spreads them over gx.
//
// The adjoint by phases: input i = r + stride * j of an axis is reached by the taps t with (r + pad - t*dilation) divisible
// by the stride, from output j + (r + pad - t*dilation) / stride. So each residue r is a convolution with stride 1 over
// gy, with a subset of the taps; residues without taps are zero (plus bias).
enum { conv_tile_panels = 8, conv_tile_rows = 2 * tile_rows, packed_channels = 16, packed_outputs = 8 };

static void spread_tile(const conv_phase *p, const float *tile, long tile_row, long rows, long position, long columns,
                        float *y, long y_row) {
    const gather_axis *height = &p->from.axis[1], *width = &p->from.axis[2];
    for (long done = 0; done < columns;) {
        const long at = position + done;
        const long w = at % width->count, h = at / width->count % height->count, d = at / width->count / height->count;
        const long run = least(width->count - w, columns - done), step = p->step[2];
        float *to = y + p->origin + d * p->step[0] + h * p->step[1] + w * step;
        for (long r = 0; r < rows; r++)
            for (long x = 0; x < run; x++) to[r * y_row + x * step] = tile[r * tile_row + done + x];
        done += run;
    }
}

// A tile of columns, packing each block of k of its panels: every value serves all rows.
static void multiply_columns(const conv_job *job, const conv_phase *p, const float *x, long first_row, long rows,
                          long position, long columns, float *c, long c_row) {
    const int unit = halves_per_lane == 1 ? 1 : job->unit;
    const long panels = divide_up(columns, MM_PANEL), taps = gather_taps(&p->from), lanes = lanes_of(p->k, unit);
    const long blocks = most(1, divide_up(lanes, depth_block));
    const long depth_most = divide_up(lanes, blocks) + 1;
    float *b = mm_scratch_take(sizeof(float) * panels * (depth_most * MM_PANEL + MM_LANES));
    float *wide = unit > 1 ? mm_scratch_take(sizeof(float) * (unit * depth_most * MM_PANEL + MM_LANES)) : NULL;
    segment *segments = mm_scratch_take((sizeof(segment) * MM_PANEL * taps + sizeof(int32_t) * (taps + 1)) * panels + 64);
    int32_t *starts = (int32_t *)(segments + MM_PANEL * taps * panels);
    traced_run runs[conv_tile_panels];
    for (long panel = 0; panel < panels; panel++) {
        runs[panel] = (traced_run){segments + panel * MM_PANEL * taps, starts + panel * (taps + 1)};
        trace_run(&p->from, position + panel * MM_PANEL, least(MM_PANEL, columns - panel * MM_PANEL), &runs[panel]);
    }
    for (long block = 0; block < blocks; block++) {
        const long k0 = block * lanes / blocks, k1 = (block + 1) * lanes / blocks, depth = k1 - k0;
        const long first = k0 * unit, last = least(p->k, k1 * unit), panel_step = depth * MM_PANEL + MM_LANES;
        const epilogue *finish = job->has_finish && block == blocks - 1 ? &job->finish : NULL;
        if (!wide) gather_panels(&p->from, runs, panels, x, first, last, b, panel_step);
        for (long panel = 0; wide && panel < panels; panel++) {
            gather_panels(&p->from, &runs[panel], 1, x, first, last, wide, 0);
            pair_rows(last - first, MM_PANEL, wide, b + panel * panel_step);
        }
        for (long r = 0; r < rows; r += conv_tile_rows)
            multiply_block(least(conv_tile_rows, rows - r), columns, depth, p->a + (first_row + r) * lanes + k0, lanes,
                           wide ? form_pairs : form_plain, b, MM_PANEL, panel_step, c + r * c_row, c_row, block > 0,
                           finish, first_row + r, 0);
    }
    if (wide) mm_scratch_give(wide);
    mm_scratch_give(segments);
    mm_scratch_give(b);
}

static void conv_task(void *context, long index) {
    const conv_job *job = context;
    const long row_tile = index % job->row_tiles;
    const conv_phase *p = &job->phase[index / job->row_tiles % job->phases];
    const long tile = index / job->row_tiles / job->phases % job->tiles;
    const long sample = index / job->row_tiles / job->phases / job->tiles;
    if (tile >= p->tiles) return;
    const long position = tile * p->columns_per_task, columns = least(p->columns_per_task, p->positions - position);
    const long first_row = row_tile * job->row_piece, rows = least(job->row_piece, job->rows - first_row);
    const long panels = divide_up(columns, MM_PANEL);
    const float *x = job->x + sample * job->x_step;
    float *y = job->y + sample * job->y_step + first_row * job->y_row;

    const long tile_row = panels * MM_PANEL;
    float *c = p->direct ? y + position : mm_scratch_take(sizeof(float) * rows * tile_row);
    const long c_row = p->direct ? job->y_row : tile_row;
    multiply_columns(job, p, x, first_row, rows, position, columns, c, c_row);
    if (!p->direct) {
        spread_tile(p, c, tile_row, rows, position, columns, y, job->y_row);
        mm_scratch_give(c);
    }
}

// The weights of all phases in pairs.
static float *pair_weights(conv_job *job) {
    long lanes = 0;
    for (long i = 0; i < job->phases; i++) lanes += job->rows * lanes_of(job->phase[i].k, job->unit);
    float *pairs = mm_scratch_take(sizeof(float) * most(1, lanes)), *next = pairs;
    for (conv_phase *p = job->phase; p < job->phase + job->phases; p++) {
        pack_rows_of(job->unit, job->rows, p->k, floats_at(p->a, p->k, 1), next);
        p->a = next;
        next += job->rows * lanes_of(p->k, job->unit);
    }
    return pairs;
}

static void run_conv(conv_job *job) {
    if (job->rows <= few_most_rows && job->phase[0].from.axis[2].step == 1 && job->phase[0].from.axis[1].step == 1 &&
        job->phase[0].from.axis[0].step == 1) {
        run_few(job);
        return;
    }
    run_winograd(job);
    if (job->phases == 0) return;
    float *pairs = halves_per_lane > 1 && job->unit > 1 ? pair_weights(job) : NULL;
    const long threads = mm_thread_count();
    double work = 0;
    for (long i = 0; i < job->phases; i++)
        work += (double)job->samples * job->rows * job->phase[i].positions * most(1, job->phase[i].k);
    const long wanted = threads == 1 ? 1 : (long)fmin(4.0 * threads, fmax(1, work / least_task));
    long panels = conv_tile_panels;
    for (;; panels /= 2) {
        long tasks = 0;
        job->tiles = 0;
        for (long i = 0; i < job->phases; i++) {
            conv_phase *p = &job->phase[i];
            p->columns_per_task = panels * MM_PANEL;
            p->tiles = divide_up(p->positions, p->columns_per_task);
            job->tiles = most(job->tiles, p->tiles);
            tasks += p->tiles * job->samples;
        }
        if (panels == 1 || tasks >= wanted) {
            // Few positions: split the channels too, reading the input once for each part.
            const long parts = least(divide_up(job->rows, 2 * MM_ROWS), divide_up(wanted, most(1, tasks)));
            job->row_piece = divide_up(divide_up(job->rows, parts), MM_ROWS) * MM_ROWS;
            job->row_tiles = divide_up(job->rows, job->row_piece);
            break;
        }
    }
    mm_parallel(job->samples * job->tiles * job->phases * job->row_tiles, conv_task, job);
    if (pairs) mm_scratch_give(pairs);
}

// ---- Forward ---------------------------------------------------------------------------------------------------------

static gather forward_gather(const mm_conv *s, const float *x, long *offsets) {
    gather g = {.channel_step = volume(s->in_size), .end = x + s->batch * s->in_channels * volume(s->in_size)};
    for (int axis = 0; axis < 3; axis++) {
        g.axis[axis] = (gather_axis){s->out_size[axis], s->stride[axis], s->kernel[axis], s->in_size[axis], offsets};
        for (long t = 0; t < s->kernel[axis]; t++) *offsets++ = t * s->dilation[axis] - s->pad_front[axis];
    }
    return g;
}

static long all_taps(const mm_conv *s) { return s->kernel[0] + s->kernel[1] + s->kernel[2]; }
static int unit_of_conv(const mm_conv *s) { return s->halves ? halves_per_lane : 1; }

static void conv_forward(const mm_conv *s, const float *x, const float *w, const float *bias, int activation, float *y) {
    const long positions = volume(s->out_size);
    if (s->batch <= 0 || s->out_channels <= 0 || positions <= 0) return;
    long *offsets = mm_scratch_take(sizeof(long) * all_taps(s));
    conv_phase phase = {.from = forward_gather(s, x, offsets), .a = w, .rows = s->out_channels,
                        .k = s->in_channels * volume(s->kernel), .positions = positions, .direct = 1,
                        .step = {s->out_size[1] * s->out_size[2], s->out_size[2], 1}};
    conv_job job = {.samples = s->batch, .unit = unit_of_conv(s), .rows = s->out_channels,
                    .x_step = s->in_channels * volume(s->in_size),
                    .y_step = s->out_channels * positions, .y_row = positions, .x = x, .y = y,
                    .finish = {bias, 1, activation}, .has_finish = bias || activation != MM_IDENTITY, .phases = 1,
                    .turns = {1, 1, 1}, .phase = &phase};
    run_conv(&job);
    mm_scratch_give(offsets);
}

// ---- The adjoint -----------------------------------------------------------------------------------------------------

// What one residue of one axis sees.
typedef struct {
    long count, taps;
    long *offset, *tap;
} residue;

typedef struct {
    const mm_conv *shape;
    const float *w;  // [out channel][in channel][taps] to [phase][in channel][out channel][taps of the phase]
    const conv_phase *phase;
    const int32_t *tap;  // of every phase, one after the other: which of the kernel's
    long phases;
} weight_packing;

// Some channels at a time: those of one output lie together.
static void pack_phase_weights(void *context, long block) {
    const weight_packing *job = context;
    const mm_conv *s = job->shape;
    const long taps = volume(s->kernel), first = block * packed_channels;
    const long last = least(first + packed_channels, s->in_channels);
    // A few outputs at a time: rows of either side may be as far apart as pages, of which the cache holds few.
    for (long out = 0; out < s->out_channels; out += packed_outputs)
        for (long channel = first; channel < last; channel++) {
            const long outputs = least(packed_outputs, s->out_channels - out);
            const float *from = job->w + (out * s->in_channels + channel) * taps;
            const int32_t *tap = job->tap;
            for (long i = 0; i < job->phases; i++) {
                const conv_phase *p = &job->phase[i];
                const long count = gather_taps(&p->from);
                float *to = (float *)p->a + channel * p->k + out * count;
                for (long o = 0; o < outputs; o++)
                    for (long t = 0; t < count; t++) to[o * count + t] = from[o * s->in_channels * taps + tap[t]];
                tap += count;
            }
        }
}

static void conv_backward_data(const mm_conv *s, const float *gy, long gy_step, const float *w, const float *bias,
                               int activation, float *gx, long gx_step) {
    const long positions = volume(s->in_size), out_positions = volume(s->out_size);
    if (s->batch <= 0 || s->in_channels <= 0 || positions <= 0) return;

    const long residues = s->stride[0] + s->stride[1] + s->stride[2], phases = volume(s->stride);
    residue *all = mm_scratch_take(sizeof(residue) * residues);
    long *numbers = mm_scratch_take(sizeof(long) * 2 * all_taps(s)), *next = numbers;
    residue *of_axis[3];
    for (int axis = 0, used = 0; axis < 3; used += s->stride[axis], axis++) {
        const long stride = s->stride[axis];
        of_axis[axis] = all + used;
        for (long r = 0; r < stride; r++) {
            residue *part = &of_axis[axis][r];
            *part = (residue){.count = r < s->in_size[axis] ? divide_up(s->in_size[axis] - r, stride) : 0};
            long *numbers_here = next;
            for (long t = 0; t < s->kernel[axis]; t++) {
                const long reach = r + s->pad_front[axis] - t * s->dilation[axis];
                if (reach % stride != 0) continue;
                *next++ = reach / stride;
                *next++ = t;
                part->taps++;
            }
            // (offset, tap) pairs -> offsets, then taps.
            part->offset = numbers_here, part->tap = numbers_here + part->taps;
            long *sorted = mm_scratch_take(sizeof(long) * 2 * most(1, part->taps));
            for (long i = 0; i < part->taps; i++) {
                sorted[i] = numbers_here[2 * i];
                sorted[part->taps + i] = numbers_here[2 * i + 1];
            }
            memcpy(numbers_here, sorted, sizeof(long) * 2 * part->taps);
            mm_scratch_give(sorted);
        }
    }

    conv_phase *phase = mm_scratch_take(sizeof(conv_phase) * phases);
    int32_t *taps = mm_scratch_take(sizeof(int32_t) * most(1, volume(s->kernel))), *tap = taps;
    float *packed = mm_scratch_take(sizeof(float) * most(1, s->in_channels * s->out_channels * volume(s->kernel)));
    float *weights = packed;
    const int direct = phases == 1;
    for (long i = 0; i < phases; i++) {
        const long r[3] = {i / s->stride[2] / s->stride[1], i / s->stride[2] % s->stride[1], i % s->stride[2]};
        conv_phase *p = &phase[i];
        *p = (conv_phase){.rows = s->in_channels, .direct = direct, .positions = 1, .a = weights};
        p->from.channel_step = gy_step;
        p->from.end = gy + (s->batch * s->out_channels - 1) * gy_step + out_positions;
        p->k = s->out_channels;
        for (int axis = 0; axis < 3; axis++) {
            const residue *part = &of_axis[axis][r[axis]];
            p->from.axis[axis] = (gather_axis){part->count, 1, part->taps, s->out_size[axis], part->offset};
            p->positions *= part->count;
            p->k *= part->taps;
        }
        weights += s->in_channels * p->k;
        const residue *depth = &of_axis[0][r[0]], *height = &of_axis[1][r[1]], *width = &of_axis[2][r[2]];
        for (long d = 0; d < depth->taps; d++)
            for (long h = 0; h < height->taps; h++)
                for (long x = 0; x < width->taps; x++)
                    *tap++ = (int32_t)((depth->tap[d] * s->kernel[1] + height->tap[h]) * s->kernel[2] + width->tap[x]);
        p->step[2] = s->stride[2], p->step[1] = s->stride[1] * s->in_size[2];
        p->step[0] = s->stride[0] * s->in_size[1] * s->in_size[2];
        p->origin = (r[0] * s->in_size[1] + r[1]) * s->in_size[2] + r[2];
    }
    weight_packing packing = {s, w, phase, taps, phases};
    mm_parallel(divide_up(s->in_channels, packed_channels), pack_phase_weights, &packing);

    conv_job job = {.samples = s->batch, .unit = unit_of_conv(s), .rows = s->in_channels,
                    .x_step = s->out_channels * gy_step,
                    .y_step = s->in_channels * gx_step, .y_row = gx_step, .x = gy, .y = gx,
                    .finish = {bias, 1, activation}, .has_finish = bias || activation != MM_IDENTITY, .phases = phases,
                    .turns = {s->stride[0], s->stride[1], s->stride[2]}, .phase = phase};
    run_conv(&job);
    mm_scratch_give(packed);
    mm_scratch_give(taps);
    mm_scratch_give(phase);
    mm_scratch_give(numbers);
    mm_scratch_give(all);
}
