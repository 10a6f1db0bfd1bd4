/// A box by its corners, in pixels or as shares of an image.
public struct PixelBox: Sendable, Equatable {
    /// The left edge.
    public var left: Double
    /// The upper edge.
    public var top: Double
    /// The right edge, not less than the left.
    public var right: Double
    /// The lower edge, not less than the upper.
    public var bottom: Double

    /// Creates a box.
    public init(left: Double, top: Double, right: Double, bottom: Double) {
        self.left = left
        self.top = top
        self.right = right
        self.bottom = bottom
    }

    /// Its area.
    public var area: Double { (right - left) * (bottom - top) }

    /// The area it shares with another.
    public func sharedArea(with other: PixelBox) -> Double {
        max(min(right, other.right) - max(left, other.left), 0)
            * max(min(bottom, other.bottom) - max(top, other.top), 0)
    }

    /// The area shared with another over the area that both cover, in `0...1`; 0 for two boxes without area.
    public func overlap(with other: PixelBox) -> Double {
        let shared = sharedArea(with: other)
        let covered = area + other.area - shared
        return covered > 0 ? shared / covered : 0
    }

    /// The smallest box around several; `nil` of none.
    public static func around(_ boxes: [PixelBox]) -> PixelBox? {
        guard let first = boxes.first else { return nil }
        return boxes.dropFirst().reduce(first) {
            PixelBox(
                left: min($0.left, $1.left), top: min($0.top, $1.top), right: max($0.right, $1.right),
                bottom: max($0.bottom, $1.bottom))
        }
    }
}
