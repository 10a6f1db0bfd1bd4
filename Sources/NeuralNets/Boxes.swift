import Tensors

/// Boxes as tensors whose last axis holds four numbers: either the center's x and y, width and height, or the corners'
/// x and y, the smaller ones first.
public enum Boxes {
    /// Corners of boxes given by center and size.
    ///
    /// - Parameter boxes: `[..., 4]`: x and y of the center, width, height.
    /// - Returns: `[..., 4]`: x and y of the upper left corner, then of the lower right.
    public static func corners(_ boxes: Tensor) -> Tensor {
        let (center, half) = (boxes.sliced(-1, 0..<2), boxes.sliced(-1, 2..<4) * 0.5)
        return concatenated([center - half, center + half], axis: -1)
    }

    /// Center and size of boxes given by their corners; see ``corners(_:)``.
    public static func centers(_ boxes: Tensor) -> Tensor {
        let (low, high) = (boxes.sliced(-1, 0..<2), boxes.sliced(-1, 2..<4))
        return concatenated([(low + high) * 0.5, high - low], axis: -1)
    }

    /// The areas, `[...]`, of boxes `[..., 4]` given by their corners.
    public static func areas(_ boxes: Tensor) -> Tensor {
        product((boxes.sliced(-1, 2..<4) - boxes.sliced(-1, 0..<2)))
    }

    /// How far boxes cover each other: the area they share over the area they cover together.
    ///
    /// - Parameters:
    ///   - a: `[..., 4]`, corners.
    ///   - b: `[..., 4]`, corners; the leading axes broadcast. For all pairs give `[n, 1, 4]` and `[1, m, 4]`.
    /// - Returns: `[...]`, each in `0...1`.
    public static func overlap(_ a: Tensor, _ b: Tensor) -> Tensor {
        let (shared, covered) = areas(a, b)
        return shared / covered
    }

    /// The overlap less the share of the smallest box around both that neither covers (Rezatofighi et al. 2019,
    /// arXiv:1902.09630): it has a gradient where boxes do not touch.
    ///
    /// - Returns: `[...]`, each in `-1...1`; see ``overlap(_:_:)`` for the parameters.
    public static func generalizedOverlap(_ a: Tensor, _ b: Tensor) -> Tensor {
        let (shared, covered) = areas(a, b)
        let low = Tensor.minimum(a.sliced(-1, 0..<2), b.sliced(-1, 0..<2))
        let high = Tensor.maximum(a.sliced(-1, 2..<4), b.sliced(-1, 2..<4))
        let around = product((high - low).relu())
        return shared / covered - (around - covered) / around
    }

    private static func areas(_ a: Tensor, _ b: Tensor) -> (shared: Tensor, covered: Tensor) {
        let low = Tensor.maximum(a.sliced(-1, 0..<2), b.sliced(-1, 0..<2))
        let high = Tensor.minimum(a.sliced(-1, 2..<4), b.sliced(-1, 2..<4))
        let shared = product((high - low).relu())
        return (shared, areas(a) + areas(b) - shared)
    }

    /// The product of the two numbers of the last axis.
    private static func product(_ sides: Tensor) -> Tensor { sides.selected(-1, 0) * sides.selected(-1, 1) }
}
