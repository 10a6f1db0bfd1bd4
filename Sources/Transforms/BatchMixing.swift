import Foundation
import Tensors

/// Mixes each item of a batch with the one before it: all of both (mixup), or a box of the one into the other (cutmix).
///
/// Source: Zhang et al. 2018, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899; follows `RandomMixup` and `RandomCutmix` of
/// examples/omnivore/data/transforms.py of TorchMultimodal, of which training draws one for each batch.
public struct BatchMixing: Sendable, Hashable {
    /// What is done to a batch.
    public enum Mix: Sendable, Hashable {
        /// The item's own share; the other's is the rest.
        case mixup(Double)
        /// What is cut out of the other item.
        case cutmix(ImageCrop)
    }

    /// The parameter of the beta distribution that shares of a mixup are drawn from; 0: there is none.
    public var mixup: Double
    /// The same for the share that a cutmix leaves.
    public var cutmix: Double

    /// A way to mix.
    ///
    /// - Throws: ``TransformError`` for a parameter below 0 or above 1000.
    public init(mixup: Double = 0, cutmix: Double = 0) throws {
        guard (0...1000).contains(mixup), (0...1000).contains(cutmix) else {
            throw TransformError(
                "The shares of mixup and cutmix are drawn with a parameter from 0 to 1000, not \(mixup) and \(cutmix).")
        }
        self.mixup = mixup
        self.cutmix = cutmix
    }

    /// What is done to a batch of pictures or frames of a size; `nil` for nothing.
    public func mix(_ size: ImageSize, key: RandomKey) -> Mix? {
        var draws = Draws(key)
        guard mixup > 0 || cutmix > 0 else { return nil }
        let mixes = cutmix == 0 || (mixup > 0 && draws.integer(below: 2) == 0)
        guard !mixes else { return .mixup(draws.beta(mixup)) }
        let share = draws.beta(cutmix)
        let (x, y) = (draws.integer(below: size.width), draws.integer(below: size.height))
        return .cutmix(Self.box(of: size, share: share, x: x, y: y))
    }

    /// The part of a cutmix around a pixel that leaves a share of the area, cut off at the edges.
    static func box(of size: ImageSize, share: Double, x: Int, y: Int) -> ImageCrop {
        let half = 0.5 * (1 - share).squareRoot()
        let (width, height) = (Int(half * Double(size.width)), Int(half * Double(size.height)))
        let (left, top) = (max(0, x - width), max(0, y - height))
        return ImageCrop(
            top: top, left: left, height: min(size.height, y + height) - top, width: min(size.width, x + width) - left)
    }
}

extension BatchMixing.Mix {
    /// The share of an item's own class in its target, for items of a size.
    public func ownShare(_ size: ImageSize) -> Double {
        switch self {
        case .mixup(let share): share
        case .cutmix(let box): 1 - Double(box.width * box.height) / Double(size.width * size.height)
        }
    }

    /// The batch `[items, ..., height, width]`, `float32`, each item mixed with the one before it, the first with the last.
    public func callAsFunction(_ batch: Tensor) -> Tensor {
        let count = batch.shape[0]
        let before = concatenated([batch.sliced(0, count - 1..<count), batch.sliced(0, 0..<count - 1)])
        switch self {
        case .mixup(let share): return batch * share + before * (1 - share)
        case .cutmix(let box):
            guard box.width > 0, box.height > 0 else { return batch }
            var result = batch.detached.contiguous()
            let (height, width) = (batch.shape[batch.rank - 2], batch.shape[batch.rank - 1])
            before.contiguous().withUnsafeBytes { input in
                let from = input.bindMemory(to: Float.self)
                result.withUnsafeMutableBytes { output in
                    let to = output.bindMemory(to: Float.self)
                    for plane in 0..<to.count / (height * width) {
                        for row in box.top..<box.top + box.height {
                            let start = (plane * height + row) * width + box.left
                            for place in start..<start + box.width { to[place] = from[place] }
                        }
                    }
                }
            }
            return result
        }
    }
}

extension Draws {
    /// A number between 0 and 1 of the beta distribution whose two parameters are `alpha`.
    mutating func beta(_ alpha: Double) -> Double {
        // In logarithms: with small parameters both gammas are smaller than any number.
        let (a, b) = (logGamma(alpha), logGamma(alpha))
        return 1 / (1 + exp(b - a))
    }

    /// The logarithm of a number of the gamma distribution (Marsaglia and Tsang 2000).
    private mutating func logGamma(_ shape: Double) -> Double {
        func positive() -> Double { 1 - uniform(0...1) }
        let boost = shape < 1 ? log(positive()) / shape : 0
        let d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3
        let c = 1 / (9 * d).squareRoot()
        while true {
            let normal = (-2 * log(positive())).squareRoot() * cos(2 * .pi * uniform(0...1))
            let v = pow(1 + c * normal, 3)
            let u = positive()
            if v > 0, log(u) < 0.5 * normal * normal + d - d * v + d * log(v) { return log(d * v) + boost }
        }
    }
}
