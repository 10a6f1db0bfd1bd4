// Attention for training: forward, and a backward that recomputes the probabilities from the saved statistics.
//
// Memory: a block of query rows of the score matrix at a time, in scratch; never the whole of it. Forward runs in parallel
// over (batch, head, block of queries); backward over (batch, head), since keys and values gather from every query.
//
// Of 16-bit floats (kind_halves): queries, keys, values, the result and its gradient; probabilities and the gradients of
// scores are rounded to them where they are multiplied. Sums, the softmax and what comes out of backward are floats.
enum { forward_queries = 96, backward_queries = 96 };

typedef struct {
    const mm_attention *shape;
    int kind;  // of the numbers of q, k, v, o, go and out
    const void *q, *k, *v, *o, *go;
    const float *statistics_in;
    void *out;
    float *statistics, *gq, *gk, *gv;
    uint32_t threshold;
    long blocks;
} attention_job;

typedef struct {
    long b, h, q, k, v, o;
} head_offsets;

static head_offsets head_at(const mm_attention *s, long index) {
    const long b = index / s->heads, h = index % s->heads;
    return (head_offsets){b, h, b * s->q_step[0] + h * s->q_step[1], b * s->k_step[0] + h * s->k_step[1],
                          b * s->v_step[0] + h * s->v_step[1], b * s->o_step[0] + h * s->o_step[1]};
}

// How many keys queries up to `last` (exclusive) can see at most.
static inline long keys_until(const mm_attention *s, long last) {
    return s->causal ? most(0, least(s->keys, last + s->keys - s->queries)) : s->keys;
}

// scores[i, j] = scale * score where visible, else minus infinity; for j in 0..<keys.
static void mask_row(const mm_attention *s, const head_offsets *at, long i, long keys, float *scores) {
    const float scale = (float)s->scale;
    const long seen = least(keys, keys_until(s, i + 1));
    long j = 0;
    for (; j + MM_LANES <= seen; j += MM_LANES) store(scores + j, load(scores + j) * splat(scale));
    for (; j < seen; j++) scores[j] *= scale;
    for (; j < keys; j++) scores[j] = -INFINITY;
    if (!s->mask) return;
    const uint8_t *mask = s->mask + at->b * s->mask_step[0] + at->h * s->mask_step[1] + i * s->mask_step[2];
    for (j = 0; j < seen; j++)
        if (!mask[j]) scores[j] = -INFINITY;
}

// row[j] = e^(row[j] - most), and their sum: lanes first, j ascending, then a fixed tree.
static float exponentials(float *row, long count, float most_of_all) {
    vf sum = splat(0);
    const vf shift = splat(most_of_all);
    long j = 0;
    for (; j + MM_LANES <= count; j += MM_LANES) {
        const vf e = exponential(load(row + j) - shift);
        store(row + j, e);
        sum += e;
    }
    if (j < count) {
        const vf e = exponential(load_some(row + j, count - j, -INFINITY) - shift);
        store_some(row + j, e, count - j);
        sum += e;
    }
    return sum_lanes(sum);
}

static float largest(const float *row, long count) {
    vf top = splat(-INFINITY);
    long j = 0;
    for (; j + MM_LANES <= count; j += MM_LANES) top = larger(load(row + j), top);
    if (j < count) top = larger(load_some(row + j, count - j, -INFINITY), top);
    return largest_lane(top);
}

static void scale_row(float *row, long count, float factor) {
    long j = 0;
    for (; j + MM_LANES <= count; j += MM_LANES) store(row + j, load(row + j) * splat(factor));
    for (; j < count; j++) row[j] *= factor;
}

// The dropout factors of query i: 0 or 1 / (1 - p), for the first `count` keys.
static void drop_factors(const attention_job *job, long index, long i, float *factors, long count) {
    const mm_attention *s = job->shape;
    const float keep = (float)(1 / (1 - s->dropout));
    const uint64_t first = (uint64_t)((index * s->queries + i) * s->keys);
    uint32_t words[mm_philox_words_at_once];
    for (long j = 0; j < count;) {
        const uint64_t counter = first + (uint64_t)j, skipped = counter % 4;
        mm_philox_blocks(s->seed, s->stream, counter / 4, words);
        const long made = least(count - j, mm_philox_words_at_once - (long)skipped);
        for (long w = 0; w < made; w++) factors[j + w] = words[skipped + w] >> 8 < job->threshold ? 0 : keep;
        j += made;
    }
}

// Multiplies rows that have a vector to spare.
static void multiply_row(float *row, const float *factors, long count) {
    for (long j = 0; j < count; j += MM_LANES) store(row + j, load(row + j) * load(factors + j));
}

// Rows of queries, keys or values from number `first` on, `step` apart.
static operand rows_of(const attention_job *job, const void *base, long first, long step) {
    return moved((operand){base, step, 1, job->kind}, first);
}
static operand turned(operand x) { return (operand){x.at, x.col, x.row, x.kind}; }

// The product of a row of each, in the order of the products of matrices.
static float dot_of_rows(operand x, operand y, long row, long count) {
    const void *a = part(x, row, 0).at, *b = part(y, row, 0).at;
    if (x.kind == kind_halves) return dot_of_halves(a, b, count);
    float sum = 0;
    for (long c = 0; c < count; c++) sum += ((const float *)a)[c] * ((const float *)b)[c];
    return sum;
}

static void attention_forward_task(void *context, long task) {
    const attention_job *job = context;
    const mm_attention *s = job->shape;
    const long index = task / job->blocks, first = task % job->blocks * forward_queries;
    const long rows = least(forward_queries, s->queries - first), keys = keys_until(s, first + rows);
    const head_offsets at = head_at(s, index);
    const int halves = job->kind == kind_halves;
    const long row_step = divide_up(most(1, keys), MM_LANES) * MM_LANES + MM_LANES;  // no power of two
    float *scores = mm_scratch_take(sizeof(float) * (rows + 1) * row_step), *factors = scores + rows * row_step;
    const operand q = rows_of(job, job->q, at.q + first * s->q_step[2], s->q_step[2]);
    const operand k = rows_of(job, job->k, at.k, s->k_step[2]), v = rows_of(job, job->v, at.v, s->v_step[2]);
    gemm_here(rows, keys, s->key_dim, q, turned(k), scores, row_step, 0);
    for (long r = 0; r < rows; r++) {
        float *row = scores + r * row_step;
        mask_row(s, &at, first + r, keys, row);
        const float top = largest(row, keys);
        float total = -INFINITY;
        if (top == -INFINITY) {
            memset(row, 0, sizeof(float) * keys);
        } else {
            const float sum = exponentials(row, keys, top);
            scale_row(row, keys, 1 / sum);
            total = top + logf(sum);
            if (s->dropout > 0) {
                drop_factors(job, index, first + r, factors, keys);
                multiply_row(row, factors, keys);
            }
            if (halves) round_floats(keys, row, row);
        }
        if (job->statistics) job->statistics[index * s->queries + first + r] = total;
    }
    const long out = at.o + first * s->o_step[2];
    if (halves) {
        float *sums = mm_scratch_take(sizeof(float) * rows * s->value_dim);
        gemm_here(rows, s->value_dim, keys, floats_at(scores, row_step, 1), v, sums, s->value_dim, 0);
        for (long r = 0; r < rows; r++)
            narrow(s->value_dim, sums + r * s->value_dim, (uint16_t *)job->out + out + r * s->o_step[2]);
        mm_scratch_give(sums);
    } else {
        gemm_here(rows, s->value_dim, keys, floats_at(scores, row_step, 1), v, (float *)job->out + out, s->o_step[2], 0);
    }
    mm_scratch_give(scores);
}

static void attention_forward(const mm_attention *s, int type, const void *q, const void *k, const void *v, void *o,
                              float *statistics) {
    attention_job job = {.shape = s, .kind = type == MM_BF16 ? kind_halves : kind_floats, .q = q, .k = k, .v = v, .out = o,
                         .statistics = statistics, .threshold = mm_philox_threshold(s->dropout),
                         .blocks = divide_up(s->queries, forward_queries)};
    if (s->queries > 0) mm_parallel(s->batch * s->heads * job.blocks, attention_forward_task, &job);
}

// See attention_f64.c for the formulas.
static void attention_backward_task(void *context, long index) {
    const attention_job *job = context;
    const mm_attention *s = job->shape;
    const head_offsets at = head_at(s, index);
    const int halves = job->kind == kind_halves;
    const long row_step = divide_up(most(1, s->keys), MM_LANES) * MM_LANES + MM_LANES;
    float *p = mm_scratch_take(sizeof(float) * (2 * backward_queries + 1) * row_step);
    float *g = p + backward_queries * row_step, *factors = g + backward_queries * row_step;
    const operand keys_here = rows_of(job, job->k, at.k, s->k_step[2]), values = rows_of(job, job->v, at.v, s->v_step[2]);
    for (long j = 0; j < s->keys; j++) {
        memset(job->gk + at.k + j * s->k_step[2], 0, sizeof(float) * s->key_dim);
        memset(job->gv + at.v + j * s->v_step[2], 0, sizeof(float) * s->value_dim);
    }
    for (long first = 0; first < s->queries; first += backward_queries) {
        const long rows = least(backward_queries, s->queries - first), keys = keys_until(s, first + rows);
        const operand q = rows_of(job, job->q, at.q + first * s->q_step[2], s->q_step[2]);
        const operand go = rows_of(job, job->go, at.o + first * s->o_step[2], s->o_step[2]);
        const operand o = rows_of(job, job->o, at.o + first * s->o_step[2], s->o_step[2]);
        gemm_here(rows, keys, s->key_dim, q, turned(keys_here), p, row_step, 0);
        gemm_here(rows, keys, s->value_dim, go, turned(values), g, row_step, 0);
        for (long r = 0; r < rows; r++) {
            float *p_row = p + r * row_step, *g_row = g + r * row_step;
            const float total = job->statistics_in[index * s->queries + first + r];
            if (total == -INFINITY) {
                memset(p_row, 0, sizeof(float) * keys);
                memset(g_row, 0, sizeof(float) * keys);
                continue;
            }
            mask_row(s, &at, first + r, keys, p_row);
            exponentials(p_row, keys, total);
            if (s->dropout > 0) {
                drop_factors(job, index, first + r, factors, keys);
                multiply_row(g_row, factors, keys);
            }
            // In the order of the product above: where a query sees one key only, the two cancel.
            const vf shift = splat(dot_of_rows(go, o, r, s->value_dim)), scale = splat((float)s->scale);
            // Rows have a vector to spare: the last one may run over.
            for (long j = 0; j < keys; j += MM_LANES)
                store(g_row + j, load(p_row + j) * (load(g_row + j) - shift) * scale);
            if (s->dropout > 0) multiply_row(p_row, factors, keys);
            if (halves) {
                round_floats(keys, p_row, p_row);
                round_floats(keys, g_row, g_row);
            }
        }
        gemm_here(rows, s->key_dim, keys, floats_at(g, row_step, 1), keys_here, job->gq + at.q + first * s->q_step[2],
                  s->q_step[2], 0);
        gemm_here(keys, s->key_dim, rows, floats_at(g, 1, row_step), q, job->gk + at.k, s->k_step[2], 1);
        gemm_here(keys, s->value_dim, rows, floats_at(p, 1, row_step), go, job->gv + at.v, s->v_step[2], 1);
    }
    mm_scratch_give(p);
}

static void attention_backward(const mm_attention *s, int type, const void *q, const void *k, const void *v, const void *o,
                               const float *statistics, const void *go, float *gq, float *gk, float *gv) {
    attention_job job = {.shape = s, .kind = type == MM_BF16 ? kind_halves : kind_floats, .q = q, .k = k, .v = v, .o = o,
                         .statistics_in = statistics, .go = go, .gq = gq, .gk = gk, .gv = gv,
                         .threshold = mm_philox_threshold(s->dropout)};
    mm_parallel(s->batch * s->heads, attention_backward_task, &job);
}
