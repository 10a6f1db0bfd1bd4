import CFFmpeg
import Foundation
import Tensors

/// One frame as shown, with its time.
public struct VideoFrame: Sendable {
    /// Pixels, `[height, width, 3]`, `uint8`, red first.
    public var pixels: Tensor
    /// Seconds from the first frame of the file.
    public var timestamp: Double
    /// Whether the decoder marked the frame as damaged.
    public var isDamaged: Bool
}

/// Reads a picture or a video frame by frame, or samples it by time or by index.
///
/// MP4, MOV, WebM, MKV, AVI, GIF, APNG, PNG, JPEG, WebP (still) and what else FFmpeg decodes from a plain file;
/// playlists and network addresses are refused. Every frame comes out upright (display matrix and EXIF orientation
/// applied) as 8-bit RGB of the first frame's exact size, with the file's own range and matrix honoured; transparent
/// pixels lie over ``Options/background``. Timestamps are the file's own, shifted so that the first frame is at 0.
///
/// A reader belongs to one task at a time; open one per thread.
public final class VideoReader {
    /// How a file is read.
    public struct Options: Sendable {
        /// The most pixels a frame may have; more is refused from the header, before decoding.
        public var maximumPixels = 1 << 26
        /// The most bytes that one call may return: 8 GiB where the machine has them; longer videos are read frame by
        /// frame or sampled.
        public var maximumClipBytes = min(8 << 30, Int(MachineMemory.byteCount))
        /// Whether rotation and mirroring that the file asks for are applied.
        public var appliesOrientation = true
        /// Whether a damaged frame or a cut-off file is an error instead of a count in the report.
        public var isStrict = false
        /// Decoder threads; 0 takes one per core, 4 at most. The pixels do not depend on it.
        public var threadCount = 0
        /// What shows through transparent pixels; black unless told.
        public var background: (red: UInt8, green: UInt8, blue: UInt8) = (0, 0, 0)
        /// Whether transparency is passed over: every pixel shows the colour that is stored under it.
        public var ignoresTransparency = false

        /// The defaults.
        public init() {}
    }

    /// Where the bytes lie.
    public let source: MediaSource
    /// What is known of the file before its frames are read.
    public let info: VideoInfo
    /// What decoding found so far.
    public private(set) var report = DecodeReport()

    let options: Options
    private var decoder: Decoder
    private let converter: FrameConverter
    let frame: OwnedFrame
    private let heldFrame: OwnedFrame
    private var heldBuffer: PixelBuffer?
    private var heldBytes: UnsafeRawPointer?
    /// Whether `frame` holds a frame that was not handed out yet.
    private var isFramePending = true
    /// Whether `frame` holds a decoded frame at all.
    private var hasCurrent = true
    private let firstTimestamp: Int64
    private var lastTime: Double?
    private let step: Double

    /// Opens a file and decodes its first frame.
    ///
    /// - Throws: ``MediaError``: `.fileNotFound`, `.notAFile`, `.unreadable`, `.noFrames`, or `.tooLarge` for more
    ///   pixels than ``Options/maximumPixels``.
    public convenience init(_ url: URL, options: Options = .init()) throws {
        try self.init(MediaSource(url), options: options)
    }

    /// Opens a file or a part of one and decodes its first frame.
    ///
    /// - Throws: as ``init(_:options:)`` of a file.
    public init(_ source: MediaSource, options: Options = .init()) throws {
        self.source = source
        self.options = options
        let threads =
            options.threadCount > 0 ? options.threadCount : min(4, ProcessInfo.processInfo.activeProcessorCount)
        decoder = try Decoder(source, maximumPixels: options.maximumPixels, threadCount: threads)
        frame = try OwnedFrame()
        heldFrame = try OwnedFrame()
        guard try decoder.next(into: frame.pointer) else {
            if decoder.undecodablePackets > 0 || decoder.isTruncated {
                throw MediaError(
                    .unreadable, "No frame of \(source.name) could be decoded: the file is damaged or cut off.")
            }
            throw MediaError(.noFrames, "\(source.name) has a video stream without frames.")
        }
        let orientation = options.appliesOrientation ? Self.orientation(of: frame.pointer, decoder) : Orientation()
        let (width, height) = (Int(frame.pointer.pointee.width), Int(frame.pointer.pointee.height))
        converter = FrameConverter(
            storedWidth: width, storedHeight: height, orientation: orientation,
            background: options.ignoresTransparency ? nil : options.background)
        firstTimestamp = frame.pointer.pointee.best_effort_timestamp
        info = Self.describe(decoder, frame.pointer, shown: orientation.shownSize(width: width, height: height))
        let unit = Decoder.value(decoder.stream.pointee.time_base)
        let declared = Double(mm_frame_duration(frame.pointer)) * unit
        step = declared > 0 && declared.isFinite ? declared : 1 / info.frameRate
    }

    // MARK: - Frame by frame

    /// The next frame; `nil` after the last one.
    ///
    /// - Throws: ``MediaError`` with code `.damaged` for a damaged frame when the reader is strict.
    public func nextFrame() throws -> VideoFrame? {
        guard let time = try advance() else { return nil }
        var pixels = Tensor.zeros([info.height, info.width, 3], dtype: .uint8)
        try pixels.withUnsafeMutableBytes { bytes in
            if let base = bytes.baseAddress { try convert(to: base) }
        }
        return VideoFrame(pixels: pixels, timestamp: time, isDamaged: isCurrentDamaged)
    }

    /// Passes over the next frame without converting it; its time, or `nil` after the last one.
    public func skipFrame() throws -> Double? { try advance() }

    /// Passes over frames, so that the next one is on screen at `time` or shown before: as many as can be left out without
    /// changing a bit of those that follow. Only for files whose frames all have times that grow
    /// (``DecodeReport/replacedTimes``).
    ///
    /// - Parameter time: seconds from the first frame.
    public func jump(to time: Double) throws { try approach(time) }

    /// Keeps the frame that ``skipFrame()`` has just passed over, while others are decoded; nothing is converted yet.
    public func holdFrame() throws { try hold() }

    /// The pixels of the kept frame, `[height, width, 3]`, `uint8`; converted when they are first asked for.
    ///
    /// - Precondition: ``holdFrame()`` was called.
    public func heldPixels() throws -> Tensor {
        var pixels = Tensor.zeros([info.height, info.width, 3], dtype: .uint8)
        try pixels.withUnsafeMutableBytes { bytes in
            if let base = bytes.baseAddress { try copyHeld(to: base) }
        }
        return pixels
    }

    /// Starts again from the first frame; the report starts anew.
    public func rewind() throws {
        decoder = try Decoder(
            source, maximumPixels: options.maximumPixels,
            threadCount: options.threadCount > 0
                ? options.threadCount : min(4, ProcessInfo.processInfo.activeProcessorCount))
        report = DecodeReport()
        lastTime = nil
        isFramePending = false
        hasCurrent = false
    }

    /// Calls `body` with every frame that is left, one at a time.
    public func forEachFrame(_ body: (VideoFrame) throws -> Void) throws {
        while let frame = try nextFrame() { try body(frame) }
    }

    // MARK: - For the sampling in the other files

    /// Bytes of one frame as shown.
    var frameBytes: Int { info.width * info.height * 3 }

    /// How long a frame of constant rate is shown, in seconds.
    public var nominalStep: Double { step }

    /// Half the resolution of the file's times: a frame that appears this little after a wanted time counts as shown,
    /// because containers round.
    public var timeTolerance: Double {
        let unit = Decoder.value(decoder.stream.pointee.time_base)
        // Where the unit is the frame itself, times are exact.
        return abs(unit - step) < 0.01 * step ? 1e-6 : min(0.5 * unit, step / 8) + 1e-6
    }

    /// Decodes the next frame and returns its time; ``convert(to:)`` then yields its pixels.
    func advance() throws -> Double? {
        if !isFramePending {
            hasCurrent = false
            guard try decoder.next(into: frame.pointer) else {
                try noteEnd()
                return nil
            }
        }
        isFramePending = false
        hasCurrent = true
        report.decodedFrames += 1
        report.undecodablePackets = decoder.undecodablePackets
        if isCurrentDamaged {
            report.damagedFrames += 1
            if options.isStrict {
                throw MediaError(.damaged, "Frame \(report.decodedFrames) of \(source.name) is damaged.")
            }
        }
        let (width, height) = (Int(frame.pointer.pointee.width), Int(frame.pointer.pointee.height))
        if width != converter.storedWidth || height != converter.storedHeight { report.rescaledFrames += 1 }
        return timeOfCurrent()
    }

    /// Writes the current frame's pixels, ``frameBytes`` of them.
    func convert(to destination: UnsafeMutableRawPointer) throws {
        try converter.convert(frame.pointer, to: destination.assumingMemoryBound(to: UInt8.self))
    }

    /// Keeps the current frame while others are decoded.
    func hold() throws {
        av_frame_unref(heldFrame.pointer)
        guard av_frame_ref(heldFrame.pointer, frame.pointer) >= 0 else {
            throw MediaError(.unreadable, "There is no memory for a frame of \(source.name).")
        }
        heldBytes = nil
    }

    /// Writes the kept frame's pixels, converted the first time they are asked for.
    func copyHeld(to destination: UnsafeMutableRawPointer) throws {
        if let heldBytes {
            destination.copyMemory(from: heldBytes, byteCount: frameBytes)
        } else {
            try converter.convert(heldFrame.pointer, to: destination.assumingMemoryBound(to: UInt8.self))
            let buffer = heldBuffer ?? PixelBuffer(frameBytes: frameBytes, capacity: 1)
            let memory = buffer.frameCount == 0 ? try buffer.appendFrame() : buffer.base
            memory?.copyMemory(from: destination, byteCount: frameBytes)
            heldBuffer = buffer
            heldBytes = memory.map { UnsafeRawPointer($0) }
        }
    }

    /// Moves so that ``advance()`` returns a frame at or before `time`; decodes from the start where seeking is inexact.
    func approach(_ time: Double) throws {
        let position = lastTime ?? 0
        if let lastTime {
            // The frame that was decoded last may be the one on screen: it is handed out again.
            if hasCurrent, lastTime <= time, ownTime.map({ $0 == lastTime }) ?? false {
                isFramePending = true
                self.lastTime = nil
                report.decodedFrames -= 1
            } else {
                try rewind()
            }
        } else if !isFramePending, report.decodedFrames > 0 {
            try rewind()
        }
        // Short distances are decoded; the frames of a key frame interval would be decoded anyway.
        guard decoder.canSeek, firstTimestamp != mm_no_timestamp, time - position > 0.5 else { return }
        let unit = Decoder.value(decoder.stream.pointee.time_base)
        guard unit > 0, (time / unit).isFinite, abs(time / unit) < 1e17 else { return }
        let target = firstTimestamp + Int64(time / unit)
        guard decoder.seek(to: target), try decoder.next(into: frame.pointer),
            frame.pointer.pointee.best_effort_timestamp != mm_no_timestamp,
            frame.pointer.pointee.best_effort_timestamp <= target
        else { return try rewind() }
        lastTime = nil
        isFramePending = true
        hasCurrent = true
    }

    private var isCurrentDamaged: Bool {
        frame.pointer.pointee.flags & mm_frame_corrupt != 0 || frame.pointer.pointee.decode_error_flags != 0
    }

    private func noteEnd() throws {
        report.undecodablePackets = decoder.undecodablePackets
        report.isTruncated = decoder.isTruncated
        if options.isStrict, let summary = report.summary, !report.isClean {
            throw MediaError(.damaged, "\(source.name) is damaged: \(summary).")
        }
    }

    /// The current frame's own time; `nil` where the file gives it none.
    private var ownTime: Double? {
        let stamp = frame.pointer.pointee.best_effort_timestamp
        guard stamp != mm_no_timestamp, firstTimestamp != mm_no_timestamp else { return nil }
        let time = (Double(stamp) - Double(firstTimestamp)) * Decoder.value(decoder.stream.pointee.time_base)
        return time.isFinite ? time : nil
    }

    /// Times must grow: a missing, repeated or falling one is replaced by the frame before plus one step.
    private func timeOfCurrent() -> Double {
        var time = lastTime.map { $0 + step } ?? 0
        if let own = ownTime, lastTime.map({ own > $0 }) ?? true { time = own } else { report.replacedTimes += 1 }
        lastTime = time
        return time
    }

    private static func orientation(of frame: UnsafeMutablePointer<AVFrame>, _ decoder: Decoder) -> Orientation {
        if let entry = av_dict_get(frame.pointee.metadata, "Orientation", nil, 0), let text = entry.pointee.value,
            let value = Int(String(cString: text).trimmingCharacters(in: .whitespaces)),
            let orientation = Orientation(exif: value)
        {
            return orientation
        }
        if let matrix = mm_frame_display_matrix(frame) ?? mm_stream_display_matrix(decoder.stream) {
            return Orientation(displayMatrix: matrix)
        }
        return Orientation()
    }

    private static func describe(
        _ decoder: Decoder, _ frame: UnsafeMutablePointer<AVFrame>, shown: (width: Int, height: Int)
    ) -> VideoInfo {
        let stream = decoder.stream.pointee
        let rates = [stream.avg_frame_rate, stream.r_frame_rate].map(Decoder.value)
        let rate = rates.first { $0.isFinite && $0 >= 0.001 && $0 <= 1000 } ?? 25
        let aspect = Decoder.value(frame.pointee.sample_aspect_ratio)
        var warnings: [String] = []
        if frame.pointee.color_trc == AVCOL_TRC_SMPTE2084 || frame.pointee.color_trc == AVCOL_TRC_ARIB_STD_B67 {
            warnings.append("\(decoder.path) has high dynamic range, which is not tone-mapped: colours look flat.")
        }
        return VideoInfo(
            width: shown.width, height: shown.height,
            frameCount: decoder.isStill ? 1 : stream.nb_frames > 0 ? Int(stream.nb_frames) : nil,
            duration: decoder.isStill ? nil : decoder.declaredDuration, frameRate: decoder.isStill ? 1 : rate,
            codec: decoder.codecName,
            pixelFormat: av_get_pix_fmt_name(AVPixelFormat(rawValue: frame.pointee.format)).map { String(cString: $0) }
                ?? "unknown",
            container: decoder.container.split(separator: ",").first.map(String.init) ?? decoder.container,
            isStill: decoder.isStill, pixelAspectRatio: aspect > 0 ? aspect : 1, warnings: warnings)
    }
}

/// An `AVFrame` that is freed with its owner.
final class OwnedFrame {
    let pointer: UnsafeMutablePointer<AVFrame>

    init() throws {
        guard let frame = av_frame_alloc() else { throw MediaError(.unreadable, "There is no memory for a frame.") }
        pointer = frame
    }

    deinit {
        var pointer: UnsafeMutablePointer<AVFrame>? = pointer
        av_frame_free(&pointer)
    }
}
