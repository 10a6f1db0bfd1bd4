import CFFmpeg
import Tensors

extension VideoReader {
    /// The next frame's levels as they are stored, for pictures whose levels are measurements and no colours: depth.
    ///
    /// - Returns: `[height, width]`, `float32`, from 0 to 65,535 (16-bit gray) or 255 (8-bit gray), as stored and not turned;
    ///   `nil` after the last frame.
    /// - Throws: ``MediaError`` with code `.invalidPixels` for anything but gray.
    public func nextGrayLevels() throws -> Tensor? {
        guard try advance() != nil else { return nil }
        let picture = frame.pointer.pointee
        guard let name = av_get_pix_fmt_name(AVPixelFormat(rawValue: picture.format)).map({ String(cString: $0) }),
            ["gray", "gray16le", "gray16be"].contains(name), let base = picture.data.0
        else {
            throw MediaError(
                .invalidPixels, "\(source.name) has pixels of the kind \(info.pixelFormat); gray ones are needed.")
        }
        let (width, height, stride) = (Int(picture.width), Int(picture.height), Int(picture.linesize.0))
        var levels = [Float](repeating: 0, count: width * height)
        for y in 0..<height {
            let row = base + y * stride
            for x in 0..<width {
                switch name {
                case "gray": levels[y * width + x] = Float(row[x])
                case "gray16le": levels[y * width + x] = Float(Int(row[2 * x]) | Int(row[2 * x + 1]) << 8)
                default: levels[y * width + x] = Float(Int(row[2 * x]) << 8 | Int(row[2 * x + 1]))
                }
            }
        }
        return Tensor(levels, shape: [height, width])
    }
}
