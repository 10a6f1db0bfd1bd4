import Media
import Tensors

/// How training looks at pictures in which things are to be found: at a random part that keeps them whole, mirrored or not.
///
/// What is chosen depends on the target and the key alone, so that a picture and its boxes can be prepared apart.
public struct GroundingView: Sendable, Hashable {
    /// What was chosen for one picture.
    public struct Choice: Sendable, Hashable {
        /// The part that is looked at.
        public var crop: ImageCrop
        /// Whether left and right are exchanged then.
        public var isMirrored: Bool
    }

    /// The share of the picture's area that is looked at; above 0, at most 1.
    public var cropScale: ClosedRange<Double>
    /// Whether half of the pictures are mirrored, with "left" and "right" exchanged in their captions.
    public var mirrors: Bool

    /// A way to look.
    public init(cropScale: ClosedRange<Double> = 1...1, mirrors: Bool = false) {
        self.cropScale = cropScale
        self.mirrors = mirrors
    }

    /// Chooses; the whole picture if a hundred draws find no part that keeps everything whole.
    public func choice(for target: DetectionTarget, key: RandomKey) -> Choice {
        var draws = Draws(key)
        let isMirrored = mirrors && draws.chance(0.5)
        let size = target.size
        let whole = ImageCrop(top: 0, left: 0, height: size.height, width: size.width)
        guard cropScale.lowerBound < 1 else { return Choice(crop: whole, isMirrored: isMirrored) }
        for _ in 0..<100 {
            let side = draws.uniform(cropScale).squareRoot()
            let height = max(1, min(size.height, Int((Double(size.height) * side).rounded())))
            let width = max(1, min(size.width, Int((Double(size.width) * side).rounded())))
            let top = draws.integer(in: 0...size.height - height)
            let left = draws.integer(in: 0...size.width - width)
            let keepsAll = target.items.allSatisfy { item in
                item.box.left >= Float(left) && item.box.top >= Float(top) && item.box.right <= Float(left + width)
                    && item.box.bottom <= Float(top + height)
            }
            if keepsAll {
                return Choice(
                    crop: ImageCrop(top: top, left: left, height: height, width: width), isMirrored: isMirrored)
            }
        }
        return Choice(crop: whole, isMirrored: isMirrored)
    }

    /// What is looked at of a picture `[height, width, 3]`, `uint8`.
    public static func part(of image: Tensor, _ choice: Choice) -> Tensor {
        let part = image.cropped(choice.crop)
        return choice.isMirrored ? part.mirrored() : part
    }

    /// What is to be found there.
    public static func part(of target: DetectionTarget, _ choice: Choice) -> DetectionTarget {
        let part = target.cropped(choice.crop)
        return choice.isMirrored ? part.mirrored() : part
    }
}
