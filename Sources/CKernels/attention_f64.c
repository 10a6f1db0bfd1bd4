// Attention in double precision: the definition, as plain loops. The reference for attention.inl.h.
//
// Memory: one row of probabilities per task in scratch. A task owns a batch element and head, so that the gradients of
// keys and values have one writer, which meets the queries in order.
#include <math.h>
#include <string.h>

#include "CKernels.h"
#include "philox.h"
#include "scratch.h"

typedef struct {
    const mm_attention *shape;
    const double *q, *k, *v, *o, *go, *statistics_in;
    double *out, *statistics, *gq, *gk, *gv;
    uint32_t threshold;
} request;

typedef struct {
    long b, h;
    long q, k, v, o;  // where this head begins
    const int32_t *places, *regions;
} head;

static head head_at(const mm_attention *s, long index) {
    const long b = index / s->heads, h = index % s->heads, windows = s->places ? s->windows : 1;
    const long sample = b / windows, window = b % windows * s->queries;
    return (head){b, h, sample * s->q_step[0] + h * s->q_step[1], sample * s->k_step[0] + h * s->k_step[1],
                  sample * s->v_step[0] + h * s->v_step[1], sample * s->o_step[0] + h * s->o_step[1],
                  s->places ? s->places + window : NULL, s->regions ? s->regions + window : NULL};
}

// Where row i of a head begins.
static long row(const head *at, long start, long i, const long step[3]) {
    return start + (at->places ? at->places[i] : i) * step[2];
}

// What is added to score (i, j).
static double shift(const mm_attention *s, const head *at, long i, long j) {
    const double *bias = s->bias;
    const double first =
        bias ? bias[at->b * s->bias_step[0] + at->h * s->bias_step[1] + i * s->bias_step[2] + j] : 0;
    return first + (at->regions && at->regions[i] != at->regions[j] ? s->penalty : 0);
}

static int visible(const mm_attention *s, const head *at, long i, long j) {
    if (s->causal && j > i + s->keys - s->queries) return 0;
    return !s->mask || s->mask[at->b * s->mask_step[0] + at->h * s->mask_step[1] + i * s->mask_step[2] + j];
}

// What dropout multiplies probability (i, j) with.
static double kept(const request *r, const head *at, long i, long j) {
    const mm_attention *s = r->shape;
    if (s->dropout <= 0) return 1;
    const uint64_t counter =
        (uint64_t)(((at->b * s->heads + at->h) * s->queries + i) * s->keys + j);
    uint32_t words[4];
    mm_philox_block(s->seed, s->stream, counter / 4, words);
    return words[counter % 4] >> 8 < r->threshold ? 0 : 1 / (1 - s->dropout);
}

static double dot(const double *a, const double *b, long count) {
    double sum = 0;
    for (long c = 0; c < count; c++) sum += a[c] * b[c];
    return sum;
}

static void forward_task(void *context, long index) {
    const request *r = context;
    const mm_attention *s = r->shape;
    const head at = head_at(s, index);
    double *p = mm_scratch_take(sizeof(double) * (size_t)(s->keys + 1));
    for (long i = 0; i < s->queries; i++) {
        double most = -INFINITY, sum = 0;
        for (long j = 0; j < s->keys; j++) {
            p[j] = visible(s, &at, i, j) ? s->scale * dot(r->q + row(&at, at.q, i, s->q_step),
                                                          r->k + row(&at, at.k, j, s->k_step), s->key_dim) +
                                               shift(s, &at, i, j)
                                         : -INFINITY;
            if (p[j] > most) most = p[j];
        }
        for (long j = 0; j < s->keys; j++) sum += p[j] = most == -INFINITY ? 0 : exp(p[j] - most);
        double *o = r->out + row(&at, at.o, i, s->o_step);
        memset(o, 0, sizeof(double) * (size_t)s->value_dim);
        for (long j = 0; j < s->keys; j++) {
            if (p[j] == 0) continue;
            const double factor = p[j] / sum * kept(r, &at, i, j);
            const double *v = r->v + row(&at, at.v, j, s->v_step);
            for (long c = 0; c < s->value_dim; c++) o[c] += factor * v[c];
        }
        if (r->statistics) r->statistics[index * s->queries + i] = most == -INFINITY ? -INFINITY : most + log(sum);
    }
    mm_scratch_give(p);
}

void mm_attention_forward_f64(const mm_attention *shape, const double *q, const double *k, const double *v, double *o,
                              double *statistics) {
    request r = {.shape = shape, .q = q, .k = k, .v = v, .out = o, .statistics = statistics,
                 .threshold = mm_philox_threshold(shape->dropout)};
    mm_parallel(shape->batch * shape->heads, forward_task, &r);
}

// With P the probabilities, M the dropout factors: gv = (P M)^T go; gP = M (go v^T); the softmax's gradient is
// gS = P (gP - sum_j P gP), and that sum equals go . o.
static void backward_head(const request *r, long index, double *gbias) {
    const mm_attention *s = r->shape;
    const head at = head_at(s, index);
    for (long j = 0; j < s->keys; j++) {
        memset(r->gk + row(&at, at.k, j, s->k_step), 0, sizeof(double) * (size_t)s->key_dim);
        memset(r->gv + row(&at, at.v, j, s->v_step), 0, sizeof(double) * (size_t)s->value_dim);
    }
    for (long i = 0; i < s->queries; i++) {
        const double *q = r->q + row(&at, at.q, i, s->q_step), *go = r->go + row(&at, at.o, i, s->o_step);
        double *gq = r->gq + row(&at, at.q, i, s->q_step);
        memset(gq, 0, sizeof(double) * (size_t)s->key_dim);
        const double total = r->statistics_in[index * s->queries + i];
        if (total == -INFINITY) continue;
        const double mean = dot(go, r->o + row(&at, at.o, i, s->o_step), s->value_dim);
        for (long j = 0; j < s->keys; j++) {
            if (!visible(s, &at, i, j)) continue;
            const double *k = r->k + row(&at, at.k, j, s->k_step), *v = r->v + row(&at, at.v, j, s->v_step);
            const double p = exp(s->scale * dot(q, k, s->key_dim) + shift(s, &at, i, j) - total);
            const double factor = kept(r, &at, i, j);
            const double gscore = p * (factor * dot(go, v, s->value_dim) - mean), gs = gscore * s->scale;
            double *gk = r->gk + row(&at, at.k, j, s->k_step), *gv = r->gv + row(&at, at.v, j, s->v_step);
            for (long c = 0; c < s->value_dim; c++) gv[c] += p * factor * go[c];
            for (long c = 0; c < s->key_dim; c++) gq[c] += gs * k[c], gk[c] += gs * q[c];
            if (gbias) gbias[i * s->keys + j] += gscore;
        }
    }
}

static void backward_task(void *context, long task) {
    const request *r = context;
    const mm_attention *s = r->shape;
    if (!s->bias_gradient) {
        backward_head(r, task, NULL);
        return;
    }
    const long parts = mm_attention_bias_parts(s), part = task / s->heads, head = task % s->heads;
    const long count = s->queries * s->keys;
    double *gbias = (double *)s->bias_gradient + task * count;
    memset(gbias, 0, sizeof(double) * (size_t)count);
    for (long b = part * s->batch / parts; b < (part + 1) * s->batch / parts; b++)
        backward_head(r, b * s->heads + head, gbias);
}

void mm_attention_backward_f64(const mm_attention *shape, const double *q, const double *k, const double *v,
                               const double *o, const double *statistics, const double *go, double *gq, double *gk,
                               double *gv) {
    request r = {.shape = shape, .q = q, .k = k, .v = v, .o = o, .go = go, .statistics_in = statistics, .gq = gq,
                 .gk = gk, .gv = gv, .threshold = mm_philox_threshold(shape->dropout)};
    const long parts = shape->bias_gradient ? mm_attention_bias_parts(shape) : shape->batch;
    mm_parallel(parts * shape->heads, backward_task, &r);
}
