import Foundation
import Tensors

/// Chooses which patches of a picture are hidden: rectangles of random sizes and places until enough are covered.
///
/// Source: Bao et al. 2021, arXiv:2106.08254, algorithm 1; follows `ImageMaskingGenerator` of
/// torchmultimodal/transforms/flava_transform.py.
public struct BlockMask: Sendable, Hashable {
    /// Patches from top to bottom and from left to right.
    public var grid: ImageSize
    /// How many patches are to be hidden; fewer are where no rectangle fits any more.
    public var count: Int
    /// The smallest rectangle, in patches.
    public var smallestBlock: Int
    /// The largest rectangle, in patches; what is still missing when `nil`.
    public var largestBlock: Int?
    /// The proportions, height over width, from this to its reciprocal.
    public var leastAspect: Double

    /// - Throws: ``TransformError`` for an empty grid, a negative count or sizes out of order.
    public init(
        grid: ImageSize = ImageSize(14), count: Int = 75, smallestBlock: Int = 16, largestBlock: Int? = nil,
        leastAspect: Double = 0.3
    ) throws {
        guard (1...4096).contains(grid.height), (1...4096).contains(grid.width), count >= 0, smallestBlock > 0,
            largestBlock ?? 1 > 0, leastAspect > 0, leastAspect <= 1
        else {
            throw TransformError(
                "A mask over \(grid.height) x \(grid.width) patches with \(count) hidden in blocks from \(smallestBlock) "
                    + "and proportions from \(leastAspect) cannot be made: sizes must be positive and proportions above "
                    + "0 and up to 1.")
        }
        self.grid = grid
        self.count = count
        self.smallestBlock = smallestBlock
        self.largestBlock = largestBlock
        self.leastAspect = leastAspect
    }

    /// A mask, `[grid.height, grid.width]`, `int64`, 1 where a patch is hidden.
    public func callAsFunction(key: RandomKey) -> Tensor {
        var mask = [Int64](repeating: 0, count: grid.height * grid.width)
        var draws = Draws(key)
        var hidden = 0
        while hidden < count {
            let added = addBlock(to: &mask, upTo: min(count - hidden, largestBlock ?? count), &draws)
            if added == 0 { break }
            hidden += added
        }
        return Tensor(mask, shape: [grid.height, grid.width])
    }

    /// Hides a rectangle that hides something new and not too much; the number of patches newly hidden.
    private func addBlock(to mask: inout [Int64], upTo limit: Int, _ draws: inout Draws) -> Int {
        let logAspect = log(leastAspect)...(-log(leastAspect))
        for _ in 0..<10 {
            // Where less is missing than the smallest block, the ends are out of order; the peer draws between them too.
            let area =
                Double(smallestBlock) + Double(limit - smallestBlock) * draws.uniform(0...1)
            let aspect = exp(draws.uniform(logAspect))
            let height = Int((area * aspect).squareRoot().rounded(.toNearestOrEven))
            let width = Int((area / aspect).squareRoot().rounded(.toNearestOrEven))
            guard width < grid.width, height < grid.height else { continue }
            let top = draws.integer(in: 0...(grid.height - height))
            let left = draws.integer(in: 0...(grid.width - width))
            let places = (top..<top + height).flatMap { row in (left..<left + width).map { row * grid.width + $0 } }
            let free = places.filter { mask[$0] == 0 }
            guard !free.isEmpty, free.count <= limit else { continue }
            for place in free { mask[place] = 1 }
            return free.count
        }
        return 0
    }
}
