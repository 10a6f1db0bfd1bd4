import CFFmpeg
import Foundation

/// Writes one video stream into a container file.
final class Muxer {
    private let destination: Destination
    private var format: UnsafeMutablePointer<AVFormatContext>?
    private var stream: UnsafeMutablePointer<AVStream>?
    private var encoderTimeBase = AVRational(num: 1, den: 1)

    /// Opens the container in `destination`'s temporary file.
    init(_ destination: Destination, container: String) throws {
        self.destination = destination
        let name = "file:" + destination.temporaryPath
        var status = avformat_alloc_output_context2(&format, nil, container, name)
        guard status >= 0, let format else { throw failed(status) }
        format.pointee.flags |= mm_format_bitexact
        status = avio_open(&format.pointee.pb, name, AVIO_FLAG_WRITE)
        guard status >= 0 else { throw failed(status) }
    }

    deinit {
        if let format { avio_closep(&format.pointee.pb) }
        avformat_free_context(format)
    }

    var needsGlobalHeader: Bool { (format?.pointee.oformat.pointee.flags ?? 0) & mm_format_global_header != 0 }

    func start(_ encoder: Encoder, settings: [String: String]) throws {
        guard let format, let context = encoder.context, let stream = avformat_new_stream(format, nil) else {
            throw failed(mm_averror(ENOMEM))
        }
        self.stream = stream
        encoderTimeBase = context.pointee.time_base
        stream.pointee.time_base = encoderTimeBase
        stream.pointee.avg_frame_rate = context.pointee.framerate
        stream.pointee.sample_aspect_ratio = context.pointee.sample_aspect_ratio
        try check(avcodec_parameters_from_context(stream.pointee.codecpar, context))
        var dictionary: OpaquePointer?
        defer { av_dict_free(&dictionary) }
        for (key, value) in settings { av_dict_set(&dictionary, key, value, 0) }
        try check(avformat_write_header(format, &dictionary))
    }

    func write(_ packet: UnsafeMutablePointer<AVPacket>, duration: Int64) throws {
        guard let format, let stream else { return }
        // Without a duration MP4 loses its last frame.
        if packet.pointee.duration <= 0 { packet.pointee.duration = duration }
        av_packet_rescale_ts(packet, encoderTimeBase, stream.pointee.time_base)
        packet.pointee.stream_index = stream.pointee.index
        try check(av_interleaved_write_frame(format, packet))
    }

    /// Writes what the container keeps for the end and closes the file; a full disk shows here at the latest.
    func finish() throws {
        guard let format else { return }
        try check(av_write_trailer(format))
        avio_flush(format.pointee.pb)
        let error = format.pointee.pb?.pointee.error ?? 0
        let closed = avio_closep(&format.pointee.pb)
        try check(error)
        try check(closed)
    }

    private func check(_ status: Int32) throws {
        guard status >= 0 else { throw failed(status) }
        if let error = format?.pointee.pb?.pointee.error, error < 0 { throw failed(error) }
    }

    private func failed(_ status: Int32) -> MediaError {
        MediaError(.cannotWrite, "Writing \(destination.url.path) failed: \(statusText(status).lowercased()).")
    }
}
