import CFFmpeg
import Foundation

/// How frames are coded: the codec with its settings and the pixels it takes.
struct EncoderSettings {
    var codec: String
    var pixelFormat: AVPixelFormat
    /// YUV matrix and range of `pixelFormat`; ignored for RGB.
    var matrix: AVColorSpace = AVCOL_SPC_UNSPECIFIED
    var isFullRange = false
    var settings: [String: String] = [:]
    /// A fixed number: some encoders' bytes depend on it, and equal input must give equal files everywhere.
    var threads: Int32 = 1
    var keyFrameInterval: Int32?
    /// A fixed quantizer for encoders that are told by one.
    var quantizer: Int32?
}

/// An encoder with the frame that its input is converted into.
final class Encoder {
    let width: Int
    let height: Int
    private(set) var context: UnsafeMutablePointer<AVCodecContext>?
    private let frame: OwnedFrame
    private var packet: UnsafeMutablePointer<AVPacket>?
    private var scaler: OpaquePointer?
    private let settings: EncoderSettings
    private let name: String

    /// - Throws: ``MediaError`` with code `.cannotWrite` when the encoder is missing or refuses the size or settings.
    init(
        _ settings: EncoderSettings, width: Int, height: Int, timeBase: AVRational, frameRate: AVRational,
        needsGlobalHeader: Bool, name: String
    ) throws {
        self.width = width
        self.height = height
        self.settings = settings
        self.name = name
        frame = try OwnedFrame()
        guard let codec = avcodec_find_encoder_by_name(settings.codec) else {
            throw MediaError(.cannotWrite, "\(name) cannot be written: FFmpeg has no encoder \(settings.codec) here.")
        }
        context = avcodec_alloc_context3(codec)
        packet = av_packet_alloc()
        guard let context, packet != nil else { throw refused(mm_averror(ENOMEM)) }
        context.pointee.width = Int32(width)
        context.pointee.height = Int32(height)
        context.pointee.pix_fmt = settings.pixelFormat
        context.pointee.time_base = timeBase
        context.pointee.framerate = frameRate
        context.pointee.sample_aspect_ratio = AVRational(num: 1, den: 1)
        context.pointee.thread_count = settings.threads
        context.pointee.flags |= mm_codec_bitexact
        context.pointee.bit_rate = 0
        if needsGlobalHeader { context.pointee.flags |= mm_codec_global_header }
        if let interval = settings.keyFrameInterval { context.pointee.gop_size = interval }
        if let quantizer = settings.quantizer {
            context.pointee.flags |= mm_codec_qscale
            context.pointee.global_quality = quantizer * Int32(mm_qp2lambda)
        }
        if settings.matrix == AVCOL_SPC_BT709 {
            context.pointee.colorspace = AVCOL_SPC_BT709
            context.pointee.color_primaries = AVCOL_PRI_BT709
            context.pointee.color_trc = AVCOL_TRC_BT709
            context.pointee.color_range = AVCOL_RANGE_MPEG
        } else if settings.pixelFormat == AV_PIX_FMT_GBRP {
            context.pointee.colorspace = AVCOL_SPC_RGB
        } else if settings.isFullRange {
            context.pointee.color_range = AVCOL_RANGE_JPEG
        }
        var dictionary: OpaquePointer?
        defer { av_dict_free(&dictionary) }
        for (key, value) in settings.settings { av_dict_set(&dictionary, key, value, 0) }
        let status = avcodec_open2(context, codec, &dictionary)
        guard status >= 0 else { throw refused(status) }
        if let unknown = av_dict_get(dictionary, "", nil, AV_DICT_IGNORE_SUFFIX) {
            throw MediaError(
                .cannotWrite,
                "\(name) cannot be written: the encoder \(settings.codec) has no setting "
                    + "\(String(cString: unknown.pointee.key)).")
        }
    }

    deinit {
        sws_freeContext(scaler)
        av_packet_free(&packet)
        avcodec_free_context(&context)
    }

    private func refused(_ status: Int32) -> MediaError {
        MediaError(
            .cannotWrite,
            "\(name) cannot be written: the encoder \(settings.codec) refuses \(width) x \(height) pixels "
                + "(\(statusText(status).lowercased())).")
    }

    /// Encodes one picture of packed RGB rows and passes on the packets that are ready.
    func encode(
        rgb: UnsafePointer<UInt8>, stride: Int, timestamp: Int64,
        _ handle: (UnsafeMutablePointer<AVPacket>) throws -> Void
    ) throws {
        av_frame_unref(frame.pointer)
        frame.pointer.pointee.format = settings.pixelFormat.rawValue
        frame.pointer.pointee.width = Int32(width)
        frame.pointer.pointee.height = Int32(height)
        let status = av_frame_get_buffer(frame.pointer, 0)
        guard status >= 0 else { throw refused(status) }
        if scaler == nil {
            scaler = sws_getContext(
                Int32(width), Int32(height), AV_PIX_FMT_RGB24, Int32(width), Int32(height), settings.pixelFormat,
                mm_scale_accurate, nil, nil, nil)
            let matrix = Int32(
                (settings.matrix == AVCOL_SPC_UNSPECIFIED ? AVCOL_SPC_SMPTE170M : settings.matrix).rawValue)
            if let scaler { _ = mm_set_color(scaler, matrix, 1, matrix, settings.isFullRange ? 1 : 0) }
        }
        guard let scaler, mm_scale_from_packed(scaler, rgb, Int32(stride), Int32(height), frame.pointer) > 0 else {
            throw MediaError(.cannotWrite, "\(name) cannot be written: a frame could not be converted.")
        }
        if let context {
            frame.pointer.pointee.color_range = context.pointee.color_range
            frame.pointer.pointee.colorspace = context.pointee.colorspace
        }
        frame.pointer.pointee.quality = context?.pointee.global_quality ?? 0
        frame.pointer.pointee.pts = timestamp
        try encode(frame.pointer, handle)
    }

    /// Encodes a frame that is already in the encoder's pixel format; `nil` ends the stream.
    func encode(
        _ frame: UnsafeMutablePointer<AVFrame>?, _ handle: (UnsafeMutablePointer<AVPacket>) throws -> Void
    ) throws {
        var status = avcodec_send_frame(context, frame)
        while status >= 0, let packet {
            status = avcodec_receive_packet(context, packet)
            guard status >= 0 else { break }
            defer { av_packet_unref(packet) }
            try handle(packet)
        }
        guard status == mm_error_again || status == mm_error_eof || status >= 0 else {
            throw MediaError(.cannotWrite, "Encoding \(name) failed: \(statusText(status).lowercased()).")
        }
    }
}
