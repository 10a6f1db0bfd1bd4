/// A box in a picture by its corners, in pixels or as shares of the picture.
///
/// Transforms compute with `Float`, as torchvision does, measures with `Double`.
@frozen
public struct PictureBox<Number: BinaryFloatingPoint & Sendable>: Sendable, Hashable {
    /// The left edge.
    public var left: Number
    /// The upper edge.
    public var top: Number
    /// The right edge.
    public var right: Number
    /// The lower edge.
    public var bottom: Number

    /// A box.
    @inlinable
    public init(left: Number, top: Number, right: Number, bottom: Number) {
        self.left = left
        self.top = top
        self.right = right
        self.bottom = bottom
    }

    /// A box in numbers of another size.
    @inlinable
    public init<Other>(_ other: PictureBox<Other>) {
        self.init(
            left: Number(other.left), top: Number(other.top), right: Number(other.right), bottom: Number(other.bottom))
    }

    /// Whether it covers nothing.
    @inlinable public var isEmpty: Bool { !(right > left && bottom > top) }

    /// Its area; that of a box whose edges are in order.
    @inlinable public var area: Number { (right - left) * (bottom - top) }

    /// The area it shares with another.
    @inlinable
    public func sharedArea(with other: PictureBox) -> Number {
        max(min(right, other.right) - max(left, other.left), 0)
            * max(min(bottom, other.bottom) - max(top, other.top), 0)
    }

    /// The area shared with another over the area that both cover, in `0...1`; 0 for two boxes without area.
    @inlinable
    public func overlap(with other: PictureBox) -> Number {
        let shared = sharedArea(with: other)
        let covered = area + other.area - shared
        return covered > 0 ? shared / covered : 0
    }

    /// The smallest box around several; `nil` of none.
    public static func around(_ boxes: [PictureBox]) -> PictureBox? {
        guard let first = boxes.first else { return nil }
        return boxes.dropFirst().reduce(first) {
            PictureBox(
                left: min($0.left, $1.left), top: min($0.top, $1.top), right: max($0.right, $1.right),
                bottom: max($0.bottom, $1.bottom))
        }
    }
}
