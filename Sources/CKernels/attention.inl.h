// Attention for training: forward, and a backward that recomputes the probabilities from the saved statistics.
//
// Memory: a block of query rows of the score matrix at a time, in scratch; never the whole of it. Forward runs in parallel
// over (batch, head, block of queries); backward over (batch, head), since keys and values gather from every query.
//
// Of 16-bit floats (kind_halves): queries, keys, values, the result and its gradient; probabilities and the gradients of
// scores are rounded to them where they are multiplied. Sums, the softmax and what comes out of backward are floats.
//
// Rows of a window that lie apart are brought together first, and what comes of them is put back: where a window's rows
// lie changes no bit.
enum { forward_queries = 96, backward_queries = 96 };

typedef struct {
    const mm_attention *shape;
    int kind;  // of the numbers of q, k, v, o, go and out
    const void *q, *k, *v, *o, *go;
    const float *statistics_in;
    void *out;
    float *statistics, *gq, *gk, *gv;
    uint32_t threshold;
    long blocks, parts;
} attention_job;

typedef struct {
    long b, h, q, k, v, o;
    const int32_t *places, *regions;  // of this window
} head_offsets;

static head_offsets head_at(const mm_attention *s, long index) {
    const long b = index / s->heads, h = index % s->heads, windows = s->places ? s->windows : 1;
    const long sample = b / windows, window = b % windows * s->queries;
    return (head_offsets){b, h, sample * s->q_step[0] + h * s->q_step[1], sample * s->k_step[0] + h * s->k_step[1],
                          sample * s->v_step[0] + h * s->v_step[1], sample * s->o_step[0] + h * s->o_step[1],
                          s->places ? s->places + window : NULL, s->regions ? s->regions + window : NULL};
}

// How many keys queries up to `last` (exclusive) can see at most.
static inline long keys_until(const mm_attention *s, long last) {
    return s->causal ? most(0, least(s->keys, last + s->keys - s->queries)) : s->keys;
}

// Adds what a bias and regions say about query i to its scores of the first `keys` keys.
static void shift_row(const mm_attention *s, const head_offsets *at, long i, long keys, float *scores) {
    if (s->bias) {
        const float *bias =
            (const float *)s->bias + at->b * s->bias_step[0] + at->h * s->bias_step[1] + i * s->bias_step[2];
        long j = 0;
        for (; j + MM_LANES <= keys; j += MM_LANES) store(scores + j, load(scores + j) + load(bias + j));
        for (; j < keys; j++) scores[j] += bias[j];
    }
    if (at->regions) {
        const vi own = at->regions[i] - (vi){0};
        const vf penalty = splat((float)s->penalty), none = splat(0);
        long j = 0;
        for (; j + MM_LANES <= keys; j += MM_LANES) {
            const vi others = (vi)load((const float *)(at->regions + j));
            store(scores + j, load(scores + j) + choose(others != own, penalty, none));
        }
        for (; j < keys; j++) scores[j] += at->regions[j] != at->regions[i] ? (float)s->penalty : 0;
    }
}

// scores[i, j] = scale * score where visible, else minus infinity; for j in 0..<keys.
static void mask_row(const mm_attention *s, const head_offsets *at, long i, long keys, float *scores) {
    const float scale = (float)s->scale;
    const long seen = least(keys, keys_until(s, i + 1));
    long j = 0;
    for (; j + MM_LANES <= seen; j += MM_LANES) store(scores + j, load(scores + j) * splat(scale));
    for (; j < seen; j++) scores[j] *= scale;
    shift_row(s, at, i, seen, scores);
    for (j = seen; j < keys; j++) scores[j] = -INFINITY;
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
// The same for `count` rows of a window, brought together in `room` where they lie apart.
static operand window_rows(const attention_job *job, const head_offsets *at, const void *base, long start, long first,
                           long count, long step, long dim, float *room) {
    if (!at->places) return rows_of(job, base, start + first * step, step);
    const size_t size = job->kind == kind_halves ? 2 : 4;
    for (long i = 0; i < count; i++)
        memcpy((char *)room + (size_t)(i * dim) * size,
               (const char *)base + (size_t)(start + at->places[first + i] * step) * size, (size_t)dim * size);
    return (operand){room, dim, 1, job->kind};
}
// Puts rows where a window has them.
static void put_rows(const head_offsets *at, const float *rows, long first, long count, long step, long dim, float *base) {
    for (long i = 0; i < count; i++)
        memcpy(base + at->places[first + i] * step, rows + i * dim, sizeof(float) * (size_t)dim);
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

// Queries first ..< first + rows of one head, with its keys and values.
static void attention_forward_block(const attention_job *job, long index, const head_offsets *at, long first, long rows,
                                    operand k, operand v) {
    const mm_attention *s = job->shape;
    const long keys = keys_until(s, first + rows);
    const int halves = job->kind == kind_halves, apart = at->places != NULL;
    const long row_step = divide_up(most(1, keys), MM_LANES) * MM_LANES + MM_LANES;  // no power of two
    float *scores = mm_scratch_take(sizeof(float) * ((rows + 1) * row_step + (apart ? rows * s->key_dim : 0)));
    float *factors = scores + rows * row_step;
    const operand q = window_rows(job, at, job->q, at->q, first, rows, s->q_step[2], s->key_dim, factors + row_step);
    gemm_here(rows, keys, s->key_dim, q, turned(k), scores, row_step, 0);
    for (long r = 0; r < rows; r++) {
        float *row = scores + r * row_step;
        mask_row(s, at, first + r, keys, row);
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
    const operand p = floats_at(scores, row_step, 1);
    if (halves || apart) {
        float *sums = mm_scratch_take(sizeof(float) * rows * s->value_dim);
        gemm_here(rows, s->value_dim, keys, p, v, sums, s->value_dim, 0);
        if (!halves) {
            put_rows(at, sums, first, rows, s->o_step[2], s->value_dim, (float *)job->out + at->o);
        } else {
            for (long r = 0; r < rows; r++) {
                const long row = apart ? at->places[first + r] : first + r;
                narrow(s->value_dim, sums + r * s->value_dim, (uint16_t *)job->out + at->o + row * s->o_step[2]);
            }
        }
        mm_scratch_give(sums);
    } else {
        gemm_here(rows, s->value_dim, keys, p, v, (float *)job->out + at->o + first * s->o_step[2], s->o_step[2], 0);
    }
    mm_scratch_give(scores);
}

static void attention_forward_task(void *context, long task) {
    const attention_job *job = context;
    const mm_attention *s = job->shape;
    const long index = task / job->blocks, block = task % job->blocks * forward_queries;
    const head_offsets at = head_at(s, index);
    if (!at.places) {
        const operand k = rows_of(job, job->k, at.k, s->k_step[2]), v = rows_of(job, job->v, at.v, s->v_step[2]);
        attention_forward_block(job, index, &at, block, least(forward_queries, s->queries - block), k, v);
        return;
    }
    float *room = mm_scratch_take(sizeof(float) * s->keys * (s->key_dim + s->value_dim));
    const operand k = window_rows(job, &at, job->k, at.k, 0, s->keys, s->k_step[2], s->key_dim, room);
    const operand v =
        window_rows(job, &at, job->v, at.v, 0, s->keys, s->v_step[2], s->value_dim, room + s->keys * s->key_dim);
    for (long first = 0; first < s->queries; first += forward_queries)
        attention_forward_block(job, index, &at, first, least(forward_queries, s->queries - first), k, v);
    mm_scratch_give(room);
}

static void attention_forward(const mm_attention *s, int type, const void *q, const void *k, const void *v, void *o,
                              float *statistics) {
    attention_job job = {.shape = s, .kind = type == MM_BF16 ? kind_halves : kind_floats, .q = q, .k = k, .v = v, .out = o,
                         .statistics = statistics, .threshold = mm_philox_threshold(s->dropout),
                         .blocks = s->places ? 1 : divide_up(s->queries, forward_queries)};
    if (s->queries > 0) mm_parallel(s->batch * s->heads * job.blocks, attention_forward_task, &job);
}

// gbias[j] += what the gradient of a row of scores is before the scale.
static void add_row(float *gbias, const float *row, long keys) {
    long j = 0;
    for (; j + MM_LANES <= keys; j += MM_LANES) store(gbias + j, load(gbias + j) + load(row + j));
    for (; j < keys; j++) gbias[j] += row[j];
}

// See attention_f64.c for the formulas. `gbias`: NULL, or [queries, keys].
static void attention_backward_head(const attention_job *job, long index, float *gbias) {
    const mm_attention *s = job->shape;
    const head_offsets at = head_at(s, index);
    const int halves = job->kind == kind_halves, apart = at.places != NULL;
    const long row_step = divide_up(most(1, s->keys), MM_LANES) * MM_LANES + MM_LANES, dims = s->key_dim + s->value_dim;
    float *p = mm_scratch_take(sizeof(float) * (2 * backward_queries + 1) * row_step);
    float *g = p + backward_queries * row_step, *factors = g + backward_queries * row_step;
    // Of rows that lie apart: keys, values, their gradients; of a block queries, their gradients, the result's and its.
    float *room = apart ? mm_scratch_take(sizeof(float) * 2 * (s->keys + backward_queries) * dims) : p;
    float *room_v = room + s->keys * s->key_dim, *room_q = room + s->keys * dims;
    float *room_gq = room_q + backward_queries * s->key_dim, *room_o = room_gq + backward_queries * s->key_dim;
    float *room_go = room_o + backward_queries * s->value_dim, *room_gk = room_go + backward_queries * s->value_dim;
    float *gk = apart ? room_gk : job->gk + at.k, *gv = apart ? room_gk + s->keys * s->key_dim : job->gv + at.v;
    const long k_step = apart ? s->key_dim : s->k_step[2], v_step = apart ? s->value_dim : s->v_step[2];
    const operand keys_here = window_rows(job, &at, job->k, at.k, 0, s->keys, s->k_step[2], s->key_dim, room);
    const operand values = window_rows(job, &at, job->v, at.v, 0, s->keys, s->v_step[2], s->value_dim, room_v);
    for (long j = 0; j < s->keys; j++) {
        memset(gk + j * k_step, 0, sizeof(float) * s->key_dim);
        memset(gv + j * v_step, 0, sizeof(float) * s->value_dim);
    }
    for (long first = 0; first < s->queries; first += backward_queries) {
        const long rows = least(backward_queries, s->queries - first), keys = keys_until(s, first + rows);
        const operand q = window_rows(job, &at, job->q, at.q, first, rows, s->q_step[2], s->key_dim, room_q);
        const operand go = window_rows(job, &at, job->go, at.o, first, rows, s->o_step[2], s->value_dim, room_go);
        const operand o = window_rows(job, &at, job->o, at.o, first, rows, s->o_step[2], s->value_dim, room_o);
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
            if (gbias) {
                for (long j = 0; j < keys; j += MM_LANES) store(g_row + j, load(p_row + j) * (load(g_row + j) - shift));
                add_row(gbias + (first + r) * s->keys, g_row, keys);
                for (long j = 0; j < keys; j += MM_LANES) store(g_row + j, load(g_row + j) * scale);
            } else {
                for (long j = 0; j < keys; j += MM_LANES)
                    store(g_row + j, load(p_row + j) * (load(g_row + j) - shift) * scale);
            }
            if (s->dropout > 0) multiply_row(p_row, factors, keys);
            if (halves) {
                round_floats(keys, p_row, p_row);
                round_floats(keys, g_row, g_row);
            }
        }
        float *gq = apart ? room_gq : job->gq + at.q + first * s->q_step[2];
        gemm_here(rows, s->key_dim, keys, floats_at(g, row_step, 1), keys_here, gq, apart ? s->key_dim : s->q_step[2], 0);
        if (apart) put_rows(&at, gq, first, rows, s->q_step[2], s->key_dim, job->gq + at.q);
        gemm_here(keys, s->key_dim, rows, floats_at(g, 1, row_step), q, gk, k_step, 1);
        gemm_here(keys, s->value_dim, rows, floats_at(p, 1, row_step), go, gv, v_step, 1);
    }
    if (apart) {
        put_rows(&at, gk, 0, s->keys, s->k_step[2], s->key_dim, job->gk + at.k);
        put_rows(&at, gv, 0, s->keys, s->v_step[2], s->value_dim, job->gv + at.v);
        mm_scratch_give(room);
    }
    mm_scratch_give(p);
}

static void attention_backward_task(void *context, long task) {
    const attention_job *job = context;
    const mm_attention *s = job->shape;
    if (!s->bias_gradient) {
        attention_backward_head(job, task, NULL);
        return;
    }
    // One part of a head's bias has one writer, which meets the batch in order.
    const long part = task / s->heads, head = task % s->heads, count = s->queries * s->keys;
    float *gbias = (float *)s->bias_gradient + task * count;
    memset(gbias, 0, sizeof(float) * (size_t)count);
    for (long b = part * s->batch / job->parts; b < (part + 1) * s->batch / job->parts; b++)
        attention_backward_head(job, b * s->heads + head, gbias);
}

static void attention_backward(const mm_attention *s, int type, const void *q, const void *k, const void *v, const void *o,
                               const float *statistics, const void *go, float *gq, float *gk, float *gv) {
    attention_job job = {.shape = s, .kind = type == MM_BF16 ? kind_halves : kind_floats, .q = q, .k = k, .v = v, .o = o,
                         .statistics_in = statistics, .go = go, .gq = gq, .gk = gk, .gv = gv,
                         .threshold = mm_philox_threshold(s->dropout),
                         .parts = s->bias_gradient ? mm_attention_bias_parts(s) : s->batch};
    mm_parallel(job.parts * s->heads, attention_backward_task, &job);
}
