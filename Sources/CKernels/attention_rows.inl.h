// Attention of new positions over the caches of sequences that each have a length of their own.
//
// Memory: the new keys and values are written into the caches; cached ones are read in place, or for several queries
// widened a tile at a time into scratch (the narrower types); one row of scores per query in scratch. In parallel over (row, head), so
// that whoever writes a head's new positions is the one who reads them.
//
// The arithmetic of a query is that of attention_cached.inl.h, over the shared positions and then its own: it depends on
// the cached numbers it sees alone, not on where they lie or what else is in the call.
enum { widened_queries = 4 };

typedef struct {
    const mm_cache_attention *shape;
    const mm_cache_row *rows;
    const float *q, *k, *v;
    float *o;
} rows_job;

// ---- Writing ---------------------------------------------------------------------------------------------------------

// x[c] ~ scale * q[c] with q in -127...127; the scale is NaN if an x is not a finite number.
static float narrowed_int8(const float *x, long dim, int8_t *q) {
    float largest_size = 0, broken = 0;
    for (long c = 0; c < dim; c++) {
        const float size = fabsf(x[c]);
        largest_size = size > largest_size ? size : largest_size;
        broken += x[c] * 0;  // 0, or NaN
    }
    const float factor = largest_size > 0 && broken == 0 ? 127 / largest_size : 0;
    if (!(factor > 0 && factor < INFINITY)) {
        memset(q, 0, (size_t)dim);
        return broken;
    }
    // Adding 1.5 * 2^23 rounds to the nearest integer.
    for (long c = 0; c < dim; c++) {
        const float rounded = (x[c] * factor + 12582912.0f) - 12582912.0f;
        q[c] = (int8_t)rounded;
    }
    return largest_size / 127;
}

static void append_vector(int type, const float *x, long dim, void *vectors, float *scales, long index) {
    switch (type) {
    case MM_CACHE_F32: memcpy((float *)vectors + index * dim, x, sizeof(float) * dim); break;
    case MM_CACHE_BF16:
        for (long c = 0; c < dim; c++) ((uint16_t *)vectors)[index * dim + c] = bf16_of(x[c]);
        break;
    default: scales[index] = narrowed_int8(x, dim, (int8_t *)vectors + index * dim);
    }
}

// ---- Reading ---------------------------------------------------------------------------------------------------------

// `count` vectors from the `index`th on, as several queries read them: the narrower types are made floats in `tile` once
// for all of them. Says in `type` what is there now.
static const void *readable(int *type, long queries, const void *vectors, long index, long count, long dim, float *tile) {
    const long size = cached_size(*type), n = count * dim;
    const void *source = (const char *)vectors + index * dim * size;
    if (queries < widened_queries || *type == MM_CACHE_F32) return source;
    if (*type == MM_CACHE_BF16)
        for (long i = 0; i < n; i++) tile[i] = of_bf16(((const uint16_t *)source)[i]);
    else
        for (long i = 0; i < n; i++) tile[i] = ((const int8_t *)source)[i];
    *type = MM_CACHE_F32;
    return tile;
}

// The positions of one span, and where they stand among all that a row has.
typedef struct {
    const mm_cache_span *span;
    long count, start;  // start: the first's place among all that are seen
} rows_part;

// How many positions of a part query `r` of the group sees.
static inline long seen_by(const rows_part *part, long until) { return least(part->count, until - part->start); }

static void rows_group(const rows_job *job, const mm_cache_row *row, long head, long first, long count) {
    const mm_cache_attention *s = job->shape;
    const long dim = s->dim, before = row->shared.length + row->own.length + first;
    const long padded = (dim / MM_LANES + 1) * MM_LANES, row_step = before + count + MM_LANES;
    float *queries = mm_scratch_take(sizeof(float) * (count * (padded + row_step) + cached_keys * dim + MM_LANES));
    float *scores = queries + count * padded, *tile = scores + count * row_step;
    const rows_part parts[2] = {{&row->shared, row->shared.length, 0},
                                {&row->own, row->own.length + first + count, row->shared.length}};
    for (long r = 0; r < count; r++)
        pad_query(job->q + (row->first + first + r) * s->q_step + head * dim, dim, (float)s->scale, queries + r * padded);
    for (int p = 0; p < 2; p++) {
        const mm_cache_span *span = parts[p].span;
        for (long j = 0; j < parts[p].count; j += cached_keys) {
            const long start = head * span->room + j, length = least(cached_keys, parts[p].count - j);
            int type = s->type;
            const void *keys = readable(&type, count, span->keys, start, length, dim, tile);
            for (long r = 0; r < count; r++) {
                const long seen = least(length, seen_by(&parts[p], before + r + 1) - j);
                float *out = scores + r * row_step + parts[p].start + j;
                cached_scores(type, queries + r * padded, keys, dim, dim, seen, out);
                if (s->type == MM_CACHE_I8)
                    for (long i = 0; i < seen; i++) out[i] *= span->key_scales[start + i];
            }
        }
    }
    float factors[cached_rows];
    for (long r = 0; r < count; r++) {
        float *row_scores = scores + r * row_step, *o = job->o + (row->first + first + r) * s->o_step + head * dim;
        const long seen = before + r + 1;
        factors[r] = 1 / exponentials(row_scores, seen, largest(row_scores, seen));
        memset(o, 0, sizeof(float) * dim);
    }
    for (int p = 0; p < 2; p++) {
        const mm_cache_span *span = parts[p].span;
        for (long j = 0; j < parts[p].count; j += cached_keys) {
            const long start = head * span->room + j, length = least(cached_keys, parts[p].count - j);
            int type = s->type;
            const void *values = readable(&type, count, span->values, start, length, dim, tile);
            for (long r = 0; r < count; r++) {
                const long seen = least(length, seen_by(&parts[p], before + r + 1) - j);
                float *weights = scores + r * row_step + parts[p].start + j;
                if (s->type == MM_CACHE_I8)
                    for (long i = 0; i < seen; i++) weights[i] *= span->value_scales[start + i];
                if (seen > 0)
                    cached_output(type, weights, seen, values, dim, dim,
                                  job->o + (row->first + first + r) * s->o_step + head * dim);
            }
        }
    }
    for (long r = 0; r < count; r++) {
        float *o = job->o + (row->first + first + r) * s->o_step + head * dim;
        for (long c = 0; c < dim; c++) o[c] *= factors[r];
    }
    mm_scratch_give(queries);
}

static void rows_task(void *context, long task) {
    const rows_job *job = context;
    const mm_cache_attention *s = job->shape;
    const mm_cache_row *row = job->rows + task / s->heads;
    const long head = task % s->heads;
    for (long t = 0; t < row->queries; t++) {
        const long place = head * row->own.room + row->own.length + t;
        const long source = (row->first + t) * s->kv_step + head * s->dim;
        append_vector(s->type, job->k + source, s->dim, row->own.keys, row->own.key_scales, place);
        append_vector(s->type, job->v + source, s->dim, row->own.values, row->own.value_scales, place);
    }
    for (long first = 0; first < row->queries; first += cached_rows)
        rows_group(job, row, head, first, least(cached_rows, row->queries - first));
}

static void attention_rows(const mm_cache_attention *shape, const mm_cache_row *rows, const float *q, const float *k,
                           const float *v, float *o) {
    rows_job job = {shape, rows, q, k, v, o};
    mm_parallel(shape->rows * shape->heads, rows_task, &job);
}
