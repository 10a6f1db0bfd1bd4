// Attention of queries over keys and values that several calls may see in pieces; attention_rows.inl.h does it over caches.
//
// Memory: keys and values are read in place, once per group of query rows; one row of scores per query in scratch.
//
// A query row's arithmetic depends on nothing but the keys it sees: every score is a dot product of its own (lanes along
// the head dimension, two chains, a fixed tree), maximum and sum run over the visible keys alone, and each output lane is
// one chain over the keys, ascending. So prefill, decoding and batches agree to the bit.
enum { cached_rows = 8, cached_keys = 64, most_value_vectors = 12 };

typedef struct {
    const mm_attention *shape;
    const float *q, *k, *v;
    float *o;
    long groups;
} cached_job;

// The dot product of a query, padded as `pad_query` leaves it, with a key. `whole` vectors, then one more that overlaps
// what came before: the query holds zeros there.
MM_INLINE float cached_dot(const float *query, const float *key, long dim, long whole) {
    vf even = splat(0), odd = splat(0);
    long x = 0;
    for (; x + 2 <= whole; x += 2) {
        even = MM_FMA(load(query + x * MM_LANES), load(key + x * MM_LANES), even);
        odd = MM_FMA(load(query + (x + 1) * MM_LANES), load(key + (x + 1) * MM_LANES), odd);
    }
    if (x < whole) even = MM_FMA(load(query + x * MM_LANES), load(key + x * MM_LANES), even);
    if (whole * MM_LANES < dim) odd = MM_FMA(load(query + whole * MM_LANES), load(key + dim - MM_LANES), odd);
    return sum_lanes(even + odd);
}

static void pad_query(const float *query, long dim, float scale, float *padded) {
    const long whole = dim / MM_LANES;
    for (long c = 0; c < whole * MM_LANES; c++) padded[c] = query[c] * scale;
    for (long c = 0; c < MM_LANES; c++) {
        const long source = dim - MM_LANES + c;
        padded[whole * MM_LANES + c] = source >= whole * MM_LANES ? query[source] * scale : 0;
    }
}

// scores[j] for keys first..<last.
static void cached_scores(const float *query, const float *keys, long step, long dim, long first, long last,
                          float *scores) {
    const long whole = dim / MM_LANES;
    if (dim < MM_LANES) {
        // Too short for a vector: the values of the query start at the end of its padding.
        for (long j = first; j < last; j++) {
            float sum = 0;
            for (long c = 0; c < dim; c++) sum = MM_FMA(query[MM_LANES - dim + c], keys[j * step + c], sum);
            scores[j] = sum;
        }
        return;
    }
    for (long j = first; j < last; j++) scores[j] = cached_dot(query, keys + j * step, dim, whole);
}

// o[c] += sum_j p[j] v[j, c] for `vectors` vectors of columns.
MM_INLINE void cached_values(const int vectors, const float *p, long count, const float *values, long step, float *o) {
    vf sum[most_value_vectors];
    MM_UNROLL for (int x = 0; x < vectors; x++) sum[x] = load(o + x * MM_LANES);
    for (long j = 0; j < count; j++, values += step) {
        const vf weight = splat(p[j]);
        MM_UNROLL for (int x = 0; x < vectors; x++) sum[x] = MM_FMA(weight, load(values + x * MM_LANES), sum[x]);
    }
    MM_UNROLL for (int x = 0; x < vectors; x++) store(o + x * MM_LANES, sum[x]);
}

static void cached_output(const float *p, long count, const float *values, long step, long dim, float *o) {
    long c = 0;
    for (; c + 12 * MM_LANES <= dim; c += 12 * MM_LANES) cached_values(12, p, count, values + c, step, o + c);
    for (; c + 8 * MM_LANES <= dim; c += 8 * MM_LANES) cached_values(8, p, count, values + c, step, o + c);
    for (; c + 4 * MM_LANES <= dim; c += 4 * MM_LANES) cached_values(4, p, count, values + c, step, o + c);
    for (; c + MM_LANES <= dim; c += MM_LANES) cached_values(1, p, count, values + c, step, o + c);
    for (; c < dim; c++) {
        float sum = o[c];
        for (long j = 0; j < count; j++) sum = MM_FMA(p[j], values[j * step + c], sum);
        o[c] = sum;
    }
}

static void cached_task(void *context, long task) {
    const cached_job *job = context;
    const mm_attention *s = job->shape;
    const long first = task % job->groups * cached_rows, rows = least(cached_rows, s->queries - first);
    const head_offsets at = head_at(s, task / job->groups);
    const float *keys = job->k + at.k, *values = job->v + at.v;
    const long padded = (s->key_dim / MM_LANES + 1) * MM_LANES, longest = keys_until(s, first + rows);
    const long row_step = most(1, longest) + MM_LANES;
    float *queries = mm_scratch_take(sizeof(float) * rows * (padded + row_step)), *scores = queries + rows * padded;
    for (long r = 0; r < rows; r++)
        pad_query(job->q + at.q + (first + r) * s->q_step[2], s->key_dim, (float)s->scale, queries + r * padded);
    // A tile of keys serves all rows of the group while it is in the cache.
    for (long j = 0; j < longest; j += cached_keys)
        for (long r = 0; r < rows; r++)
            cached_scores(queries + r * padded, keys, s->k_step[2], s->key_dim, j,
                          least(j + cached_keys, keys_until(s, first + r + 1)), scores + r * row_step);
    for (long r = 0; r < rows; r++) {
        const long seen = keys_until(s, first + r + 1);
        float *row = scores + r * row_step, *o = job->o + at.o + (first + r) * s->o_step[2];
        memset(o, 0, sizeof(float) * s->value_dim);
        if (seen == 0) continue;
        const float factor = 1 / exponentials(row, seen, largest(row, seen));
        cached_output(row, seen, values, s->v_step[2], s->value_dim, o);
        for (long c = 0; c < s->value_dim; c++) o[c] *= factor;
    }
    mm_scratch_give(queries);
}

static void attention_cached(const mm_attention *s, const float *q, const float *k, const float *v, float *o) {
    cached_job job = {s, q, k, v, o, divide_up(s->queries, cached_rows)};
    if (s->queries > 0) mm_parallel(s->batch * s->heads * job.groups, cached_task, &job);
}
