import Tensors

/// What encoders and decoders of sequences return (the peer's `TransformerOutput`).
///
/// Where the peer has an output whose fields are all absent, for a modality that was not given, this engine has none.
public struct TransformerOutput {
    /// The result, `[batch, length, width]`.
    public var lastHiddenState: Tensor
    /// What a pooler makes of it, if there is one.
    public var poolerOutput: Tensor?
    /// The input and every layer's result before a last normalization, if asked for, `[batch, length, width]` each.
    public var hiddenStates: [Tensor]?
    /// Every layer's probabilities, if asked for, `[batch, heads, length, length]` each.
    public var attentions: [Tensor]?
    /// The codes of image patches, `[batch, patches]`, where a model makes them.
    public var imageLabels: Tensor?
    /// Every layer's keys and values with the past ones first, if asked for, `[batch, heads, length, width / heads]` each.
    public var currentKeyValues: [(keys: Tensor, values: Tensor)]?

    /// A result, and what comes with it.
    public init(
        _ lastHiddenState: Tensor, pooler poolerOutput: Tensor? = nil, hiddenStates: [Tensor]? = nil,
        attentions: [Tensor]? = nil, imageLabels: Tensor? = nil,
        currentKeyValues: [(keys: Tensor, values: Tensor)]? = nil
    ) {
        self.lastHiddenState = lastHiddenState
        self.poolerOutput = poolerOutput
        self.hiddenStates = hiddenStates
        self.attentions = attentions
        self.imageLabels = imageLabels
        self.currentKeyValues = currentKeyValues
    }
}
