// FFmpeg's headers, and what Swift cannot import from them: macros with arguments, flags and array-valued fields.
#ifndef CFFMPEG_H
#define CFFMPEG_H

#if !__has_include(<libavfilter/avfilter.h>)
#error "FFmpeg's headers are not there (docs/DEPENDENCIES.md lists the packages)"
#endif

#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libavutil/display.h>
#include <libavutil/error.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <errno.h>

/// Loads FFmpeg's libraries, once; every function below may be called from then on.
///
/// Returns null, or why they cannot be loaded.
const char *mm_ffmpeg_load(void);

/// Opens a part of a file for a demuxer: `length` bytes from `start` on, which are all that it can see.
///
/// Takes over the descriptor, also when it fails and returns null; ``mm_range_close`` closes it.
AVIOContext *mm_range_open(int descriptor, int64_t start, int64_t length);
/// Closes what ``mm_range_open`` opened and sets the pointer to null.
void mm_range_close(AVIOContext **input);

static inline int mm_averror(int code) { return AVERROR(code); }
static inline int mm_error_is(int status, int code) { return status == AVERROR(code); }
static const int mm_error_eof = AVERROR_EOF;
static const int mm_error_again = AVERROR(EAGAIN);
static const int mm_error_invalid_data = AVERROR_INVALIDDATA;
static const int64_t mm_no_timestamp = AV_NOPTS_VALUE;
static const int64_t mm_time_base = AV_TIME_BASE;

static const int mm_frame_corrupt = AV_FRAME_FLAG_CORRUPT;
static const int mm_packet_key = AV_PKT_FLAG_KEY;
static const int mm_packet_corrupt = AV_PKT_FLAG_CORRUPT;
static const int mm_codec_bitexact = AV_CODEC_FLAG_BITEXACT;
static const int mm_codec_global_header = AV_CODEC_FLAG_GLOBAL_HEADER;
static const int mm_codec_qscale = AV_CODEC_FLAG_QSCALE;
static const int mm_qp2lambda = FF_QP2LAMBDA;
static const int mm_format_bitexact = AVFMT_FLAG_BITEXACT;
static const int mm_format_custom_io = AVFMT_FLAG_CUSTOM_IO;
static const int mm_format_global_header = AVFMT_GLOBALHEADER;
static const int mm_seek_backward = AVSEEK_FLAG_BACKWARD;
static const int mm_attached_picture = AV_DISPOSITION_ATTACHED_PIC;
static const int mm_default_stream = AV_DISPOSITION_DEFAULT;
static const uint64_t mm_pixel_format_alpha = AV_PIX_FMT_FLAG_ALPHA;
static const uint64_t mm_pixel_format_palette = AV_PIX_FMT_FLAG_PAL;
static const uint64_t mm_pixel_format_rgb = AV_PIX_FMT_FLAG_RGB;
static const uint64_t mm_pixel_format_hardware = AV_PIX_FMT_FLAG_HWACCEL;

static const int mm_scale_accurate =
    SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT;

static inline uint8_t *mm_plane(const AVFrame *frame, int plane) { return frame->data[plane]; }
static inline int mm_linesize(const AVFrame *frame, int plane) { return frame->linesize[plane]; }

/// Scales or converts `source` into one packed plane; negative when the context cannot.
static inline int mm_scale_to_packed(
    struct SwsContext *context, const AVFrame *source, uint8_t *destination, int destinationStride) {
    uint8_t *planes[4] = {destination, 0, 0, 0};
    int strides[4] = {destinationStride, 0, 0, 0};
    return sws_scale(
        context, (const uint8_t *const *)source->data, source->linesize, 0, source->height, planes, strides);
}

/// Scales or converts one packed plane into `destination`.
static inline int mm_scale_from_packed(
    struct SwsContext *context, const uint8_t *source, int sourceStride, int height, AVFrame *destination) {
    const uint8_t *planes[4] = {source, 0, 0, 0};
    int strides[4] = {sourceStride, 0, 0, 0};
    return sws_scale(context, planes, strides, 0, height, destination->data, destination->linesize);
}

/// Sets the YUV matrices and ranges of a conversion (1 is full range).
static inline int mm_set_color(
    struct SwsContext *context, int sourceMatrix, int sourceRange, int destinationMatrix, int destinationRange) {
    return sws_setColorspaceDetails(
        context, sws_getCoefficients(sourceMatrix), sourceRange, sws_getCoefficients(destinationMatrix),
        destinationRange, 0, 1 << 16, 1 << 16);
}

/// The display matrix of a stream, nine entries, or null.
static inline const int32_t *mm_stream_display_matrix(const AVStream *stream) {
#if LIBAVFORMAT_VERSION_MAJOR >= 61
    const AVPacketSideData *side = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    return side && side->size >= 9 * sizeof(int32_t) ? (const int32_t *)side->data : 0;
#else
    size_t size = 0;
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data && size >= 9 * sizeof(int32_t) ? (const int32_t *)data : 0;
#endif
}

/// How long a frame is shown, in its stream's time base; 0 where unknown.
static inline int64_t mm_frame_duration(const AVFrame *frame) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
    return frame->duration;
#else
    return frame->pkt_duration;
#endif
}

/// The display matrix of a frame, nine entries, or null.
static inline const int32_t *mm_frame_display_matrix(const AVFrame *frame) {
    const AVFrameSideData *side = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    return side && side->size >= 9 * sizeof(int32_t) ? (const int32_t *)side->data : 0;
}

#endif
