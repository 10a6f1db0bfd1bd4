import Tensors

/// One vector of a set of instances that lie one behind another: each is encoded by the same encoder, then they are fused,
/// keys `shared_encoder` and `deepset_fusion` (the peer's `MILEncoder`).
public final class MILEncoder: Module, Layer {
    /// Makes a vector of each instance.
    public let sharedEncoder: any Layer
    /// Makes one vector of all.
    public let deepsetFusion: DeepSetFusion
    /// How many entries of axis 1 belong to each instance.
    public let partitionSizes: [Int]

    /// The fusion's names of instances.
    public static func channel(_ index: Int) -> String { "mil_\(index)" }

    /// An encoder.
    ///
    /// - Parameters:
    ///   - partitionSizes: how many entries of axis 1 belong to each instance.
    ///   - sharedEncoder: makes a vector of each.
    ///   - fusion: of channels called ``channel(_:)``.
    public init(_ partitionSizes: [Int], sharedEncoder: any Layer, fusion: DeepSetFusion) {
        self.partitionSizes = partitionSizes
        self.sharedEncoder = sharedEncoder
        deepsetFusion = fusion
    }

    /// Encodes `[batch, sum of the sizes, ...]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        precondition(
            x.shape[1] == partitionSizes.reduce(0, +),
            "MILEncoder: partitions of \(partitionSizes) do not sum to the \(x.shape[1]) entries of the input")
        var (first, encoded) = (0, [String: Tensor]())
        for (index, size) in partitionSizes.enumerated() {
            encoded[Self.channel(index)] = sharedEncoder(x.sliced(1, first..<(first + size)), context)
            first += size
        }
        return deepsetFusion(encoded, context)
    }
}
