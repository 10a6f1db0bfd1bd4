import Tensors

/// What is subtracted from and divided out of each colour, after levels became numbers from 0 to 1.
public struct PixelScaling: Sendable, Hashable {
    /// One number per channel.
    public var mean: [Double]
    /// One number per channel, not 0.
    public var deviation: [Double]

    /// A scaling.
    ///
    /// - Throws: ``TransformError`` for lists that are empty, differ in length or hold a deviation of 0.
    public init(mean: [Double], deviation: [Double]) throws {
        guard !mean.isEmpty, mean.count == deviation.count, (mean + deviation).allSatisfy(\.isFinite),
            !deviation.contains(where: { Float($0) == 0 })
        else {
            throw TransformError(
                "Pixels are normalised by one mean and one deviation other than 0 per channel, not by \(mean) and "
                    + "\(deviation).")
        }
        self.init(known: mean, deviation)
    }

    private init(known mean: [Double], _ deviation: [Double]) {
        self.mean = mean
        self.deviation = deviation
    }

    /// CLIP's numbers, which FLAVA and ALBEF take over.
    public static let clip = PixelScaling(
        known: [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    /// ImageNet's numbers.
    public static let imageNet = PixelScaling(known: [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    /// Kinetics' numbers, which the video models were trained with.
    public static let kinetics = PixelScaling(known: [0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989])
    /// ImageNet's with those of SUN RGB-D's disparity.
    public static let depth = PixelScaling(
        known: [0.485, 0.456, 0.406, 0.0418], [0.229, 0.224, 0.225, 0.0295])

    /// A `uint8` picture `[height, width, 3]` as `float32` planes `[3, height, width]`, normalised.
    public func apply(to image: Tensor) throws -> Tensor {
        try planes(image) { channel, level in
            (Float(level) / 255 - Float(mean[channel])) / Float(deviation[channel])
        }
    }

    /// `float32` planes `[..., channels, height, width]`, normalised; `channels` is `mean.count`.
    public func apply(toPlanes values: Tensor) throws -> Tensor {
        guard values.dtype == .float32, values.rank >= 3, values.shape[values.rank - 3] == mean.count else {
            throw TransformError(
                "Planes of \(mean.count) channels and type float32 are needed, not \(values.dtype.rawValue) of shape "
                    + "\(values.shape).")
        }
        var result = values.detached.contiguous()
        let plane = values.shape[values.rank - 1] * values.shape[values.rank - 2]
        result.withUnsafeMutableBytes { bytes in
            let numbers = bytes.bindMemory(to: Float.self)
            for index in 0..<(plane == 0 ? 0 : numbers.count / plane) {
                let (mean, deviation) = (Float(mean[index % mean.count]), Float(deviation[index % deviation.count]))
                for place in index * plane..<(index + 1) * plane {
                    numbers[place] = (numbers[place] - mean) / deviation
                }
            }
        }
        return result
    }
}

/// A `uint8` picture `[height, width, 3]` as `float32` planes `[3, height, width]`, each level by a function of its colour.
///
/// - Throws: ``TransformError`` for another shape or type.
func planes(_ image: Tensor, _ value: (_ channel: Int, _ level: UInt8) -> Float) throws -> Tensor {
    try requirePicture(image, "Making planes")
    let table = (0..<3).flatMap { channel in (0...255).map { value(channel, UInt8($0)) } }
    let plane = image.shape[0] * image.shape[1]
    var result = Tensor.zeros([3, image.shape[0], image.shape[1]])
    image.withUnsafeBytes { input in
        result.withUnsafeMutableBytes { output in
            table.withUnsafeBufferPointer { table in
                guard let from = input.baseAddress?.assumingMemoryBound(to: UInt8.self), let table = table.baseAddress,
                    let to = output.baseAddress?.assumingMemoryBound(to: Float.self)
                else { return }
                for place in 0..<plane {
                    to[place] = table[Int(from[3 * place])]
                    to[place + plane] = table[256 + Int(from[3 * place + 1])]
                    to[place + 2 * plane] = table[512 + Int(from[3 * place + 2])]
                }
            }
        }
    }
    return result
}
