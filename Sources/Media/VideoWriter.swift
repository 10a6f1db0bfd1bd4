import CFFmpeg
import Foundation
import Tensors

/// Writes a video, a picture or a numbered series of pictures, frame by frame.
///
/// The destination's extension decides the format: MP4 and MOV (H.264, 4:2:0, BT.709, index first: plays in browsers
/// and on phones), WebM (VP9), MKV, GIF, APNG, PNG, JPEG, WebP. A name with a number pattern (`frame_%04d.png`) writes
/// one picture per frame, numbered from 0. Everything is written under a temporary name beside the destination and
/// renamed by ``finish()``; ``cancel()`` or the writer's end removes it. Equal frames and options give equal bytes.
///
/// H.264 for browsers needs even sizes: odd ones are padded by repeating the last column or row, and
/// ``WrittenMedia/notes`` says so. A writer belongs to one task at a time.
public final class VideoWriter {
    /// How a file is written.
    public struct Options: Sendable {
        /// Constant quality of MP4, MOV and MKV, 0 (best) to 51.
        public var crf = 18
        /// Constant quality of WebM, 0 (best) to 63.
        public var webmCRF = 24
        /// Quality of JPEG and WebP, 1 to 100.
        public var imageQuality = 92
        /// Whether every pixel must survive. MP4, MOV, MKV (H.264 RGB) and WebM (VP9 RGB) then play in few players;
        /// WebP, PNG and APNG play as ever; GIF and JPEG cannot.
        public var isLossless = false
        /// Whether GIF and APNG repeat for ever.
        public var loops = true

        /// The defaults.
        public init() {}
    }

    /// Where the result will stand.
    public let url: URL
    /// The format that the extension names.
    public let format: MediaFormat
    /// Frames appended so far.
    public private(set) var frameCount = 0

    private let options: Options
    private let frameRate: Double
    private var output: FrameOutput?
    private let isSeries: Bool
    private var firstDestination: Destination?
    private var size: (width: Int, height: Int)?
    private var scratch: [UInt8] = []
    private var notes: [String] = []
    private var isClosed = false

    /// Checks the destination and creates a temporary file beside it.
    ///
    /// - Parameters:
    ///   - url: the destination; an existing file is replaced when writing has finished.
    ///   - frameRate: frames per second, above 0 and at most 1000. Ignored for pictures.
    ///   - options: how it is written.
    /// - Throws: ``MediaError``: `.unknownFormat`, `.invalidArgument`, `.librariesMissing`, `.cannotWrite`.
    public init(to url: URL, frameRate: Double, options: Options = .init()) throws {
        self.url = url
        self.options = options
        self.frameRate = frameRate
        format = try MediaFormat(destination: url)
        isSeries = format.isStill && PicturePattern(url.lastPathComponent) != nil
        guard frameRate.isFinite, frameRate > 0, frameRate <= 1000 else {
            throw MediaError(
                .invalidArgument, "A frame rate must be above 0 and at most 1000 per second, not \(frameRate).")
        }
        try Self.check(options, format)
        try FFmpeg.load()
        if !isSeries { firstDestination = try Destination(url) }
    }

    deinit { cancel() }

    /// Adds one frame or several.
    ///
    /// - Parameter pixels: `[height, width, 3]` or `[frames, height, width, 3]`, `uint8`; every frame has the first
    ///   one's size.
    /// - Throws: ``MediaError``: `.invalidPixels`, `.cannotWrite`. The writer is of no more use then.
    public func append(_ pixels: Tensor) throws {
        guard !isClosed else {
            throw MediaError(.cannotWrite, "Frames cannot be added to \(url.path) after it was finished or cancelled.")
        }
        guard pixels.dtype == .uint8, pixels.rank == 3 || pixels.rank == 4, pixels.shape.last == 3 else {
            throw MediaError(
                .invalidPixels,
                "Frames are uint8 of shape [height, width, 3] or [frames, height, width, 3], not "
                    + "\(pixels.dtype.rawValue) of shape \(pixels.shape).")
        }
        let count = pixels.rank == 4 ? pixels.shape[0] : 1
        let (height, width) = (pixels.shape[pixels.rank - 3], pixels.shape[pixels.rank - 2])
        guard width > 0, height > 0 else {
            throw MediaError(.invalidPixels, "A frame of \(width) x \(height) pixels cannot be written.")
        }
        if let size, size != (width, height) {
            throw MediaError(
                .invalidPixels,
                "Frame \(frameCount + 1) of \(url.path) has \(width) x \(height) pixels, the first one had "
                    + "\(size.width) x \(size.height).")
        }
        if count > 0, format.isStill, !isSeries, frameCount + count > 1 {
            throw MediaError(
                .invalidArgument,
                "\(url.lastPathComponent) holds one picture, not several frames; use a name with a number, such as "
                    + "\(url.deletingPathExtension().lastPathComponent)_%04d.\(url.pathExtension), or .mp4, .gif or .apng."
            )
        }
        do {
            try pixels.withUnsafeBytes { bytes in
                guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
                for index in 0..<count {
                    try appendOne(base + index * width * height * 3, width: width, height: height)
                }
            }
        } catch {
            cancel()
            throw error
        }
    }

    /// Completes the file and gives it its name.
    ///
    /// - Throws: ``MediaError``: `.noFrames` when nothing was appended, `.cannotWrite` when the disk is full. Nothing
    ///   is left behind then.
    public func finish() throws -> WrittenMedia {
        guard !isClosed else {
            throw MediaError(.cannotWrite, "\(url.path) was finished or cancelled before.")
        }
        defer { cancel() }
        guard let output, let size else {
            throw MediaError(.noFrames, "\(url.path) was not written: there are no frames.")
        }
        let files = try output.finish()
        return WrittenMedia(
            files: files, format: format, frameCount: frameCount,
            width: needsEvenSize ? size.width + size.width % 2 : size.width,
            height: needsEvenSize ? size.height + size.height % 2 : size.height, notes: notes)
    }

    /// Gives up: what was written is removed, and a file that stood at the destination stays as it was.
    public func cancel() {
        isClosed = true
        output = nil
        firstDestination?.discard()
        firstDestination = nil
    }

    // MARK: - Parts

    private var needsEvenSize: Bool {
        (format == .mp4 || format == .mov || format == .mkv) && !options.isLossless
    }

    private static func check(_ options: Options, _ format: MediaFormat) throws {
        func need(_ value: Int, _ range: ClosedRange<Int>, _ name: String) throws {
            guard range.contains(value) else {
                throw MediaError(
                    .invalidArgument,
                    "\(name) must be from \(range.lowerBound) to \(range.upperBound), not \(value).")
            }
        }
        try need(options.crf, 0...51, "The constant quality of MP4")
        try need(options.webmCRF, 0...63, "The constant quality of WebM")
        try need(options.imageQuality, 1...100, "The quality of pictures")
        if options.isLossless, format == .gif || format == .jpeg {
            throw MediaError(
                .invalidArgument, "\(format.rawValue.uppercased()) cannot be lossless; .png, .apng, .webp and .mp4 can."
            )
        }
    }

    private func appendOne(_ pixels: UnsafePointer<UInt8>, width: Int, height: Int) throws {
        let (outWidth, outHeight) = needsEvenSize ? (width + width % 2, height + height % 2) : (width, height)
        // A spare row's end: swscale may read a few bytes past the last pixel.
        let stride = (outWidth * 3 + 63) & ~63
        if size == nil {
            size = (width, height)
            scratch = [UInt8](repeating: 0, count: stride * outHeight + 64)
            if (outWidth, outHeight) != (width, height) {
                notes.append(
                    "\(width) x \(height) pixels were padded to \(outWidth) x \(outHeight), because H.264 video needs even "
                        + "sizes; .webm and .png keep odd ones.")
            }
            output = try makeOutput(width: outWidth, height: outHeight)
        }
        scratch.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            for y in 0..<outHeight {
                let row = base + y * stride
                row.update(from: pixels + min(y, height - 1) * width * 3, count: width * 3)
                if outWidth > width { (row + width * 3).update(from: row + (width - 1) * 3, count: 3) }
            }
        }
        try scratch.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            try output?.append(rgb: base, stride: stride)
        }
        frameCount += 1
    }

    private func makeOutput(width: Int, height: Int) throws -> FrameOutput {
        let name = url.lastPathComponent
        if format.isStill {
            return try PictureOutput(
                url: url, single: firstDestination, width: width, height: height, settings: pictureSettings(),
                name: name)
        }
        guard let destination = firstDestination else {
            throw MediaError(.cannotWrite, "\(url.path) was finished or cancelled before.")
        }
        if format == .gif {
            if frameRate > 50 {
                notes.append("GIF shows at most 50 frames per second; the \(frameRate) asked for were slowed to 50.")
            }
            return try GIFOutput(
                destination, width: width, height: height, frameRate: min(frameRate, 50), loops: options.loops)
        }
        return try ContainerOutput(
            destination, container: format == .mkv ? "matroska" : format.rawValue, width: width, height: height,
            frameRate: rationalFrameRate(frameRate), encoder: videoSettings(), muxer: muxerSettings(), name: name)
    }

    private func muxerSettings() -> [String: String] {
        switch format {
        case .mp4, .mov: ["movflags": "+faststart"]
        case .apng: ["plays": options.loops ? "0" : "1"]
        default: [:]
        }
    }

    private func videoSettings() -> EncoderSettings {
        let interval = Int32(max(12, min(250, (frameRate * 2).rounded())))
        switch format {
        case .webm:
            return EncoderSettings(
                codec: "libvpx-vp9", pixelFormat: options.isLossless ? AV_PIX_FMT_GBRP : AV_PIX_FMT_YUV420P,
                matrix: options.isLossless ? AVCOL_SPC_UNSPECIFIED : AVCOL_SPC_BT709,
                settings: [
                    "crf": options.isLossless ? "0" : "\(options.webmCRF)", "b": "0", "deadline": "good",
                    "cpu-used": "4",
                    "row-mt": "1",
                    "lossless": options.isLossless ? "1" : "0",
                ], threads: 2, keyFrameInterval: interval)
        case .apng:
            return EncoderSettings(
                codec: "apng", pixelFormat: AV_PIX_FMT_RGB24, settings: ["pred": "up", "compression_level": "3"])
        default:
            if options.isLossless {
                return EncoderSettings(
                    codec: "libx264rgb", pixelFormat: AV_PIX_FMT_RGB24, settings: ["qp": "0", "preset": "medium"],
                    threads: 4, keyFrameInterval: interval)
            }
            return EncoderSettings(
                codec: "libx264", pixelFormat: AV_PIX_FMT_YUV420P, matrix: AVCOL_SPC_BT709,
                settings: ["crf": "\(options.crf)", "preset": "medium", "profile": "high"], threads: 4,
                keyFrameInterval: interval)
        }
    }

    private func pictureSettings() -> EncoderSettings {
        switch format {
        case .jpeg:
            // Quality 1...100 onto the quantizer scale 31...2 of the encoder; colour in full resolution when high.
            return EncoderSettings(
                codec: "mjpeg", pixelFormat: options.imageQuality >= 90 ? AV_PIX_FMT_YUVJ444P : AV_PIX_FMT_YUVJ420P,
                isFullRange: true, quantizer: Int32(31 - (options.imageQuality - 1) * 29 / 99))
        case .webp:
            return EncoderSettings(
                codec: "libwebp", pixelFormat: AV_PIX_FMT_BGRA,
                settings: ["lossless": options.isLossless ? "1" : "0", "quality": "\(options.imageQuality)"])
        default:
            return EncoderSettings(codec: "png", pixelFormat: AV_PIX_FMT_RGB24, settings: ["pred": "mixed"])
        }
    }
}

/// A rate as a ratio of small numbers; 23.976 and its kin as n * 1000 / 1001.
func rationalFrameRate(_ rate: Double) -> AVRational {
    let scaled = (rate * 1.001).rounded()
    if rate != rate.rounded(), scaled >= 1, abs(rate * 1.001 - scaled) < 1e-3 * 1.001 {
        return AVRational(num: Int32(scaled) * 1000, den: 1001)
    }
    return av_d2q(rate, 1_001_000)
}
