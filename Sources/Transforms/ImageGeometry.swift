import Foundation
import Media
import Tensors

/// A height and a width in pixels.
public struct ImageSize: Sendable, Hashable {
    /// Rows.
    public var height: Int
    /// Columns.
    public var width: Int

    /// A size.
    public init(height: Int, width: Int) {
        self.height = height
        self.width = width
    }

    /// A square.
    public init(_ side: Int) { self.init(height: side, width: side) }
}

/// A part of a picture: the top left pixel and the size, in whole pixels.
public struct ImageCrop: Sendable, Hashable {
    /// The first row.
    public var top: Int
    /// The first column.
    public var left: Int
    /// Rows.
    public var height: Int
    /// Columns.
    public var width: Int

    /// A part.
    public init(top: Int, left: Int, height: Int, width: Int) {
        self.top = top
        self.left = left
        self.height = height
        self.width = width
    }

    /// The size alone.
    public var size: ImageSize { ImageSize(height: height, width: width) }
}

/// What a picture is resized to.
public enum ResizeTarget: Sendable, Hashable {
    /// Exactly this size, whatever the proportions.
    case exactly(ImageSize)
    /// Proportions stay; the shorter side gets this length, or less where the longer one would pass `longest`.
    case shorterSide(Int, longest: Int? = nil)

    /// The size that a picture of this size gets; the longer side is rounded down, as torchvision does.
    public func size(of size: ImageSize) -> ImageSize {
        switch self {
        case .exactly(let size): return size
        case .shorterSide(let side, let longest):
            let (short, long) = (min(size.height, size.width), max(size.height, size.width))
            var (newShort, newLong) = (side, Int(Double(side * long) / Double(short)))
            if let longest, newLong > longest { (newShort, newLong) = (longest * newShort / newLong, longest) }
            newShort = max(1, newShort)
            return size.width <= size.height
                ? ImageSize(height: newLong, width: newShort) : ImageSize(height: newShort, width: newLong)
        }
    }
}

extension Tensor {
    /// The size of a picture `[height, width, 3]`.
    var imageSize: ImageSize { ImageSize(height: shape[0], width: shape[1]) }

    /// A part of a picture `[height, width, channels]`; what lies outside the picture is 0.
    func cropped(_ crop: ImageCrop) -> Tensor {
        let (top, left) = (max(0, crop.top), max(0, crop.left))
        let bottom = max(top, min(shape[0], crop.top + crop.height))
        let right = max(left, min(shape[1], crop.left + crop.width))
        if bottom - top == crop.height, right - left == crop.width {
            return sliced(0, top..<bottom).sliced(1, left..<right).contiguous()
        }
        var result = Tensor.zeros([crop.height, crop.width, shape[2]], dtype: dtype)
        guard bottom > top, right > left, bottom <= shape[0], right <= shape[1] else { return result }
        let rowBytes = (right - left) * shape[2] * dtype.byteCount
        let inner = sliced(0, top..<bottom).sliced(1, left..<right)
        inner.withUnsafeBytes { input in
            result.withUnsafeMutableBytes { output in
                guard let from = input.baseAddress, let to = output.baseAddress else { return }
                for row in 0..<bottom - top {
                    let place = (row + top - crop.top) * crop.width + left - crop.left
                    (to + place * shape[2] * dtype.byteCount).copyMemory(
                        from: from + row * rowBytes, byteCount: rowBytes)
                }
            }
        }
        return result
    }

    /// The middle of a picture `[height, width, channels]`; a smaller picture gets a black frame, as in torchvision.
    func centerCropped(_ size: ImageSize) -> Tensor {
        let corner = ImageSize.middle(of: imageSize, size)
        return cropped(
            ImageCrop(top: corner.top, left: corner.left, height: size.height, width: size.width))
    }

    /// A picture `[height, width, channels]` with left and right exchanged.
    func mirrored() -> Tensor {
        var result = Tensor.zeros(shape, dtype: dtype)
        let pixelBytes = shape[2] * dtype.byteCount
        let width = shape[1]
        withUnsafeBytes { input in
            result.withUnsafeMutableBytes { output in
                guard let from = input.baseAddress, let to = output.baseAddress else { return }
                for y in 0..<shape[0] {
                    for x in 0..<width {
                        (to + (y * width + x) * pixelBytes).copyMemory(
                            from: from + (y * width + width - 1 - x) * pixelBytes, byteCount: pixelBytes)
                    }
                }
            }
        }
        return result
    }
}

/// Refuses what is not a picture `[height, width, 3]` of `uint8` with at least one pixel.
func requirePicture(_ image: Tensor, _ transform: String) throws {
    guard image.dtype == .uint8, image.rank == 3, image.shape[2] == 3, image.shape[0] > 0, image.shape[1] > 0 else {
        throw TransformError(
            "\(transform) takes a uint8 picture of shape [height, width, 3], not \(image.dtype.rawValue) of shape "
                + "\(image.shape).")
    }
}

/// The most that a side can be after a resize.
let longestSide = 1 << 16

/// A picture in another size, with Pillow's pixels.
func resized(_ image: Tensor, _ size: ImageSize, _ method: Resampling) throws -> Tensor {
    guard (1...longestSide).contains(size.height), (1...longestSide).contains(size.width) else {
        throw TransformError(
            "A picture of \(image.shape[1]) x \(image.shape[0]) pixels cannot be resized to \(size.width) x "
                + "\(size.height); sides from 1 to \(longestSide) are allowed.")
    }
    return try Media.resized(image, width: size.width, height: size.height, method)
}
