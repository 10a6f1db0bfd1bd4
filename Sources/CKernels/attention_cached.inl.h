// Attention of a few new queries over cached keys and values.
//
// Memory: keys and values are read in place, once per group of query rows; one row of scores per query in scratch. The
// first keys of a row may lie in a prefix that several rows share.
//
// A query row's arithmetic depends on nothing but the keys it sees: every score is a dot product of its own (lanes along
// the head dimension, two chains, a fixed tree), maximum and sum run over the visible keys alone, and each output lane is
// one chain over the keys, ascending. So prefill, decoding and batches agree to the bit.
enum { cached_rows = 8, cached_keys = 64, most_value_vectors = 12 };

typedef struct {
    const mm_attention *shape;
    const mm_attention_prefix *prefix;
    const float *q, *k, *v;
    float *o;
    long groups;
} cached_job;

// Keys or values of consecutive positions, `step` floats apart.
typedef struct {
    const float *start;
    long step, count;
} cached_rows_of;

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

// o[c] = sum_j p[j] v[j, c] * factor for `vectors` vectors of columns; the values lie in two parts.
MM_INLINE void cached_values(const int vectors, const float *p, const cached_rows_of *parts, long column, float factor,
                             float *o) {
    vf sum[most_value_vectors];
    MM_UNROLL for (int x = 0; x < vectors; x++) sum[x] = splat(0);
    for (int part = 0; part < 2; part++) {
        const float *values = parts[part].start + column;
        for (long j = 0; j < parts[part].count; j++, p++, values += parts[part].step) {
            const vf weight = splat(*p);
            MM_UNROLL for (int x = 0; x < vectors; x++) sum[x] = MM_FMA(weight, load(values + x * MM_LANES), sum[x]);
        }
    }
    MM_UNROLL for (int x = 0; x < vectors; x++) store(o + x * MM_LANES, sum[x] * splat(factor));
}

static void cached_output(const float *p, const cached_rows_of *parts, float factor, long dim, float *o) {
    long c = 0;
    for (; c + 12 * MM_LANES <= dim; c += 12 * MM_LANES) cached_values(12, p, parts, c, factor, o + c);
    for (; c + 8 * MM_LANES <= dim; c += 8 * MM_LANES) cached_values(8, p, parts, c, factor, o + c);
    for (; c + 4 * MM_LANES <= dim; c += 4 * MM_LANES) cached_values(4, p, parts, c, factor, o + c);
    for (; c + MM_LANES <= dim; c += MM_LANES) cached_values(1, p, parts, c, factor, o + c);
    for (; c < dim; c++) {
        float sum = 0;
        for (long j = 0; j < parts[0].count; j++) sum = MM_FMA(p[j], parts[0].start[j * parts[0].step + c], sum);
        for (long j = 0; j < parts[1].count; j++)
            sum = MM_FMA(p[parts[0].count + j], parts[1].start[j * parts[1].step + c], sum);
        o[c] = sum * factor;
    }
}

static void cached_task(void *context, long task) {
    const cached_job *job = context;
    const mm_attention *s = job->shape;
    const mm_attention_prefix *prefix = job->prefix;
    const long first = task % job->groups * cached_rows, rows = least(cached_rows, s->queries - first);
    const head_offsets at = head_at(s, task / job->groups);
    const long shared = prefix ? prefix->length : 0;
    const long padded = (s->key_dim / MM_LANES + 1) * MM_LANES, longest = keys_until(s, first + rows);
    const long row_step = most(1, shared + longest) + MM_LANES;
    float *queries = mm_scratch_take(sizeof(float) * rows * (padded + row_step)), *scores = queries + rows * padded;
    cached_rows_of keys[2] = {{NULL, 0, 0}, {job->k + at.k, s->k_step[2], longest}};
    cached_rows_of values[2] = {{NULL, 0, 0}, {job->v + at.v, s->v_step[2], longest}};
    if (shared > 0) {
        const long row = prefix->rows[at.b];
        keys[0] = (cached_rows_of){prefix->keys + row * prefix->k_step[0] + at.h * prefix->k_step[1], prefix->k_step[2], shared};
        values[0] = (cached_rows_of){prefix->values + row * prefix->v_step[0] + at.h * prefix->v_step[1], prefix->v_step[2], shared};
    }
    for (long r = 0; r < rows; r++)
        pad_query(job->q + at.q + (first + r) * s->q_step[2], s->key_dim, (float)s->scale, queries + r * padded);
    // A tile of keys serves all rows of the group while it is in the cache.
    for (long j = 0; j < shared; j += cached_keys)
        for (long r = 0; r < rows; r++)
            cached_scores(queries + r * padded, keys[0].start, keys[0].step, s->key_dim, j, least(j + cached_keys, shared),
                          scores + r * row_step);
    for (long j = 0; j < longest; j += cached_keys)
        for (long r = 0; r < rows; r++)
            cached_scores(queries + r * padded, keys[1].start, keys[1].step, s->key_dim, j,
                          least(j + cached_keys, keys_until(s, first + r + 1)), scores + r * row_step + shared);
    for (long r = 0; r < rows; r++) {
        values[1].count = keys_until(s, first + r + 1);
        const long seen = shared + values[1].count;
        float *row = scores + r * row_step, *o = job->o + at.o + (first + r) * s->o_step[2];
        if (seen == 0) {
            memset(o, 0, sizeof(float) * s->value_dim);
            continue;
        }
        const float sum = exponentials(row, seen, largest(row, seen));
        cached_output(row, values, 1 / sum, s->value_dim, o);
    }
    mm_scratch_give(queries);
}

static void attention_cached(const mm_attention *s, const mm_attention_prefix *prefix, const float *q, const float *k,
                             const float *v, float *o) {
    cached_job job = {s, prefix, q, k, v, o, divide_up(s->queries, cached_rows)};
    if (s->queries > 0) mm_parallel(s->batch * s->heads * job.groups, cached_task, &job);
}
