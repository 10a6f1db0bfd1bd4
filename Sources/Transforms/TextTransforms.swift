import Tensors

/// Cuts sequences off after a number of tokens.
///
/// Source: follows torchmultimodal/transforms/text_transforms.py; tokens may be ids or pieces of text.
public struct Truncate: Sendable {
    /// How many tokens stay, from 0 on.
    public var maximumLength: Int

    /// - Throws: ``TransformError`` for a negative length.
    public init(maximumLength: Int) throws {
        guard maximumLength >= 0 else {
            throw TransformError("A sequence is cut off after 0 tokens or more, not \(maximumLength).")
        }
        self.maximumLength = maximumLength
    }

    /// The beginning of a sequence.
    public func callAsFunction<Token>(_ tokens: [Token]) -> [Token] { Array(tokens.prefix(maximumLength)) }

    /// The beginnings of several sequences.
    public func callAsFunction<Token>(_ batch: [[Token]]) -> [[Token]] { batch.map { Array($0.prefix(maximumLength)) } }
}

/// Adds a token at the beginning or the end of sequences.
public struct AddToken<Token: Sendable>: Sendable {
    /// The token.
    public var token: Token
    /// Whether it goes first.
    public var isFirst: Bool

    /// An addition.
    public init(_ token: Token, isFirst: Bool = true) {
        self.token = token
        self.isFirst = isFirst
    }

    /// A sequence with the token.
    public func callAsFunction(_ tokens: [Token]) -> [Token] { isFirst ? [token] + tokens : tokens + [token] }

    /// Several sequences, each with the token.
    public func callAsFunction(_ batch: [[Token]]) -> [[Token]] { batch.map { self($0) } }
}

/// Makes a tensor of ids.
public struct IDTensor: Sendable {
    /// What fills shorter sequences of a batch; `nil` where all must have one length.
    public var padID: Int?

    /// A way to make tensors.
    public init(padID: Int? = nil) { self.padID = padID }

    /// One sequence, `[length]`, `int64`.
    public func callAsFunction(_ ids: [Int]) -> Tensor { Tensor(ids.map { Int64($0) }) }

    /// Several sequences, `[sequences, longest]`, `int64`.
    ///
    /// - Throws: ``TransformError`` for sequences of different lengths where nothing fills them.
    public func callAsFunction(_ batch: [[Int]]) throws -> Tensor {
        let longest = batch.map(\.count).max() ?? 0
        if let other = batch.first(where: { $0.count != longest }), padID == nil {
            throw TransformError(
                "Sequences of \(other.count) and \(longest) ids make no tensor; an id that fills them is needed.")
        }
        let rows = batch.flatMap { ids in
            ids.map { Int64($0) } + Array(repeating: Int64(padID ?? 0), count: longest - ids.count)
        }
        return Tensor(rows, shape: [batch.count, longest])
    }
}

/// Fills the last axis of a tensor up to a length; longer ones stay as they are.
public struct PadTransform: Sendable {
    /// The length that is reached.
    public var maximumLength: Int
    /// What fills the rest.
    public var padValue: Int

    /// A way to fill.
    public init(maximumLength: Int, padValue: Int) {
        self.maximumLength = maximumLength
        self.padValue = padValue
    }

    /// A tensor `[..., length]` of `int64` or `float32` as `[..., max(length, maximumLength)]`.
    ///
    /// - Throws: ``TransformError`` for another type or a scalar.
    public func callAsFunction(_ tensor: Tensor) throws -> Tensor {
        guard tensor.rank > 0, tensor.dtype == .int64 || tensor.dtype == .float32 else {
            throw TransformError(
                "Padding takes int64 or float32 of shape [..., length], not \(tensor.dtype.rawValue) of shape "
                    + "\(tensor.shape).")
        }
        guard let length = tensor.shape.last, length < maximumLength else { return tensor }
        let shape = tensor.shape.dropLast() + [maximumLength]
        func filled<Scalar: TensorScalar>(_ values: [Scalar], _ pad: Scalar) -> Tensor {
            let rows = tensor.shape.dropLast().reduce(1, *)
            let fill = Array(repeating: pad, count: maximumLength - length)
            return Tensor(
                (0..<rows).flatMap { values[$0 * length..<($0 + 1) * length] + fill }, shape: Array(shape))
        }
        return tensor.dtype == .int64
            ? filled(tensor.scalars(Int64.self), Int64(padValue))
            : filled(tensor.scalars(Float.self), Float(padValue))
    }
}
