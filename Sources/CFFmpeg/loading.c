// FFmpeg's functions, found when they are first wanted instead of when the program is loaded: with everything that they
// depend on, the libraries are some 160 files, and most of what a program without them needs to start.
//
// What is called by its own name lands here and is passed on; the headers hold the compiler to the same types. The names
// stay inside the program, so that the libraries among themselves find their own.
#include "include/CFFmpeg.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if LIBAVFORMAT_VERSION_MAJOR >= 61
#define SIDE_DATA av_packet_side_data_get
#else
#define SIDE_DATA av_stream_get_side_data
#endif

#if LIBAVFORMAT_VERSION_MAJOR >= 61
#define WRITE_ARGUMENT int (*write)(void *, const uint8_t *, int)
#else
#define WRITE_ARGUMENT int (*write)(void *, uint8_t *, int)
#endif

#define FUNCTIONS(F) \
    F(av_buffersink_get_frame) F(av_buffersrc_add_frame) F(av_d2q) F(av_dict_free) F(av_dict_get) F(av_dict_set) \
    F(av_frame_alloc) F(av_frame_free) F(av_frame_get_buffer) F(av_frame_get_side_data) F(av_frame_ref) \
    F(av_frame_unref) F(av_freep) F(av_get_pix_fmt_name) F(av_interleaved_write_frame) F(av_log_set_level) F(av_malloc) F(av_packet_alloc) \
    F(av_packet_free) F(av_packet_rescale_ts) F(av_packet_unref) F(av_pix_fmt_desc_get) F(av_read_frame) \
    F(av_seek_frame) F(av_strdup) F(SIDE_DATA) F(av_strerror) F(av_write_trailer) F(avcodec_alloc_context3) \
    F(avcodec_find_decoder) F(avcodec_find_encoder_by_name) F(avcodec_flush_buffers) F(avcodec_free_context) \
    F(avcodec_get_name) F(avcodec_open2) F(avcodec_parameters_from_context) F(avcodec_parameters_to_context) \
    F(avcodec_receive_frame) F(avcodec_receive_packet) F(avcodec_send_frame) F(avcodec_send_packet) \
    F(avfilter_get_by_name) F(avfilter_graph_alloc) F(avfilter_graph_config) F(avfilter_graph_create_filter) \
    F(avfilter_graph_free) F(avfilter_graph_parse_ptr) F(avfilter_inout_alloc) F(avfilter_inout_free) \
    F(avformat_alloc_context) F(avformat_alloc_output_context2) F(avformat_close_input) F(avformat_find_stream_info) \
    F(avformat_free_context) F(avformat_index_get_entries_count) F(avformat_index_get_entry) F(avformat_new_stream) \
    F(avformat_open_input) F(avformat_write_header) F(avio_alloc_context) F(avio_closep) F(avio_context_free) \
    F(avio_flush) F(avio_open) F(sws_freeContext) F(sws_getCoefficients) F(sws_getContext) F(sws_scale) F(sws_setColorspaceDetails)

// clang-format off
struct functions {
#define POINTER(name) __typeof__(&name) name;
    FUNCTIONS(POINTER)
};
// clang-format on

static struct functions functions;
static char failure[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#ifdef __APPLE__
#define FILE_NAME(name, major) "lib" name "." TEXT(major) ".dylib"
#else
#define FILE_NAME(name, major) "lib" name ".so." TEXT(major)
#endif

static void *handles[5];

/// Finds a function in whichever library has it.
static void *find(const char *name) {
    for (int i = 0; i < 5; i++) {
        void *found = dlsym(handles[i], name);
        if (found) return found;
    }
    if (!failure[0]) snprintf(failure, sizeof failure, "they have no function %s", name);
    return 0;
}

static void load(void) {
    // Those whose headers this was compiled with; others may lay out their structures differently.
    static const char *const files[5] = {
        FILE_NAME("avformat", LIBAVFORMAT_VERSION_MAJOR), FILE_NAME("avcodec", LIBAVCODEC_VERSION_MAJOR),
        FILE_NAME("avutil", LIBAVUTIL_VERSION_MAJOR), FILE_NAME("swscale", LIBSWSCALE_VERSION_MAJOR),
        FILE_NAME("avfilter", LIBAVFILTER_VERSION_MAJOR)};
    for (int i = 0; i < 5; i++) {
        handles[i] = dlopen(files[i], RTLD_LAZY | RTLD_LOCAL);
        if (handles[i]) continue;
        const char *reason = dlerror();
        snprintf(failure, sizeof failure, "%s", reason ? reason : files[i]);
        return;
    }
#define FIND(name) functions.name = (__typeof__(functions.name))find(TEXT(name));
    FUNCTIONS(FIND)
    // Nothing is printed to the terminal; what matters is returned.
    if (!failure[0]) functions.av_log_set_level(AV_LOG_QUIET);
}

const char *mm_ffmpeg_load(void) {
    pthread_once(&once, load);
    return failure[0] ? failure : 0;
}

/// The functions; a caller has made sure that they are there.
static const struct functions *loaded(void) {
    const char *reason = mm_ffmpeg_load();
    if (!reason) return &functions;
    fprintf(stderr, "FFmpeg's libraries were used though they cannot be loaded: %s\n", reason);
    abort();
}

#pragma GCC visibility push(hidden)

int av_buffersink_get_frame(AVFilterContext *ctx, AVFrame *frame) {
    return loaded()->av_buffersink_get_frame(ctx, frame);
}
int av_buffersrc_add_frame(AVFilterContext *ctx, AVFrame *frame) {
    return loaded()->av_buffersrc_add_frame(ctx, frame);
}
AVRational av_d2q(double d, int max) { return loaded()->av_d2q(d, max); }
void av_dict_free(AVDictionary **m) { loaded()->av_dict_free(m); }
AVDictionaryEntry *av_dict_get(const AVDictionary *m, const char *key, const AVDictionaryEntry *prev, int flags) {
    return loaded()->av_dict_get(m, key, prev, flags);
}
int av_dict_set(AVDictionary **pm, const char *key, const char *value, int flags) {
    return loaded()->av_dict_set(pm, key, value, flags);
}
AVFrame *av_frame_alloc(void) { return loaded()->av_frame_alloc(); }
void av_frame_free(AVFrame **frame) { loaded()->av_frame_free(frame); }
int av_frame_get_buffer(AVFrame *frame, int align) { return loaded()->av_frame_get_buffer(frame, align); }
AVFrameSideData *av_frame_get_side_data(const AVFrame *frame, enum AVFrameSideDataType type) {
    return loaded()->av_frame_get_side_data(frame, type);
}
int av_frame_ref(AVFrame *dst, const AVFrame *src) { return loaded()->av_frame_ref(dst, src); }
void av_frame_unref(AVFrame *frame) { loaded()->av_frame_unref(frame); }
void av_freep(void *ptr) { loaded()->av_freep(ptr); }
const char *av_get_pix_fmt_name(enum AVPixelFormat pix_fmt) { return loaded()->av_get_pix_fmt_name(pix_fmt); }
int av_interleaved_write_frame(AVFormatContext *s, AVPacket *pkt) {
    return loaded()->av_interleaved_write_frame(s, pkt);
}
void *av_malloc(size_t size) { return loaded()->av_malloc(size); }
AVPacket *av_packet_alloc(void) { return loaded()->av_packet_alloc(); }
void av_packet_free(AVPacket **pkt) { loaded()->av_packet_free(pkt); }
void av_packet_rescale_ts(AVPacket *pkt, AVRational tb_src, AVRational tb_dst) {
    loaded()->av_packet_rescale_ts(pkt, tb_src, tb_dst);
}
void av_packet_unref(AVPacket *pkt) { loaded()->av_packet_unref(pkt); }
const AVPixFmtDescriptor *av_pix_fmt_desc_get(enum AVPixelFormat pix_fmt) {
    return loaded()->av_pix_fmt_desc_get(pix_fmt);
}
int av_read_frame(AVFormatContext *s, AVPacket *pkt) { return loaded()->av_read_frame(s, pkt); }
int av_seek_frame(AVFormatContext *s, int stream_index, int64_t timestamp, int flags) {
    return loaded()->av_seek_frame(s, stream_index, timestamp, flags);
}
char *av_strdup(const char *s) { return loaded()->av_strdup(s); }
#if LIBAVFORMAT_VERSION_MAJOR >= 61
const AVPacketSideData *av_packet_side_data_get(
    const AVPacketSideData *sd, int nb_sd, enum AVPacketSideDataType type) {
    return loaded()->av_packet_side_data_get(sd, nb_sd, type);
}
#else
uint8_t *av_stream_get_side_data(const AVStream *stream, enum AVPacketSideDataType type, size_t *size) {
    return loaded()->av_stream_get_side_data(stream, type, size);
}
#endif
int av_strerror(int errnum, char *errbuf, size_t errbuf_size) {
    return loaded()->av_strerror(errnum, errbuf, errbuf_size);
}
int av_write_trailer(AVFormatContext *s) { return loaded()->av_write_trailer(s); }
AVCodecContext *avcodec_alloc_context3(const AVCodec *codec) { return loaded()->avcodec_alloc_context3(codec); }
const AVCodec *avcodec_find_decoder(enum AVCodecID id) { return loaded()->avcodec_find_decoder(id); }
const AVCodec *avcodec_find_encoder_by_name(const char *name) { return loaded()->avcodec_find_encoder_by_name(name); }
void avcodec_flush_buffers(AVCodecContext *avctx) { loaded()->avcodec_flush_buffers(avctx); }
void avcodec_free_context(AVCodecContext **avctx) { loaded()->avcodec_free_context(avctx); }
const char *avcodec_get_name(enum AVCodecID id) { return loaded()->avcodec_get_name(id); }
int avcodec_open2(AVCodecContext *avctx, const AVCodec *codec, AVDictionary **options) {
    return loaded()->avcodec_open2(avctx, codec, options);
}
int avcodec_parameters_from_context(AVCodecParameters *par, const AVCodecContext *codec) {
    return loaded()->avcodec_parameters_from_context(par, codec);
}
int avcodec_parameters_to_context(AVCodecContext *codec, const AVCodecParameters *par) {
    return loaded()->avcodec_parameters_to_context(codec, par);
}
int avcodec_receive_frame(AVCodecContext *avctx, AVFrame *frame) {
    return loaded()->avcodec_receive_frame(avctx, frame);
}
int avcodec_receive_packet(AVCodecContext *avctx, AVPacket *avpkt) {
    return loaded()->avcodec_receive_packet(avctx, avpkt);
}
int avcodec_send_frame(AVCodecContext *avctx, const AVFrame *frame) {
    return loaded()->avcodec_send_frame(avctx, frame);
}
int avcodec_send_packet(AVCodecContext *avctx, const AVPacket *avpkt) {
    return loaded()->avcodec_send_packet(avctx, avpkt);
}
const AVFilter *avfilter_get_by_name(const char *name) { return loaded()->avfilter_get_by_name(name); }
AVFilterGraph *avfilter_graph_alloc(void) { return loaded()->avfilter_graph_alloc(); }
int avfilter_graph_config(AVFilterGraph *graphctx, void *log_ctx) {
    return loaded()->avfilter_graph_config(graphctx, log_ctx);
}
int avfilter_graph_create_filter(
    AVFilterContext **filt_ctx, const AVFilter *filt, const char *name, const char *args, void *opaque,
    AVFilterGraph *graph_ctx) {
    return loaded()->avfilter_graph_create_filter(filt_ctx, filt, name, args, opaque, graph_ctx);
}
void avfilter_graph_free(AVFilterGraph **graph) { loaded()->avfilter_graph_free(graph); }
int avfilter_graph_parse_ptr(
    AVFilterGraph *graph, const char *filters, AVFilterInOut **inputs, AVFilterInOut **outputs, void *log_ctx) {
    return loaded()->avfilter_graph_parse_ptr(graph, filters, inputs, outputs, log_ctx);
}
AVFilterInOut *avfilter_inout_alloc(void) { return loaded()->avfilter_inout_alloc(); }
void avfilter_inout_free(AVFilterInOut **inout) { loaded()->avfilter_inout_free(inout); }
AVFormatContext *avformat_alloc_context(void) { return loaded()->avformat_alloc_context(); }
int avformat_alloc_output_context2(
    AVFormatContext **ctx, const AVOutputFormat *oformat, const char *format_name, const char *filename) {
    return loaded()->avformat_alloc_output_context2(ctx, oformat, format_name, filename);
}
void avformat_close_input(AVFormatContext **s) { loaded()->avformat_close_input(s); }
int avformat_find_stream_info(AVFormatContext *ic, AVDictionary **options) {
    return loaded()->avformat_find_stream_info(ic, options);
}
void avformat_free_context(AVFormatContext *s) { loaded()->avformat_free_context(s); }
int avformat_index_get_entries_count(const AVStream *st) { return loaded()->avformat_index_get_entries_count(st); }
const AVIndexEntry *avformat_index_get_entry(AVStream *st, int idx) {
    return loaded()->avformat_index_get_entry(st, idx);
}
AVStream *avformat_new_stream(AVFormatContext *s, const AVCodec *c) { return loaded()->avformat_new_stream(s, c); }
int avformat_open_input(AVFormatContext **ps, const char *url, const AVInputFormat *fmt, AVDictionary **options) {
    return loaded()->avformat_open_input(ps, url, fmt, options);
}
int avformat_write_header(AVFormatContext *s, AVDictionary **options) {
    return loaded()->avformat_write_header(s, options);
}
AVIOContext *avio_alloc_context(
    unsigned char *buffer, int buffer_size, int write_flag, void *opaque, int (*read)(void *, uint8_t *, int),
    WRITE_ARGUMENT, int64_t (*seek)(void *, int64_t, int)) {
    return loaded()->avio_alloc_context(buffer, buffer_size, write_flag, opaque, read, write, seek);
}
int avio_closep(AVIOContext **s) { return loaded()->avio_closep(s); }
void avio_context_free(AVIOContext **s) { loaded()->avio_context_free(s); }
void avio_flush(AVIOContext *s) { loaded()->avio_flush(s); }
int avio_open(AVIOContext **s, const char *url, int flags) { return loaded()->avio_open(s, url, flags); }
void sws_freeContext(struct SwsContext *swsContext) { loaded()->sws_freeContext(swsContext); }
const int *sws_getCoefficients(int colorspace) { return loaded()->sws_getCoefficients(colorspace); }
struct SwsContext *sws_getContext(
    int srcW, int srcH, enum AVPixelFormat srcFormat, int dstW, int dstH, enum AVPixelFormat dstFormat, int flags,
    SwsFilter *srcFilter, SwsFilter *dstFilter, const double *param) {
    return loaded()->sws_getContext(srcW, srcH, srcFormat, dstW, dstH, dstFormat, flags, srcFilter, dstFilter, param);
}
int sws_scale(
    struct SwsContext *c, const uint8_t *const srcSlice[], const int srcStride[], int srcSliceY, int srcSliceH,
    uint8_t *const dst[], const int dstStride[]) {
    return loaded()->sws_scale(c, srcSlice, srcStride, srcSliceY, srcSliceH, dst, dstStride);
}
int sws_setColorspaceDetails(
    struct SwsContext *c, const int inv_table[4], int srcRange, const int table[4], int dstRange, int brightness,
    int contrast, int saturation) {
    return loaded()->sws_setColorspaceDetails(
        c, inv_table, srcRange, table, dstRange, brightness, contrast, saturation);
}

#pragma GCC visibility pop
