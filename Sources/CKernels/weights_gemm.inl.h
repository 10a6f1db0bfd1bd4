// Products with weights of few bits: the division into tasks. The kernels are in weights_bf16, weights_int8 and
// weights_int4.
//
// Memory: A's rows as integers live in scratch of the calling thread while the tasks run. A task is a run of panels for a
// block of rows; how work is cut never shows in the result.
typedef struct {
    int kind;
    long m, n, k;
    const float *a;
    long a_row;
    const uint8_t *packed;
    long panel_bytes;
    float *c;
    long c_row;
    epilogue finish;
    int has_finish;
    integer_rows x;
    cut rows, panels;
} packed_job;

// Rows i..<i+rows times `panels` panels from `panel` on; several panels only for few rows.
static void multiply_panels(const packed_job *job, long i, long rows, long panel, long panels) {
    const long j = panel * weight_columns, k = job->k, padded = padded_depth(k), groups = padded / weight_group;
    const int few = rows <= few_rows;
    const uint8_t *w = job->packed + panel * job->panel_bytes;
    const float *a = job->a + i * job->a_row;
    float *c = job->c + i * job->c_row + j;
    const epilogue *finish = job->has_finish ? &job->finish : NULL;
    // Sums of 32 bits, whole numbers or floats: [panel][rows][32].
    float on_stack[few_rows * weight_streams * weight_columns] __attribute__((aligned(64)));
    float *sums = few ? on_stack : mm_scratch_take(sizeof(float) * rows * weight_columns);
    switch (job->kind) {
        case MM_WEIGHTS_BF16:
            if (few) bf16_band(rows, panels, k, a, job->a_row, w, job->panel_bytes, sums);
            else bf16_sums(rows, k, a, job->a_row, (const uint32_t *)w, sums);
            break;
        case MM_WEIGHTS_INT8: {
            const int16_t *x = job->x.wide + i * padded;
            if (few) int8_band(rows, panels, k, x, padded, w, job->panel_bytes, (int32_t *)sums);
            else int8_sums(rows, k, x, padded, (const uint32_t *)w + weight_columns, (int32_t *)sums);
            break;
        }
        default: {
            const int8_t *x = job->x.narrow + i * padded;
            const int32_t *offset = job->x.group_sum + i * groups;
            if (few) int4_band(rows, panels, groups, x, padded, offset, w, job->panel_bytes, sums);
            else int4_sums(rows, groups, x, padded, offset, (const uint32_t *)w, sums);
        }
    }
    for (long p = 0; p < panels; p++) {
        const long first = j + p * weight_columns, columns = least(weight_columns, job->n - first);
        const float *from = sums + p * rows * weight_columns;
        float *to = c + p * weight_columns;
        if (job->kind == MM_WEIGHTS_INT8)
            int8_finish(rows, columns, (const int32_t *)from, (const float *)(w + p * job->panel_bytes), job->x.scale + i, to,
                        job->c_row);
        else if (job->kind == MM_WEIGHTS_INT4) int4_finish(rows, columns, from, job->x.scale + i, to, job->c_row);
        else
            for (long r = 0; r < rows; r++)
                memcpy(to + r * job->c_row, from + r * weight_columns, columns * sizeof(float));
        if (finish) finish_tile(rows, columns, to, job->c_row, finish, i, first);
    }
    if (!few) mm_scratch_give(sums);
}

static void packed_task(void *context, long index) {
    const packed_job *job = context;
    const long r = index % job->rows.count, p = index / job->rows.count;
    const long i = cut_start(job->rows, r), rows = cut_length(job->rows, r);
    const long step = rows <= few_rows ? weight_streams : 1;
    const long from = cut_start(job->panels, p), to = from + cut_length(job->panels, p);
    for (long panel = from; panel < to; panel += step) multiply_panels(job, i, rows, panel, least(step, to - panel));
}

static void gemm_weights(int kind, long m, long n, long k, const float *a, long a_row, const void *packed, float *c,
                         long c_row, const float *bias, int activation) {
    if (m <= 0 || n <= 0) return;
    packed_job job = {
        .kind = kind, .m = m, .n = n, .k = k, .a = a, .a_row = a_row, .packed = packed,
        .panel_bytes = weight_panel_bytes(kind, k), .c = c, .c_row = c_row, .finish = {bias, 0, activation},
        .has_finish = bias != NULL || activation != MM_IDENTITY,
    };
    void *values = NULL, *scales = NULL, *sums = NULL;
    const long padded = padded_depth(k);
    if (kind != MM_WEIGHTS_BF16) {
        const int is_int8 = kind == MM_WEIGHTS_INT8;
        values = mm_scratch_take(most(64, m * padded * (is_int8 ? 2 : 1)));
        scales = mm_scratch_take(sizeof(float) * m);
        if (!is_int8) sums = mm_scratch_take(most(64, sizeof(int32_t) * m * (padded / weight_group)));
        job.x = (integer_rows){m, k, a, a_row, is_int8 ? values : NULL, is_int8 ? NULL : values, sums, scales};
        quantize_rows(&job.x);
    }
    const long threads = mm_thread_count(), panels = divide_up(n, weight_columns);
    const double work = (double)m * n * most(1, k);
    const long wanted = threads == 1 ? 1 : (long)fmin(4.0 * threads, fmax(1, work / least_task));
    job.rows = cut_into(m, divide_up(m, divide_up(m, tile_rows)));
    const long each = divide_up(panels, least(panels, divide_up(wanted, job.rows.count)));
    // Whole bands, unless that leaves a thread without work.
    const long bands = divide_up(each, weight_streams) * weight_streams;
    job.panels = cut_into(panels, divide_up(panels, bands) >= threads ? bands : each);
    mm_parallel(job.rows.count * job.panels.count, packed_task, &job);
    if (sums) mm_scratch_give(sums);
    if (scales) mm_scratch_give(scales);
    if (values) mm_scratch_give(values);
}
