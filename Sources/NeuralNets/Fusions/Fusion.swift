import Tensors

/// Makes one vector of those of several channels.
public protocol Fusion: Module {
    /// Fuses vectors by channel, `[batch, ..., channel's width]` each.
    ///
    /// - Precondition: ``problem(with:)`` finds none.
    func callAsFunction(_ embeddings: [String: Tensor], _ context: ForwardContext) -> Tensor

    /// What keeps vectors of these shapes from being fused, as a sentence; `nil` when nothing does.
    func problem(with shapes: [String: [Int]]) -> String?
}

/// What is wrong with the shapes of channels that must be `[batch, width]`, each with a width of its own.
func problem(with shapes: [String: [Int]], widths: [String: Int]) -> String? {
    let batch = shapes.min { $0.key < $1.key }?.value.first ?? 0
    for (name, width) in widths.sorted(by: { $0.key < $1.key }) {
        guard let shape = shapes[name] else { return "The channel '\(name)' is missing." }
        if shape != [batch, width] {
            return "The channel '\(name)' must have the shape \([batch, width]), not \(shape)."
        }
    }
    return nil
}

/// The channels that a layer reads, where it says so.
public func inputWidth(of layer: any Layer) -> Int? {
    switch layer {
    case let layer as Linear: layer.weight.shape[1]
    case let layer as MLP: layer.inputs
    default: nil
    }
}

extension [String: Tensor] {
    /// The tensors in the order of their keys.
    var inKeyOrder: [Tensor] { sorted { $0.key < $1.key }.map(\.value) }
}

/// Vectors one behind another in the order of their channels' names, projected if there is a projection, key `projection`
/// (the peer's `ConcatFusionModule`).
public final class ConcatFusion: Module, Fusion {
    let projection: any Layer

    /// A fusion with a projection of all vectors together, if there is one.
    public init(projection: (any Layer)? = nil) { self.projection = projection ?? IdentityLayer() }

    public func callAsFunction(_ embeddings: [String: Tensor], _ context: ForwardContext) -> Tensor {
        projection(concatenated(embeddings.inKeyOrder, axis: -1), context)
    }

    public func problem(with shapes: [String: [Int]]) -> String? {
        guard let first = shapes.values.first else { return "There is no channel." }
        if first.isEmpty || shapes.values.contains(where: { $0.dropLast() != first.dropLast() }) {
            return "The channels must agree in all axes but the last: \(shapes.values.sorted { $0.count < $1.count })."
        }
        let width = shapes.values.reduce(0) { $0 + ($1.last ?? 0) }
        guard let wanted = inputWidth(of: projection), wanted != width else { return nil }
        return "The channels have \(width) numbers together, and the projection reads \(wanted)."
    }
}

/// A sum of projected vectors, weighted by attention that all of them decide on, keys `attention.0` and
/// `encoding_projection.CHANNEL` (the peer's `AttentionFusionModule`).
public final class AttentionFusion: Module, Fusion {
    private let attention: Linear
    private let projections: [(channel: String, layer: Linear)]
    private let widths: [String: Int]

    /// A fusion.
    ///
    /// - Parameters:
    ///   - widths: of each channel's vectors.
    ///   - width: of the result; the least of the channels' when `nil`.
    ///   - random: where the first values come from.
    public init(_ widths: [String: Int], width: Int? = nil, random: RandomKey) {
        precondition(!widths.isEmpty, "AttentionFusion: there are no channels")
        self.widths = widths
        let width = width ?? widths.values.min() ?? 0
        attention = Linear(widths.values.reduce(0, +), widths.count, key: random.derived("attention"))
        projections = widths.sorted { $0.key < $1.key }.enumerated().map { index, entry in
            (entry.key, Linear(entry.value, width, key: random.derived("projection", index)))
        }
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        var parts: [(key: String, part: Any)] = [("attention.0", attention)]
        for (channel, layer) in projections { parts.append(("encoding_projection.\(channel)", layer)) }
        return parts
    }

    /// Fuses vectors by channel, `[batch, channel's width]` each.
    public func callAsFunction(_ embeddings: [String: Tensor], _ context: ForwardContext) -> Tensor {
        let weights = attention(concatenated(embeddings.inKeyOrder, axis: -1), context).softmax()
        let projected = projections.map { $0.layer(channel($0.channel, of: embeddings), context) }
        return matmul(weights.unsqueezed(1), stacked(projected, axis: 1)).squeezed(1)
    }

    public func problem(with shapes: [String: [Int]]) -> String? {
        if let extra = shapes.keys.sorted().first(where: { widths[$0] == nil }) {
            return "The channel '\(extra)' is none of \(widths.keys.sorted().joined(separator: ", "))."
        }
        return NeuralNets.problem(with: shapes, widths: widths)
    }
}

/// A channel's vectors, which whoever fuses has made sure of.
func channel(_ name: String, of embeddings: [String: Tensor]) -> Tensor {
    guard let tensor = embeddings[name] else { preconditionFailure("The channel '\(name)' is missing.") }
    return tensor
}
