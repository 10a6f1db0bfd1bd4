// Attention of queries over keys and values that several calls may see in pieces; attention_rows.inl.h does it over caches.
//
// Memory: keys and values are read in place, once per group of query rows; one row of scores per query in scratch.
//
// A query row's arithmetic depends on nothing but the keys it sees: every score is a dot product of its own (lanes along
// the head dimension, a fixed tree), maximum and sum run over the visible keys alone, and each output lane is
// one chain over the keys, ascending. So prefill, decoding and batches agree to the bit.
enum { cached_rows = 8, cached_keys = 64, cached_ahead = 4096, most_value_vectors = 12 };

typedef struct {
    const mm_attention *shape;
    const float *q, *k, *v;
    float *o;
    long groups;
} cached_job;

// The sums of MM_LANES vectors, one a lane, each in the same tree: neighbours, pairs, fours, ... .
#define MM_LANE(i, h, odd) ((i) / (h) % 2 * MM_LANES + ((i) / (h) / 2 * 2 + (odd)) * (h) + (i) % (h))
#define MM_LANES_FROM(i, h, odd) MM_LANE(i, h, odd), MM_LANE(i + 1, h, odd), MM_LANE(i + 2, h, odd), MM_LANE(i + 3, h, odd)
#if MM_LANES == 4
#define MM_EACH_LANE(h, odd) MM_LANES_FROM(0, h, odd)
#elif MM_LANES == 8
#define MM_EACH_LANE(h, odd) MM_LANES_FROM(0, h, odd), MM_LANES_FROM(4, h, odd)
#else
#define MM_EACH_LANE(h, odd) \
    MM_LANES_FROM(0, h, odd), MM_LANES_FROM(4, h, odd), MM_LANES_FROM(8, h, odd), MM_LANES_FROM(12, h, odd)
#endif
#define MM_SUM_BLOCKS(v, h)                                                                  \
    MM_UNROLL for (int i = 0; i < MM_LANES / (h); i += 2)                                    \
        v[i / 2] = __builtin_shufflevector(v[i], v[i + 1], MM_EACH_LANE(h, 0)) +             \
                   __builtin_shufflevector(v[i], v[i + 1], MM_EACH_LANE(h, 1))
MM_INLINE vf sum_each(vf v[MM_LANES]) {
    MM_SUM_BLOCKS(v, 1);
    MM_SUM_BLOCKS(v, 2);
#if MM_LANES >= 8
    MM_SUM_BLOCKS(v, 4);
#endif
#if MM_LANES >= 16
    MM_SUM_BLOCKS(v, 8);
#endif
    return v[0];
}

MM_INLINE long cached_size(const int type) { return type == MM_CACHE_F32 ? 4 : type == MM_CACHE_BF16 ? 2 : 1; }

// Asks for what lies so many keys (or values) of `dim` numbers behind this one that memory has answered by then.
MM_INLINE void ask_for_later(const char *key, long step, long dim, long size) {
    // Floats come as fast as memory gives them without being asked for, and slower with.
    if (size == 4) return;
    const char *later = key + most(1, cached_ahead / (dim * size)) * step * size;
    for (long i = 0; i < dim * size; i += 64) __builtin_prefetch(later + i);
}

// A vector of cached numbers, from the `at`th on, without their scale.
MM_INLINE vf cached_load(const int type, const void *numbers, long at) {
    typedef uint16_t halves __attribute__((vector_size(2 * MM_LANES)));
    typedef int8_t bytes __attribute__((vector_size(MM_LANES)));
    if (type == MM_CACHE_F32) return load((const float *)numbers + at);
    if (type == MM_CACHE_BF16) {
        halves h;
        memcpy(&h, (const uint16_t *)numbers + at, sizeof h);
        return (vf)(__builtin_convertvector(h, vi) << 16);
    }
    bytes b;
    memcpy(&b, (const int8_t *)numbers + at, sizeof b);
    return __builtin_convertvector(b, vf);
}

MM_INLINE float cached_number(const int type, const void *numbers, long at) {
    if (type == MM_CACHE_F32) return ((const float *)numbers)[at];
    return type == MM_CACHE_BF16 ? of_bf16(((const uint16_t *)numbers)[at]) : ((const int8_t *)numbers)[at];
}

static void pad_query(const float *query, long dim, float scale, float *padded) {
    const long whole = dim / MM_LANES;
    for (long c = 0; c < whole * MM_LANES; c++) padded[c] = query[c] * scale;
    for (long c = 0; c < MM_LANES; c++) {
        const long source = dim - MM_LANES + c;
        padded[whole * MM_LANES + c] = source >= whole * MM_LANES ? query[source] * scale : 0;
    }
}

// The dot products of a query, padded as `pad_query` leaves it, with MM_LANES keys from `keys` on, of which `count` are
// there. `whole` vectors, then one more that overlaps what came before: the query holds zeros there.
MM_INLINE vf cached_dots(const int type, const float *query, const void *keys, long step, long dim, long count) {
    const long whole = dim / MM_LANES;
    long at[MM_LANES];
    MM_UNROLL for (long i = 0; i < MM_LANES; i++) at[i] = least(i, count - 1) * step;
    vf sum[MM_LANES];
    MM_UNROLL for (int i = 0; i < MM_LANES; i++) sum[i] = splat(0);
    for (long x = 0; x < whole; x++) {
        const vf q = load(query + x * MM_LANES);
        MM_UNROLL for (int i = 0; i < MM_LANES; i++)
            sum[i] = MM_FMA(q, cached_load(type, keys, at[i] + x * MM_LANES), sum[i]);
    }
    if (whole * MM_LANES < dim) {
        const vf q = load(query + whole * MM_LANES);
        MM_UNROLL for (int i = 0; i < MM_LANES; i++)
            sum[i] = MM_FMA(q, cached_load(type, keys, at[i] + dim - MM_LANES), sum[i]);
    }
    return sum_each(sum);
}

// scores[j] for `count` keys; writes whole vectors.
MM_INLINE void cached_scores_of(const int type, const float *query, const void *keys, long step, long dim, long count,
                                float *scores) {
    if (dim < MM_LANES) {
        // Too short for a vector: the values of the query start at the end of its padding.
        for (long j = 0; j < count; j++) {
            float sum = 0;
            for (long c = 0; c < dim; c++) sum = MM_FMA(query[MM_LANES - dim + c], cached_number(type, keys, j * step + c), sum);
            scores[j] = sum;
        }
        return;
    }
    const long size = cached_size(type);
    long j = 0;
    for (; j + MM_LANES <= count; j += MM_LANES) {
        MM_UNROLL for (long i = 0; i < MM_LANES; i++) ask_for_later((const char *)keys + (j + i) * step * size, step, dim, size);
        store(scores + j, cached_dots(type, query, (const char *)keys + j * step * size, step, dim, MM_LANES));
    }
    if (j < count) store(scores + j, cached_dots(type, query, (const char *)keys + j * step * size, step, dim, count - j));
}

static void cached_scores(int type, const float *query, const void *keys, long step, long dim, long count, float *scores) {
    switch (type) {
    case MM_CACHE_F32: cached_scores_of(MM_CACHE_F32, query, keys, step, dim, count, scores); break;
    case MM_CACHE_BF16: cached_scores_of(MM_CACHE_BF16, query, keys, step, dim, count, scores); break;
    default: cached_scores_of(MM_CACHE_I8, query, keys, step, dim, count, scores);
    }
}

// o[c] += sum_j p[j] v[j, c] for `vectors` vectors of columns from `first` on.
MM_INLINE void cached_values(const int type, const int vectors, const float *p, long count, const void *values, long step,
                             long dim, long first, float *o) {
    vf sum[most_value_vectors];
    MM_UNROLL for (int x = 0; x < vectors; x++) sum[x] = load(o + first + x * MM_LANES);
    const long size = cached_size(type);
    for (long j = 0; j < count; j++) {
        if (first == 0) ask_for_later((const char *)values + j * step * size, step, dim, size);
        const vf weight = splat(p[j]);
        MM_UNROLL for (int x = 0; x < vectors; x++)
            sum[x] = MM_FMA(weight, cached_load(type, values, j * step + first + x * MM_LANES), sum[x]);
    }
    MM_UNROLL for (int x = 0; x < vectors; x++) store(o + first + x * MM_LANES, sum[x]);
}

MM_INLINE void cached_output_of(const int type, const float *p, long count, const void *values, long step, long dim, float *o) {
    long c = 0;
    for (; c + 12 * MM_LANES <= dim; c += 12 * MM_LANES) cached_values(type, 12, p, count, values, step, dim, c, o);
    for (; c + 8 * MM_LANES <= dim; c += 8 * MM_LANES) cached_values(type, 8, p, count, values, step, dim, c, o);
    for (; c + 4 * MM_LANES <= dim; c += 4 * MM_LANES) cached_values(type, 4, p, count, values, step, dim, c, o);
    for (; c + MM_LANES <= dim; c += MM_LANES) cached_values(type, 1, p, count, values, step, dim, c, o);
    for (; c < dim; c++) {
        float sum = o[c];
        for (long j = 0; j < count; j++) sum = MM_FMA(p[j], cached_number(type, values, j * step + c), sum);
        o[c] = sum;
    }
}

static void cached_output(int type, const float *p, long count, const void *values, long step, long dim, float *o) {
    switch (type) {
    case MM_CACHE_F32: cached_output_of(MM_CACHE_F32, p, count, values, step, dim, o); break;
    case MM_CACHE_BF16: cached_output_of(MM_CACHE_BF16, p, count, values, step, dim, o); break;
    default: cached_output_of(MM_CACHE_I8, p, count, values, step, dim, o);
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
            cached_scores(MM_CACHE_F32, queries + r * padded, keys + j * s->k_step[2], s->k_step[2], s->key_dim,
                          least(cached_keys, keys_until(s, first + r + 1) - j), scores + r * row_step + j);
    for (long r = 0; r < rows; r++) {
        const long seen = keys_until(s, first + r + 1);
        float *row = scores + r * row_step, *o = job->o + at.o + (first + r) * s->o_step[2];
        memset(o, 0, sizeof(float) * s->value_dim);
        if (seen == 0) continue;
        const float factor = 1 / exponentials(row, seen, largest(row, seen));
        cached_output(MM_CACHE_F32, row, seen, values, s->v_step[2], s->value_dim, o);
        for (long c = 0; c < s->value_dim; c++) o[c] *= factor;
    }
    mm_scratch_give(queries);
}

static void attention_cached(const mm_attention *s, const float *q, const float *k, const float *v, float *o) {
    cached_job job = {s, q, k, v, o, divide_up(s->queries, cached_rows)};
    if (s->queries > 0) mm_parallel(s->batch * s->heads * job.groups, cached_task, &job);
}
