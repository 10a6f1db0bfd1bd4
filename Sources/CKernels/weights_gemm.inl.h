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
    rows_job x;
    cut rows, panels;
} packed_job;

static void packed_task(void *context, long index) {
    const packed_job *job = context;
    const long r = index % job->rows.count, p = index / job->rows.count;
    const long i = cut_start(job->rows, r), rows = cut_length(job->rows, r);
    const epilogue *finish = job->has_finish ? &job->finish : NULL;
    for (long panel = cut_start(job->panels, p); panel < cut_start(job->panels, p) + cut_length(job->panels, p); panel++) {
        const long j = panel * weight_columns, columns = least(weight_columns, job->n - j);
        const uint8_t *w = job->packed + panel * job->panel_bytes;
        float *c = job->c + i * job->c_row + j;
        switch (job->kind) {
            case MM_WEIGHTS_BF16:
                bf16_panel(rows, columns, job->k, job->a + i * job->a_row, job->a_row, w, c, job->c_row, finish, i, j);
                break;
            case MM_WEIGHTS_INT8: int8_panel(rows, columns, job->k, &job->x, w, c, job->c_row, finish, i, j); break;
            default: int4_panel(rows, columns, job->k, &job->x, w, c, job->c_row, finish, i, j);
        }
    }
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
        job.x = (rows_job){m, k, a, a_row, is_int8 ? values : NULL, is_int8 ? NULL : values, sums, scales};
        quantize_rows(&job.x);
    }
    const long threads = mm_thread_count(), panels = divide_up(n, weight_columns);
    const double work = (double)m * n * most(1, k);
    const long wanted = threads == 1 ? 1 : (long)fmin(4.0 * threads, fmax(1, work / least_task));
    job.rows = cut_into(m, divide_up(m, divide_up(m, tile_rows)));
    job.panels = cut_into(panels, divide_up(panels, least(panels, divide_up(wanted, job.rows.count))));
    mm_parallel(job.rows.count * job.panels.count, packed_task, &job);
    if (sums) mm_scratch_give(sums);
    if (scales) mm_scratch_give(scales);
    if (values) mm_scratch_give(values);
}
