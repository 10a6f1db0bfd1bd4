import CFFmpeg
import Foundation

/// Opens a file's video stream and hands out its decoded frames in the order in which they are shown.
///
/// Owns FFmpeg's structures: everything allocated here is freed in `deinit`, also when `init` throws half-way.
final class Decoder {
    /// Containers that are read, by demuxer name. Playlists and anything that can point to other files stay outside.
    private static let allowedContainers =
        "mov,matroska,avi,gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,ppm_pipe,pgm_pipe,mpegts,mpeg,flv,"
        + "ogg,ivf,yuv4mpegpipe,mjpeg,h264,hevc,m4v,asf"

    let path: String
    let head: FileHead
    private(set) var stream: UnsafeMutablePointer<AVStream>
    private(set) var container = ""
    /// Packets of the stream read so far, and those from which nothing came.
    private(set) var packetsRead = 0
    private(set) var undecodablePackets = 0
    private(set) var endedEarly = false

    private var format: UnsafeMutablePointer<AVFormatContext>?
    private var input: UnsafeMutablePointer<AVIOContext>?
    private var codec: UnsafeMutablePointer<AVCodecContext>?
    private var packet: UnsafeMutablePointer<AVPacket>?
    private var isDraining = false
    /// Whether ``packet`` was read to look at it and is still to be decoded.
    private var isPacketPending = false
    private let maximumPixels: Int
    /// The bytes that are read; the descriptor belongs to ``input``.
    private let bytes: (descriptor: Int32, range: Range<Int>)

    init(_ source: MediaSource, maximumPixels: Int, threadCount: Int) throws {
        try FFmpeg.load()
        path = source.name
        self.maximumPixels = maximumPixels
        let (descriptor, range) = try source.open()
        head = FileHead(descriptor, range)
        bytes = (descriptor, range)
        input = mm_range_open(descriptor, Int64(range.lowerBound), Int64(range.count))
        // A place to point to until the real stream is known, so that `self` is whole when something throws.
        stream = Self.placeholderStream
        if head.isAnimatedWebP {
            throw MediaError(.unreadable, "\(path) is an animated WebP, which is not read; GIF, APNG and MP4 are.")
        }
        if let size = head.size { try checkSize(size.width, size.height) }
        try openContainer()
        try chooseStream()
        try openCodec(threadCount: threadCount)
        packet = av_packet_alloc()
    }

    private nonisolated(unsafe) static let placeholderStream: UnsafeMutablePointer<AVStream> = {
        let stream = UnsafeMutablePointer<AVStream>.allocate(capacity: 1)
        stream.initialize(to: AVStream())
        return stream
    }()

    deinit {
        av_packet_free(&packet)
        avcodec_free_context(&codec)
        avformat_close_input(&format)
        mm_range_close(&input)
    }

    /// Whether the container holds still pictures only.
    var isStill: Bool { container.hasSuffix("_pipe") }

    var codecName: String { String(cString: avcodec_get_name(stream.pointee.codecpar.pointee.codec_id)) }

    /// The container's claim for the whole file in seconds; `nil` where it makes none.
    var declaredDuration: Double? {
        if let format, format.pointee.duration > 0 {
            return Double(format.pointee.duration) / Double(mm_time_base)
        }
        let duration = stream.pointee.duration
        guard duration != mm_no_timestamp, duration > 0 else { return nil }
        return Double(duration) * Self.value(stream.pointee.time_base)
    }

    static func value(_ rational: AVRational) -> Double {
        rational.den == 0 ? 0 : Double(rational.num) / Double(rational.den)
    }

    // MARK: - Opening

    private func checkSize(_ width: Int, _ height: Int) throws {
        let (pixels, overflow) = width.multipliedReportingOverflow(by: height)
        if overflow || pixels > maximumPixels {
            throw MediaError(
                .tooLarge,
                "\(path) declares \(width) x \(height) pixels, more than the \(maximumPixels) pixels a frame may have.")
        }
    }

    private func unreadable(_ status: Int32) -> MediaError {
        if head.isMovie, status == mm_error_invalid_data {
            return MediaError(
                .unreadable, "\(path) is an MP4 or MOV whose index is missing or damaged: the file is cut off.")
        }
        return MediaError(
            .unreadable, "\(path) is not a picture or video that can be read (\(statusText(status).lowercased())).")
    }

    private func openContainer() throws {
        guard let input, let context = avformat_alloc_context() else { throw unreadable(mm_averror(ENOMEM)) }
        context.pointee.pb = input
        context.pointee.flags |= mm_format_custom_io
        format = context
        var settings: OpaquePointer?
        defer { av_dict_free(&settings) }
        // What a demuxer might want to open beside its input is refused.
        av_dict_set(&settings, "protocol_whitelist", "none", 0)
        av_dict_set(&settings, "format_whitelist", Self.allowedContainers, 0)
        // No name is passed: the content alone decides the format.
        var status = avformat_open_input(&format, "", nil, &settings)
        guard status >= 0, let format else { throw unreadable(status) }
        if let name = format.pointee.iformat?.pointee.name { container = String(cString: name) }

        let count = Int(format.pointee.nb_streams)
        var streamSettings = [OpaquePointer?](repeating: nil, count: count)
        for index in 0..<count {
            av_dict_set(&streamSettings[index], "max_pixels", String(maximumPixels), 0)
            av_dict_set(&streamSettings[index], "threads", "1", 0)
        }
        status = avformat_find_stream_info(format, &streamSettings)
        for index in 0..<count { av_dict_free(&streamSettings[index]) }
        guard status >= 0 else { throw unreadable(status) }
    }

    /// Takes the video stream marked as default, else the one with most pixels, else the first; never a cover picture.
    private func chooseStream() throws {
        guard let format, let streams = format.pointee.streams else { throw noStream() }
        var best: (stream: UnsafeMutablePointer<AVStream>, rank: Int)?
        var hasCover = false
        for index in 0..<Int(format.pointee.nb_streams) {
            guard let candidate = streams[index] else { continue }
            candidate.pointee.discard = AVDISCARD_ALL
            let parameters = candidate.pointee.codecpar.pointee
            guard parameters.codec_type == AVMEDIA_TYPE_VIDEO else { continue }
            if candidate.pointee.disposition & mm_attached_picture != 0 {
                hasCover = true
                continue
            }
            let pixels = max(0, Int(parameters.width)) * max(0, Int(parameters.height))
            let rank = pixels + (candidate.pointee.disposition & mm_default_stream != 0 ? 1 << 60 : 0)
            if best == nil || rank > best?.rank ?? 0 { best = (candidate, rank) }
        }
        guard let best else { throw noStream(hasCover: hasCover) }
        best.stream.pointee.discard = AVDISCARD_DEFAULT
        stream = best.stream
        let parameters = stream.pointee.codecpar.pointee
        try checkSize(max(0, Int(parameters.width)), max(0, Int(parameters.height)))
    }

    private func noStream(hasCover: Bool = false) -> MediaError {
        MediaError(.noFrames, "\(path) has no video stream\(hasCover ? ", only a cover picture" : "").")
    }

    private func openCodec(threadCount: Int) throws {
        let parameters = stream.pointee.codecpar
        guard let decoder = avcodec_find_decoder(stream.pointee.codecpar.pointee.codec_id) else {
            throw MediaError(.unreadable, "\(path) is coded as \(codecName), for which there is no decoder.")
        }
        codec = avcodec_alloc_context3(decoder)
        guard let codec else { throw unreadable(mm_averror(ENOMEM)) }
        var status = avcodec_parameters_to_context(codec, parameters)
        guard status >= 0 else { throw unreadable(status) }
        codec.pointee.pkt_timebase = stream.pointee.time_base
        codec.pointee.max_pixels = Int64(maximumPixels)
        codec.pointee.thread_count = Int32(isStill ? 1 : threadCount)
        status = avcodec_open2(codec, decoder, nil)
        guard status >= 0 else { throw unreadable(status) }
    }

    // MARK: - Decoding

    /// Puts the next frame into `frame`; `false` at the end.
    func next(into frame: UnsafeMutablePointer<AVFrame>) throws -> Bool {
        guard let format, let codec, let packet else { return false }
        while true {
            let received = avcodec_receive_frame(codec, frame)
            if received == 0 { return true }
            if received == mm_error_eof { return false }
            if received != mm_error_again {
                undecodablePackets += 1
                if isDraining, undecodablePackets > packetsRead + 16 { return false }
                continue
            }
            if isDraining { return false }
            if !isPacketPending {
                let read = av_read_frame(format, packet)
                if read < 0 {
                    if read != mm_error_eof || (input?.pointee.error ?? 0) != 0 { endedEarly = true }
                    isDraining = true
                    _ = avcodec_send_packet(codec, nil)
                    continue
                }
            }
            isPacketPending = false
            defer { av_packet_unref(packet) }
            guard packet.pointee.stream_index == stream.pointee.index else { continue }
            packetsRead += 1
            if packet.pointee.flags & mm_packet_corrupt != 0 { endedEarly = true }
            let sent = avcodec_send_packet(codec, packet)
            if sent < 0 && sent != mm_error_again { undecodablePackets += 1 }
        }
    }

    /// Goes to the last place at or before `timestamp` (in the stream's time base) from which decoding gives the frames that
    /// decoding from the start gives; `false` when none is found, and then the decoder is of no use any more.
    func seek(to timestamp: Int64) -> Bool {
        guard let format, let codec, let packet else { return false }
        var target = timestamp
        // Where key frames do not clear what came before, the next ones seldom do.
        for _ in 0..<4 {
            guard av_seek_frame(format, stream.pointee.index, target, mm_seek_backward) >= 0 else { return false }
            repeat {
                av_packet_unref(packet)
                guard av_read_frame(format, packet) >= 0 else { return false }
            } while packet.pointee.stream_index != stream.pointee.index
            let shown = packet.pointee.pts
            guard shown != mm_no_timestamp else { break }
            // Matroska knows only when frames are shown.
            let earliest = packet.pointee.dts == mm_no_timestamp ? shown : min(packet.pointee.dts, shown)
            guard earliest <= target else { break }
            if shown <= timestamp, CleanStart.begins(with: packet, of: stream) {
                avcodec_flush_buffers(codec)
                (isDraining, isPacketPending) = (false, true)
                return true
            }
            target = earliest - 1
        }
        av_packet_unref(packet)
        return false
    }

    /// Whether seeking lands exactly: only where every frame carries its time.
    var canSeek: Bool { container.hasPrefix("mov") || container.hasPrefix("matroska") }

    /// Whether the file ends before what its index promises or lacks its end mark.
    var isTruncated: Bool {
        if endedEarly || head.lacksEndMark || head.declaredSize.map({ $0 > head.fileSize }) ?? false { return true }
        if head.isGIF { return !GIFBlocks.reachEnd(bytes.descriptor, bytes.range) }
        let count = avformat_index_get_entries_count(stream)
        guard container.hasPrefix("mov") || container == "avi", count > 0,
            let last = avformat_index_get_entry(stream, count - 1)
        else { return false }
        return Int(last.pointee.pos) + Int(last.pointee.size) > head.fileSize
    }
}
