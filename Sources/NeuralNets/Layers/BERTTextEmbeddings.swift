import Tensors

/// The sizes of BERT's text embeddings.
public struct BERTTextEmbeddingsConfiguration: Sendable, Equatable {
    /// The width of the vectors.
    public var width = 768
    /// The number of token ids.
    public var vocabulary = 30522
    /// The id of padding, whose vector is not learned.
    public var paddingID = 0
    /// The number of positions.
    public var positions = 512
    /// The number of token types.
    public var types = 2
    /// Of the normalization.
    public var epsilon = 1e-12
    /// On the result, in training.
    public var dropout = 0.0
    /// Whether positions count the tokens that are not padding, from the padding id + 1 on, and padding stands at its id
    /// (RoBERTa), instead of counting all from 0.
    public var offsetsPositions = false

    /// BERT's own sizes.
    public init() {}

    /// The longest text.
    public var longestText: Int { offsetsPositions ? positions - paddingID - 1 : positions }
}

/// Vectors of words, positions and types, summed and normalized, keys `word_embeddings`, `position_embeddings`,
/// `token_type_embeddings`, `layer_norm` (Devlin et al. 2018, arXiv:1810.04805; the peer's `BERTTextEmbeddings`).
public final class BERTTextEmbeddings: Module {
    let wordEmbeddings: Embedding
    let positionEmbeddings: Embedding
    let tokenTypeEmbeddings: Embedding
    let layerNorm: LayerNorm
    private let dropout: Dropout
    /// What it was built from.
    public let configuration: BERTTextEmbeddingsConfiguration

    /// Tables of a configuration.
    public init(_ configuration: BERTTextEmbeddingsConfiguration = .init(), random: RandomKey) {
        let width = configuration.width
        wordEmbeddings = Embedding(
            configuration.vocabulary, width, paddingID: configuration.paddingID, key: random.derived("words"))
        positionEmbeddings = Embedding(configuration.positions, width, key: random.derived("positions"))
        tokenTypeEmbeddings = Embedding(configuration.types, width, key: random.derived("types"))
        layerNorm = LayerNorm(width, epsilon: configuration.epsilon)
        dropout = Dropout(configuration.dropout)
        self.configuration = configuration
    }

    /// The vectors of token ids.
    ///
    /// - Parameters:
    ///   - ids: `[batch, length]`, `int64`, each below the vocabulary's size.
    ///   - embedded: the words' vectors, `[batch, length, width]`, in place of those that the table has.
    ///   - types: `[batch, length]`, `int64`; 0 when `nil`.
    ///   - positions: `[batch, length]`, `int64`; counted as the configuration says when `nil`.
    /// - Returns: `[batch, length, width]`.
    public func callAsFunction(
        _ ids: Tensor, embedded: Tensor? = nil, types: Tensor? = nil, positions: Tensor? = nil,
        _ context: ForwardContext
    ) -> Tensor {
        let counted = positions ?? (configuration.offsetsPositions ? offsetPositions(ids) : nil)
        return sum(embedded ?? wordEmbeddings(ids), types, counted, context)
    }

    /// The same of vectors of words, `[batch, length, width]`; none of them is padding.
    public func callAsFunction(
        embedded: Tensor, types: Tensor? = nil, positions: Tensor? = nil, _ context: ForwardContext
    ) -> Tensor {
        guard configuration.offsetsPositions, positions == nil else { return sum(embedded, types, positions, context) }
        let words = Tensor(
            [Int64](repeating: Int64(configuration.paddingID) + 1, count: embedded.count / embedded.size(-1)))
        return sum(embedded, types, offsetPositions(words.reshaped(to: Array(embedded.shape.dropLast()))), context)
    }

    private func sum(_ words: Tensor, _ types: Tensor?, _ positions: Tensor?, _ context: ForwardContext) -> Tensor {
        let places = positions.map { positionEmbeddings($0) } ?? positionEmbeddings.weight.sliced(0, 0..<words.shape[1])
        let kinds = types.map { tokenTypeEmbeddings($0) } ?? tokenTypeEmbeddings.weight.sliced(0, 0..<1)
        return dropout(layerNorm(words + places + kinds), context)
    }

    /// The positions of token ids where padding does not count.
    public func offsetPositions(_ ids: Tensor) -> Tensor {
        let (length, padding) = (ids.shape[1], Int64(configuration.paddingID))
        var positions = ids.scalars(Int64.self)
        for start in stride(from: 0, to: positions.count, by: max(length, 1)) {
            var count: Int64 = 0
            for index in start..<(start + length) {
                if positions[index] != padding { count += 1 }
                positions[index] = padding + (positions[index] != padding ? count : 0)
            }
        }
        return Tensor(positions, shape: ids.shape)
    }

    /// Which tokens are not padding, `[batch, length]`, `bool`.
    public func keepMask(_ ids: Tensor) -> Tensor {
        let padding = Int64(configuration.paddingID)
        return Tensor(ids.scalars(Int64.self).map { $0 != padding }, shape: ids.shape)
    }
}
