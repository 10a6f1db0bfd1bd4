import CFFmpeg

/// Turns decoded frames of any pixel format into dense RGB rows of one size.
///
/// Range and matrix are taken from each frame. Where the file does not say: YUV is limited range with the BT.601
/// matrix (as FFmpeg's own tools assume), gray is full range. Deeper samples are reduced to 8 bits, palettes are
/// looked up, and transparent pixels are laid over `background`. High dynamic range is not tone-mapped.
final class FrameConverter {
    /// The size before orientation that every frame is brought to.
    let storedWidth: Int
    let storedHeight: Int
    let orientation: Orientation
    /// What shows through; without one, pixels show the colour that is stored under their transparency.
    let background: (red: UInt8, green: UInt8, blue: UInt8)?

    private struct Source: Equatable {
        var width: Int32
        var height: Int32
        var format: Int32
        var range: Int32
        var matrix: Int32
    }
    private var source: Source?
    private var context: OpaquePointer?
    private var hasAlpha = false
    /// Rows are converted here first: swscale may write a few bytes past the end of a row.
    private var scratch: UnsafeMutablePointer<UInt8>
    private let stride: Int

    init(
        storedWidth: Int, storedHeight: Int, orientation: Orientation,
        background: (red: UInt8, green: UInt8, blue: UInt8)?
    ) {
        self.storedWidth = storedWidth
        self.storedHeight = storedHeight
        self.orientation = orientation
        self.background = background
        stride = (storedWidth * 4 + 127) & ~63
        scratch = .allocate(capacity: stride * storedHeight + 64)
    }

    deinit {
        sws_freeContext(context)
        scratch.deallocate()
    }

    /// Writes `frame` as shown, `shownHeight * shownWidth * 3` bytes.
    /// - Throws: ``MediaError`` with code `.unreadable` for a pixel format that cannot be converted.
    func convert(_ frame: UnsafeMutablePointer<AVFrame>, to destination: UnsafeMutablePointer<UInt8>) throws {
        try prepare(for: frame)
        guard mm_scale_to_packed(context, frame, scratch, Int32(stride)) == Int32(storedHeight) else {
            throw MediaError(.unreadable, "A frame's pixels could not be converted to RGB.")
        }
        if hasAlpha { flatten() }
        orientation.copy(
            from: scratch, stride: stride, width: storedWidth, height: storedHeight, to: destination)
    }

    private func prepare(for frame: UnsafeMutablePointer<AVFrame>) throws {
        let (format, isFull) = Self.plainFormat(frame.pointee.format)
        guard let description = av_pix_fmt_desc_get(AVPixelFormat(rawValue: format)),
            description.pointee.flags & mm_pixel_format_hardware == 0
        else { throw MediaError(.unreadable, "The frames have a pixel format that is not known here.") }
        let isGray = description.pointee.nb_components <= 2 && description.pointee.flags & mm_pixel_format_rgb == 0
        let range: Int32 =
            switch frame.pointee.color_range {
            case AVCOL_RANGE_JPEG: 1
            case AVCOL_RANGE_MPEG: isFull ? 1 : 0
            default: isFull || isGray ? 1 : 0
            }
        let matrix = frame.pointee.colorspace
        let key = Source(
            width: frame.pointee.width, height: frame.pointee.height, format: format, range: range,
            matrix: matrix == AVCOL_SPC_UNSPECIFIED || matrix == AVCOL_SPC_RGB
                ? Int32(AVCOL_SPC_SMPTE170M.rawValue) : Int32(matrix.rawValue))
        if key == source { return }
        sws_freeContext(context)
        source = nil
        hasAlpha = description.pointee.flags & (mm_pixel_format_alpha | mm_pixel_format_palette) != 0
        context = sws_getContext(
            key.width, key.height, AVPixelFormat(rawValue: format), Int32(storedWidth), Int32(storedHeight),
            hasAlpha ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24, mm_scale_accurate, nil, nil, nil)
        guard context != nil else {
            let name = av_get_pix_fmt_name(AVPixelFormat(rawValue: format)).map { String(cString: $0) } ?? "unknown"
            throw MediaError(.unreadable, "Frames in the pixel format \(name) cannot be converted to RGB.")
        }
        // Conversions that do not go through YUV refuse this; they need none of it.
        _ = mm_set_color(context, key.matrix, key.range, key.matrix, 1)
        source = key
    }

    /// The format without the deprecated full-range twins, and whether it was one of those.
    private static func plainFormat(_ format: Int32) -> (format: Int32, isFull: Bool) {
        switch AVPixelFormat(rawValue: format) {
        case AV_PIX_FMT_YUVJ420P: (AV_PIX_FMT_YUV420P.rawValue, true)
        case AV_PIX_FMT_YUVJ422P: (AV_PIX_FMT_YUV422P.rawValue, true)
        case AV_PIX_FMT_YUVJ444P: (AV_PIX_FMT_YUV444P.rawValue, true)
        case AV_PIX_FMT_YUVJ440P: (AV_PIX_FMT_YUV440P.rawValue, true)
        case AV_PIX_FMT_YUVJ411P: (AV_PIX_FMT_YUV411P.rawValue, true)
        default: (format, false)
        }
    }

    /// Lays RGBA rows in `scratch` over the background, leaving RGB rows with the same stride.
    private func flatten() {
        guard let background else { return dropAlpha() }
        let (red, green, blue) = (Int(background.red), Int(background.green), Int(background.blue))
        for y in 0..<storedHeight {
            let row = scratch + y * stride
            for x in 0..<storedWidth {
                let from = row + x * 4
                let to = row + x * 3
                let alpha = Int(from[3])
                let rest = 255 - alpha
                let mixed = (
                    (Int(from[0]) * alpha + red * rest + 127) / 255,
                    (Int(from[1]) * alpha + green * rest + 127) / 255,
                    (Int(from[2]) * alpha + blue * rest + 127) / 255
                )
                to[0] = UInt8(truncatingIfNeeded: mixed.0)
                to[1] = UInt8(truncatingIfNeeded: mixed.1)
                to[2] = UInt8(truncatingIfNeeded: mixed.2)
            }
        }
    }

    private func dropAlpha() {
        for y in 0..<storedHeight {
            let row = scratch + y * stride
            for x in 0..<storedWidth { (row + x * 3).update(from: row + x * 4, count: 3) }
        }
    }
}
