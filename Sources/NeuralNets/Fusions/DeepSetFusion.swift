import Tensors

/// The shape of a fusion of a set.
public struct DeepSetConfiguration: Sendable, Equatable {
    /// The width of each channel's vectors.
    public var widths: [String: Int]
    /// Whether the channels are weighted by attention that each one decides on for itself.
    public var appliesAttention = false
    /// The width inside that attention; half that of the vectors when `nil`.
    public var attentionWidth: Int?
    /// Whether vectors are normalized over the channels instead of each by itself.
    public var normalizesOverChannels = false
    /// Which norm becomes 1, from 1 on.
    public var norm = 2.0
    /// Whether each channel is projected to the least of their widths; all must be as wide otherwise.
    public var projects = false

    /// A fusion of channels of these widths.
    public init(_ widths: [String: Int]) { self.widths = widths }

    /// The width of what is pooled; `nil` where widths differ and nothing is projected.
    public var width: Int? {
        projects || Set(widths.values).count == 1 ? widths.values.min() : nil
    }
}

/// How a fusion of a set makes one vector of several.
public enum SetPooling {
    /// Number by number.
    case pooled(AxisPooling)
    /// A transformer over the channels, of which the first one's result is taken.
    case transformer(PyTorchTransformerEncoder)
}

/// Vectors of channels in the order of their names, weighted, normalized, pooled and put through a network, keys
/// `projections.CHANNEL`, `attention.#`, `pooling_function`, `mlp` (Zaheer et al. 2017, arXiv:1703.06114; the peer's
/// `DeepsetFusionModule` and `DeepsetFusionWithTransformer`).
public final class DeepSetFusion: Module, Fusion {
    private let projections: [(channel: String, layer: any Layer)]
    private let attention: Sequential?
    private let pooling: SetPooling
    private let mlp: any Layer
    private let configuration: DeepSetConfiguration

    /// A fusion.
    ///
    /// - Parameters:
    ///   - configuration: whose ``DeepSetConfiguration/width`` is not `nil`.
    ///   - pooling: how channels become one.
    ///   - mlp: what the pooled vector is put through.
    ///   - random: where the first values come from.
    public init(_ configuration: DeepSetConfiguration, pooling: SetPooling, mlp: any Layer, random: RandomKey) {
        guard let width = configuration.width else {
            preconditionFailure("DeepSetFusion: channels of \(configuration.widths) are not as wide")
        }
        projections = configuration.widths.sorted { $0.key < $1.key }.enumerated().map { index, entry in
            let key = random.derived("projection", index)
            return (entry.key, configuration.projects ? Linear(entry.value, width, key: key) : IdentityLayer())
        }
        let inner = configuration.attentionWidth ?? width / 2
        attention =
            configuration.appliesAttention
            ? Sequential([
                Linear(width, inner, key: random.derived("attention", 0)), ActivationLayer.tanh,
                Linear(inner, 1, key: random.derived("attention", 1)),
            ]) : nil
        self.pooling = pooling
        self.mlp = mlp
        self.configuration = configuration
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        var parts: [(key: String, part: Any)] = [("mlp", mlp)]
        for (channel, layer) in projections { parts.append(("projections.\(channel)", layer)) }
        if let attention { parts.append(("attention", attention)) }
        if case .transformer(let encoder) = pooling { parts.append(("pooling_function", encoder)) }
        return parts
    }

    /// Fuses vectors by channel, `[batch, channel's width]` each.
    public func callAsFunction(_ embeddings: [String: Tensor], _ context: ForwardContext) -> Tensor {
        let parts = projections.map { $0.layer(channel($0.channel, of: embeddings), context) }
        var x = stacked(parts, axis: 1)  // [batch, channels, width]
        if let attention { x = x * attention(x, context).transposed().softmax().transposed() }
        x = normalized(x, axis: configuration.normalizesOverChannels ? 1 : 2)
        switch pooling {
        case .pooled(let pooling): x = pooling(x, axis: 1)
        case .transformer(let encoder): x = encoder(x, context).selected(1, 0)
        }
        return mlp(x, context)
    }

    public func problem(with shapes: [String: [Int]]) -> String? {
        NeuralNets.problem(with: shapes, widths: configuration.widths)
    }

    /// Divided by its norm along an axis, which counts as 1e-12 at least.
    private func normalized(_ x: Tensor, axis: Int) -> Tensor {
        let p = configuration.norm
        let powers = p == 2 ? x.squared() : p == 1 ? x.abs() : x.abs().power(p)
        // The bound lies under the root, so that no gradient comes from a root of zero.
        let least = Tensor(repeating: max(powerOf(1e-12, p), 1e-37), shape: [], dtype: x.dtype)
        let sum = Tensor.maximum(powers.sum(axes: [axis], keepsAxes: true), least)
        return x / (p == 2 ? sum.squareRoot() : p == 1 ? sum : sum.power(1 / p))
    }

    private func powerOf(_ x: Double, _ p: Double) -> Double {
        (0..<Int(p.rounded(.up))).reduce(1) { power, _ in power * x }
    }
}
