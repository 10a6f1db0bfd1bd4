import Foundation
import Media
import Tensors

/// MDETR's preparation of pictures with what is to be found in them.
///
/// For evaluation the shorter side becomes 800 pixels and the longer one 1333 at most. For training it becomes one of
/// eleven lengths, half of the time after a random part was cut out that keeps all boxes if a hundred draws find one.
///
/// Source: Kamath et al. 2021, arXiv:2104.12763; follows examples/mdetr/data/transforms.py of TorchMultimodal.
public struct MDETRTransform: Sendable {
    /// The shorter sides that training draws from; the last one is evaluation's.
    public var shorterSides: [Int]
    /// The most that the longer side may be.
    public var longestSide: Int
    /// The shorter sides before a part is cut out.
    public var sidesBeforeCrop = [400, 500, 600]
    /// The least that a part's sides are.
    public var smallestCrop = 384
    /// How often pictures are mirrored; never in the published training.
    public var mirrorProbability = 0.0
    /// What follows.
    public var scaling: PixelScaling = .imageNet
    /// Whether choices are drawn.
    public var isTraining: Bool

    /// - Throws: ``TransformError`` for no shorter side, or sides below 1 or above 65,536.
    public init(
        shorterSides: [Int] = Array(stride(from: 480, through: 800, by: 32)), longestSide: Int = 1333, isTraining: Bool
    ) throws {
        guard !shorterSides.isEmpty else { throw TransformError("MDETR's pictures need at least one shorter side.") }
        for side in shorterSides + [longestSide] { try requireSides(ImageSize(side)) }
        self.shorterSides = shorterSides
        self.longestSide = longestSide
        self.isTraining = isTraining
    }

    /// The size a picture gets: proportions stay, sides are rounded down, as MDETR does it.
    static func size(of size: ImageSize, shorter: Int, longest: Int?) -> ImageSize {
        var side = shorter
        let (short, long) = (Double(min(size.height, size.width)), Double(max(size.height, size.width)))
        if let longest, long / short * Double(side) > Double(longest) {
            side = Int((Double(longest) * short / long).rounded(.toNearestOrEven))
        }
        side = max(1, side)
        if Int(short) == side { return size }
        return size.width < size.height
            ? ImageSize(height: Int(Double(side * size.height) / Double(size.width)), width: side)
            : ImageSize(height: side, width: Int(Double(side * size.width) / Double(size.height)))
    }

    /// Prepares one picture.
    ///
    /// - Parameters:
    ///   - image: `[height, width, 3]`, `uint8`.
    ///   - target: what is to be found, for this size.
    ///   - key: what training's choices are drawn by.
    /// - Returns: `[3, height, width]`, `float32`, and what is to be found there; ``DetectionTarget/boxes`` are shares of it.
    /// - Throws: ``TransformError`` for what is no picture, a target for another size, or a missing key.
    public func callAsFunction(
        _ image: Tensor, _ target: DetectionTarget, key: RandomKey? = nil
    ) throws -> (image: Tensor, target: DetectionTarget) {
        let (pixels, target) = try prepared(image, target, key: key)
        return (try scaling.apply(to: pixels), target)
    }

    /// The same before pixels are normalised, `uint8`.
    func prepared(
        _ image: Tensor, _ target: DetectionTarget, key: RandomKey?
    ) throws -> (image: Tensor, target: DetectionTarget) {
        try requirePicture(image, "MDETRTransform")
        guard image.imageSize == target.size else {
            throw TransformError(
                "The boxes are for \(target.size.width) x \(target.size.height) pixels, but the picture has "
                    + "\(image.shape[1]) x \(image.shape[0]).")
        }
        var work = (image: image, target: target)
        func resize(_ shorter: Int, _ longest: Int?) throws {
            let size = Self.size(of: work.image.imageSize, shorter: shorter, longest: longest)
            work = (try resized(work.image, size, .bilinear), work.target.resized(size))
        }
        guard isTraining else {
            try resize(shorterSides[shorterSides.count - 1], longestSide)
            return work
        }
        var draws = Draws(try required(key, "MDETRTransform"))
        if mirrorProbability > 0, draws.chance(mirrorProbability) {
            work = (work.image.mirrored(), work.target.mirrored())
        }
        if !draws.chance(0.5) {
            try resize(sidesBeforeCrop[draws.integer(below: sidesBeforeCrop.count)], nil)
            let crop = part(of: work.target, &draws)
            work = (work.image.cropped(crop), work.target.cropped(crop))
        }
        try resize(shorterSides[draws.integer(below: shorterSides.count)], longestSide)
        return work
    }

    /// A part that keeps all boxes, or the hundredth that does not.
    private func part(of target: DetectionTarget, _ draws: inout Draws) -> ImageCrop {
        func length(_ whole: Int) -> Int {
            let most = min(whole, longestSide)
            return draws.integer(in: min(smallestCrop, most)...most)
        }
        var crop = ImageCrop(top: 0, left: 0, height: target.size.height, width: target.size.width)
        for _ in 0..<100 {
            let (width, height) = (length(target.size.width), length(target.size.height))
            let top = draws.integer(in: 0...(target.size.height - height))
            crop = ImageCrop(
                top: top, left: draws.integer(in: 0...(target.size.width - width)), height: height, width: width)
            if target.cropped(crop).items.count == target.items.count { break }
        }
        return crop
    }
}

/// Which tokens of a caption speak of each thing.
///
/// - Parameters:
///   - spans: for each thing, the characters that speak of it.
///   - offsets: for each token, the characters that it stands for; `nil` for special tokens.
///   - width: how many tokens a row has; later ones are left out.
/// - Returns: `[things, width]`, `float32`; each row sums to 1, or to 0 where no token was found.
///
/// Source: follows `create_positive_map` of examples/mdetr/data/transforms.py: where a span begins or ends at a character
/// without token, the next two are tried.
public func positiveMap(spans: [[Range<Int>]], offsets: [Range<Int>?], width: Int = 256) -> Tensor {
    func token(_ character: Int) -> Int? { offsets.firstIndex { $0?.contains(character) ?? false } }
    var map = [Float](repeating: 0, count: spans.count * width)
    for (row, spans) in spans.enumerated() {
        for span in spans {
            let first = (0...2).lazy.compactMap { token(span.lowerBound + $0) }.first
            let last = (1...3).lazy.compactMap { token(span.upperBound - $0) }.first
            guard let first, let last, first <= last else { continue }
            for place in first...last where place < width { map[row * width + place] = 1 }
        }
        let sum = map[row * width..<(row + 1) * width].reduce(0, +)
        for place in 0..<width { map[row * width + place] /= sum + 1e-6 }
    }
    return Tensor(map, shape: [spans.count, width])
}
