// Included by pools.c once per element type T.

typedef struct {
    const mm_pool_window *window;
    const span *columns;
    const T *x;
    T *y;
    int32_t *places;
    const int32_t *places_in;
    int counts_padding;
} S(pool_job);

// Calls BODY for every row of results, with the row's windows over the first two axes in `depths` and `rows` and the number
// of results before it in `at`.
#define FOR_EACH_ROW(BODY)                                                                                             \
    const mm_pool_window *w = job->window;                                                                             \
    const long *in = w->in_size, width = w->out_size[2];                                                               \
    long at = plane * volume(w->out_size);                                                                             \
    for (long d = 0; d < w->out_size[0]; d++) {                                                                        \
        const span depths = inside(d * w->stride[0] - w->pad_front[0], w->kernel[0], in[0]);                           \
        for (long h = 0; h < w->out_size[1]; h++, at += width) {                                                       \
            const span rows = inside(h * w->stride[1] - w->pad_front[1], w->kernel[1], in[1]);                         \
            BODY                                                                                                       \
        }                                                                                                              \
    }

// Calls BODY for every tap of a row's windows, with the place of the row's first input (before padding) in `place`.
#define FOR_EACH_TAP(BODY)                                                                                             \
    for (long i = depths.first; i < depths.end; i++)                                                                   \
        for (long j = rows.first; j < rows.end; j++)                                                                   \
            for (long k = 0; k < w->kernel[2]; k++) {                                                                  \
                const long place = (i * in[1] + j) * in[2] + k - w->pad_front[2];                                      \
                const span c = job->columns[k];                                                                        \
                BODY                                                                                                   \
            }

// A NaN beats every number, as in PyTorch.
INLINE void S(take_largest)(span c, long step, const T *restrict x, T *restrict y) {
    for (long i = c.first; i < c.end; i++) y[i] = x[i * step] > y[i] || x[i * step] != x[i * step] ? x[i * step] : y[i];
}

INLINE void S(take_largest_placed)(span c, long step, const T *restrict x, long place, T *restrict y,
                                   int32_t *restrict places) {
    for (long i = c.first; i < c.end; i++) {
        const T value = x[i * step], held = y[i];
        const int32_t wins = -(value > held || value != value), here = (int32_t)(place + i * step);
        y[i] = wins ? value : held;
        places[i] = (here & wins) | (places[i] & ~wins);
    }
}

INLINE void S(take_larger)(long count, const T *restrict x, const int32_t *restrict from, T *restrict y,
                           int32_t *restrict places) {
    for (long i = 0; i < count; i++) {
        const T value = x[i], held = y[i];
        const int32_t wins = -(value > held || value != value);
        y[i] = wins ? value : held;
        places[i] = (from[i] & wins) | (places[i] & ~wins);
    }
}

// The largest of a row of inputs under each window of the last axis; `place` is the row's first input.
INLINE void S(max_columns)(const S(pool_job) *job, const T *x, long place, T *y, int32_t *places) {
    const mm_pool_window *w = job->window;
    const long width = w->out_size[2], step = w->stride[2], before = w->pad_front[2];
    for (long c = 0; c < width; c++) y[c] = (T)-INFINITY;
    if (places)
        for (long c = 0; c < width; c++) places[c] = (int32_t)(place + (c * step > before ? c * step - before : 0));
    for (long k = 0; k < w->kernel[2]; k++) {
        const T *from = x + k - before;
        const long at = place + k - before;
        if (places && step == 1)
            S(take_largest_placed)(job->columns[k], 1, from, at, y, places);
        else if (places && step == 2)
            S(take_largest_placed)(job->columns[k], 2, from, at, y, places);
        else if (places)
            S(take_largest_placed)(job->columns[k], step, from, at, y, places);
        else if (step == 1)
            S(take_largest)(job->columns[k], 1, from, y);
        else if (step == 2)
            S(take_largest)(job->columns[k], 2, from, y);
        else
            S(take_largest)(job->columns[k], step, from, y);
    }
}

// The largest of the rows first..<end, element by element.
INLINE void S(max_rows)(span rows, long count, const T *x, const int32_t *places_in, T *y, int32_t *places) {
    memcpy(y, x + rows.first * count, sizeof(T) * (size_t)count);
    if (places) memcpy(places, places_in + rows.first * count, sizeof(int32_t) * (size_t)count);
    for (long row = rows.first + 1; row < rows.end; row++) {
        const T *from = x + row * count;
        if (places)
            S(take_larger)(count, from, places_in + row * count, y, places);
        else
            S(take_largest)((span){0, count}, 1, from, y);
    }
}

// One axis after the other, the last first: the first of several equal ones in row-major order stays the first.
static CLONES void S(max_plane)(void *context, long plane) {
    const S(pool_job) *job = context;
    const mm_pool_window *w = job->window;
    const long *in = w->in_size, *out = w->out_size, width = out[2], slice = out[1] * width;
    const T *x = job->x + plane * volume(in);
    // Rows of one depth, then the windows' rows of every depth.
    const long rows_room = in[1] * width, room = rows_room + in[0] * slice;
    T *rows = mm_scratch_take(sizeof(T) * (size_t)room), *slices = rows + rows_room;
    int32_t *row_places = job->places ? mm_scratch_take(sizeof(int32_t) * (size_t)room) : NULL;
    int32_t *slice_places = row_places ? row_places + rows_room : NULL;
    for (long d = 0; d < in[0]; d++) {
        for (long h = 0; h < in[1]; h++) {
            const long place = (d * in[1] + h) * in[2], to = h * width;
            S(max_columns)(job, x + place, place, rows + to, row_places ? row_places + to : NULL);
        }
        for (long h = 0; h < out[1]; h++) {
            const long to = d * slice + h * width;
            S(max_rows)(inside(h * w->stride[1] - w->pad_front[1], w->kernel[1], in[1]), width, rows, row_places,
                        slices + to, slice_places ? slice_places + to : NULL);
        }
    }
    for (long d = 0; d < out[0]; d++) {
        const long to = (plane * out[0] + d) * slice;
        S(max_rows)(inside(d * w->stride[0] - w->pad_front[0], w->kernel[0], in[0]), slice, slices, slice_places,
                    job->y + to, job->places ? job->places + to : NULL);
    }
    if (row_places) mm_scratch_give(row_places);
    mm_scratch_give(rows);
}

static void S(max_gradient_plane)(void *context, long plane) {
    const S(pool_job) *job = context;
    const long count = volume(job->window->out_size), room = volume(job->window->in_size);
    const T *gy = job->x + plane * count;
    const int32_t *places = job->places_in + plane * count;
    T *gx = job->y + plane * room;
    memset(gx, 0, sizeof(T) * (size_t)room);
    for (long i = 0; i < count; i++) gx[places[i]] += gy[i];
}

// What the sum of result c of a row is divided by.
INLINE T S(divisor)(const S(pool_job) *job, span depths, span rows, long c) {
    const mm_pool_window *w = job->window;
    if (job->counts_padding) return (T)volume(w->kernel);
    const span columns = inside(c * w->stride[2] - w->pad_front[2], w->kernel[2], w->in_size[2]);
    return (T)((depths.end - depths.first) * (rows.end - rows.first) * (columns.end - columns.first));
}

INLINE void S(add_row)(span c, long step, const T *restrict x, T *restrict y) {
    for (long i = c.first; i < c.end; i++) y[i] += x[i * step];
}

static CLONES void S(average_plane)(void *context, long plane) {
    const S(pool_job) *job = context;
    const T *x = job->x + plane * volume(job->window->in_size);
    FOR_EACH_ROW({
        T *y = job->y + at;
        const long step = w->stride[2];
        for (long c = 0; c < width; c++) y[c] = 0;
        FOR_EACH_TAP({
            if (step == 1)
                S(add_row)(c, 1, x + place, y);
            else if (step == 2)
                S(add_row)(c, 2, x + place, y);
            else
                S(add_row)(c, step, x + place, y);
        })
        for (long c = 0; c < width; c++) y[c] /= S(divisor)(job, depths, rows, c);
    })
}

static CLONES void S(average_gradient_plane)(void *context, long plane) {
    const S(pool_job) *job = context;
    const long room = volume(job->window->in_size);
    T *gx = job->y + plane * room;
    memset(gx, 0, sizeof(T) * (size_t)room);
    T *shares = mm_scratch_take(sizeof(T) * (size_t)(job->window->out_size[2] + 1));
    FOR_EACH_ROW({
        const long step = w->stride[2];
        for (long c = 0; c < width; c++) shares[c] = job->x[at + c] / S(divisor)(job, depths, rows, c);
        FOR_EACH_TAP({
            for (long column = c.first; column < c.end; column++) gx[place + column * step] += shares[column];
        })
    })
    mm_scratch_give(shares);
}

void S(mm_max_pool)(const mm_pool_window *window, const T *x, T *y, int32_t *places) {
    span *columns = tap_columns(window);
    S(pool_job) job = {.window = window, .columns = columns, .x = x, .y = y, .places = places};
    mm_parallel(window->planes, S(max_plane), &job);
    mm_scratch_give(columns);
}

void S(mm_max_pool_gradient)(const mm_pool_window *window, const int32_t *places, const T *gy, T *gx) {
    S(pool_job) job = {.window = window, .x = gy, .y = gx, .places_in = places};
    mm_parallel(window->planes, S(max_gradient_plane), &job);
}

void S(mm_average_pool)(const mm_pool_window *window, int counts_padding, const T *x, T *y) {
    span *columns = tap_columns(window);
    S(pool_job) job = {.window = window, .columns = columns, .x = x, .y = y, .counts_padding = counts_padding};
    mm_parallel(window->planes, S(average_plane), &job);
    mm_scratch_give(columns);
}

void S(mm_average_pool_gradient)(const mm_pool_window *window, int counts_padding, const T *gy, T *gx) {
    span *columns = tap_columns(window);
    S(pool_job) job = {.window = window, .columns = columns, .x = gy, .y = gx, .counts_padding = counts_padding};
    mm_parallel(window->planes, S(average_gradient_plane), &job);
    mm_scratch_give(columns);
}
#undef FOR_EACH_ROW
#undef FOR_EACH_TAP
