// Convolution in double precision: the definition, as plain loops. The reference for conv.inl.h and for gradient checks.
//
// Memory: reads and writes its arguments only; every task writes one channel of one sample.
#include "CKernels.h"

typedef struct {
    const mm_conv *shape;
    const double *input, *w, *gy, *bias;
    int activation;
    double *output;
} request;

static double finish(const request *r, double value, long channel) {
    if (r->bias) value += r->bias[channel];
    return r->activation == MM_RELU && value < 0 ? 0 : value;
}

static long volume(const long size[3]) { return size[0] * size[1] * size[2]; }

// y[n, o, p] = sum over c, t of x[n, c, p*stride + t*dilation - pad] w[o, c, t].
static void forward_task(void *context, long index) {
    const request *r = context;
    const mm_conv *s = r->shape;
    const long out = index % s->out_channels, sample = index / s->out_channels;
    const long *in = s->in_size, *size = s->out_size, *kernel = s->kernel;
    double *y = r->output + index * volume(size);
    for (long d = 0; d < size[0]; d++)
    for (long h = 0; h < size[1]; h++)
    for (long x = 0; x < size[2]; x++) {
        double sum = 0;
        for (long c = 0; c < s->in_channels; c++)
        for (long kd = 0; kd < kernel[0]; kd++)
        for (long kh = 0; kh < kernel[1]; kh++)
        for (long kw = 0; kw < kernel[2]; kw++) {
            const long id = d * s->stride[0] + kd * s->dilation[0] - s->pad_front[0];
            const long ih = h * s->stride[1] + kh * s->dilation[1] - s->pad_front[1];
            const long iw = x * s->stride[2] + kw * s->dilation[2] - s->pad_front[2];
            if (id < 0 || id >= in[0] || ih < 0 || ih >= in[1] || iw < 0 || iw >= in[2]) continue;
            sum += r->input[(((sample * s->in_channels + c) * in[0] + id) * in[1] + ih) * in[2] + iw] *
                   r->w[(((out * s->in_channels + c) * kernel[0] + kd) * kernel[1] + kh) * kernel[2] + kw];
        }
        *y++ = finish(r, sum, out);
    }
}

void mm_conv_forward_f64(const mm_conv *shape, const double *x, const double *w, const double *bias, int activation,
                         double *y) {
    request r = {shape, x, w, NULL, bias, activation, y};
    mm_parallel(shape->batch * shape->out_channels, forward_task, &r);
}

// gx[n, c, i] = sum over o, t of gy[n, o, (i + pad - t*dilation) / stride] w[o, c, t], where that divides and lies inside.
static void backward_data_task(void *context, long index) {
    const request *r = context;
    const mm_conv *s = r->shape;
    const long channel = index % s->in_channels, sample = index / s->in_channels;
    const long *in = s->in_size, *size = s->out_size, *kernel = s->kernel;
    double *gx = r->output + index * volume(in);
    for (long d = 0; d < in[0]; d++)
    for (long h = 0; h < in[1]; h++)
    for (long x = 0; x < in[2]; x++) {
        double sum = 0;
        for (long o = 0; o < s->out_channels; o++)
        for (long kd = 0; kd < kernel[0]; kd++)
        for (long kh = 0; kh < kernel[1]; kh++)
        for (long kw = 0; kw < kernel[2]; kw++) {
            const long zd = d + s->pad_front[0] - kd * s->dilation[0];
            const long zh = h + s->pad_front[1] - kh * s->dilation[1];
            const long zw = x + s->pad_front[2] - kw * s->dilation[2];
            if (zd < 0 || zh < 0 || zw < 0) continue;
            if (zd % s->stride[0] || zh % s->stride[1] || zw % s->stride[2]) continue;
            const long od = zd / s->stride[0], oh = zh / s->stride[1], ow = zw / s->stride[2];
            if (od >= size[0] || oh >= size[1] || ow >= size[2]) continue;
            sum += r->gy[(((sample * s->out_channels + o) * size[0] + od) * size[1] + oh) * size[2] + ow] *
                   r->w[(((o * s->in_channels + channel) * kernel[0] + kd) * kernel[1] + kh) * kernel[2] + kw];
        }
        *gx++ = finish(r, sum, channel);
    }
}

void mm_conv_backward_data_f64(const mm_conv *shape, const double *gy, const double *w, const double *bias,
                               int activation, double *gx) {
    request r = {shape, NULL, w, gy, bias, activation, gx};
    mm_parallel(shape->batch * shape->in_channels, backward_data_task, &r);
}

// gw[o, c, t] = sum over n, p of gy[n, o, p] x[n, c, p*stride + t*dilation - pad].
static void backward_weights_task(void *context, long index) {
    const request *r = context;
    const mm_conv *s = r->shape;
    const long channel = index % s->in_channels, out = index / s->in_channels;
    const long *in = s->in_size, *size = s->out_size, *kernel = s->kernel;
    double *gw = r->output + index * volume(kernel);
    for (long kd = 0; kd < kernel[0]; kd++)
    for (long kh = 0; kh < kernel[1]; kh++)
    for (long kw = 0; kw < kernel[2]; kw++) {
        double sum = 0;
        for (long n = 0; n < s->batch; n++)
        for (long d = 0; d < size[0]; d++)
        for (long h = 0; h < size[1]; h++)
        for (long x = 0; x < size[2]; x++) {
            const long id = d * s->stride[0] + kd * s->dilation[0] - s->pad_front[0];
            const long ih = h * s->stride[1] + kh * s->dilation[1] - s->pad_front[1];
            const long iw = x * s->stride[2] + kw * s->dilation[2] - s->pad_front[2];
            if (id < 0 || id >= in[0] || ih < 0 || ih >= in[1] || iw < 0 || iw >= in[2]) continue;
            sum += r->input[(((n * s->in_channels + channel) * in[0] + id) * in[1] + ih) * in[2] + iw] *
                   r->gy[(((n * s->out_channels + out) * size[0] + d) * size[1] + h) * size[2] + x];
        }
        *gw++ = sum;
    }
}

void mm_conv_backward_weights_f64(const mm_conv *shape, const double *x, const double *gy, double *gw) {
    request r = {shape, x, NULL, gy, NULL, MM_IDENTITY, gw};
    mm_parallel(shape->out_channels * shape->in_channels, backward_weights_task, &r);
}
