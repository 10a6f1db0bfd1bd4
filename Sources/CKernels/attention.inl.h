static void attention_forward(const mm_attention *s, const float *q, const float *k, const float *v, float *o, float *st) { abort(); }
static void attention_backward(const mm_attention *s, const float *q, const float *k, const float *v, const float *o,
                               const float *st, const float *go, float *gq, float *gk, float *gv) { abort(); }
