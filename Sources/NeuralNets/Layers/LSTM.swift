import Tensors

/// A long short-term memory, in one or both directions, keys `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0` and
/// the same with `_reverse` (Hochreiter & Schmidhuber 1997; PyTorch's `nn.LSTM` of one layer).
public final class LSTM: Module {
    /// The parameters of one direction.
    private final class Direction: Module {
        @Parameter var inputWeight: Tensor
        @Parameter var stateWeight: Tensor
        @Parameter var inputBias: Tensor
        @Parameter var stateBias: Tensor

        init(_ inputs: Int, _ width: Int, random: RandomKey) {
            let bound = 1 / Double(width).squareRoot()
            func drawn(_ shape: [Int], _ name: String) -> Tensor {
                Initialization.uniform(shape, bound: bound, key: random.derived(name))
            }
            inputWeight = drawn([4 * width, inputs], "input")
            stateWeight = drawn([4 * width, width], "state")
            inputBias = drawn([4 * width], "input_bias")
            stateBias = drawn([4 * width], "state_bias")
        }
    }

    private let directions: [Direction]
    private let width: Int

    /// What a sequence became.
    public struct Output {
        /// The state after each step, of both directions side by side, `[batch, length, directions x width]`.
        public let states: Tensor
        /// The state after the last step of each direction, `[batch, width]` each.
        public let last: [Tensor]
    }

    /// A layer.
    ///
    /// - Parameters:
    ///   - inputs: the channels that are read at each step.
    ///   - width: the channels of the state.
    ///   - isBidirectional: whether the sequence is read backwards, too.
    ///   - random: where the first values come from.
    public init(_ inputs: Int, _ width: Int, isBidirectional: Bool = false, random: RandomKey) {
        directions = (0..<(isBidirectional ? 2 : 1)).map { Direction(inputs, width, random: random.derived("way", $0)) }
        self.width = width
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        directions.enumerated().flatMap { index, way in
            let end = index == 0 ? "" : "_reverse"
            return [
                ("weight_ih_l0" + end, way.$inputWeight), ("weight_hh_l0" + end, way.$stateWeight),
                ("bias_ih_l0" + end, way.$inputBias), ("bias_hh_l0" + end, way.$stateBias),
            ] as [(key: String, part: Any)]
        }
    }

    /// Reads sequences, `[batch, length, inputs]`, from zero states.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Output {
        let results = directions.enumerated().map { index, way in
            read(x, way, backwards: index == 1, context)
        }
        return Output(
            states: concatenated(results.map { stacked($0.states, axis: 1) }, axis: -1), last: results.map(\.last))
    }

    private func read(
        _ x: Tensor, _ way: Direction, backwards: Bool, _ context: ForwardContext
    ) -> (states: [Tensor], last: Tensor) {
        let (batch, length) = (x.shape[0], x.shape[1])
        // What the input gives all steps is one product.
        let given = context.operand(x).linear(way.inputWeight, bias: way.inputBias + way.stateBias)
        var (state, memory) = (Tensor.zeros([batch, width]), Tensor.zeros([batch, width]))
        var states: [Tensor] = []
        for step in 0..<length {
            let sums =
                given.selected(1, backwards ? length - 1 - step : step) + context.operand(state).linear(way.stateWeight)
            let gates = sums.split(-1, into: 4)  // input, forget, cell, output
            memory = gates[1].sigmoid() * memory + gates[0].sigmoid() * gates[2].tanh()
            state = gates[3].sigmoid() * memory.tanh()
            states.append(state)
        }
        return (backwards ? states.reversed() : states, state)
    }
}

/// The last states of both directions of an LSTM over embedded ids, side by side, keys `embedding` and `lstm` (the peer's
/// `LSTMEncoder` in `examples/cnn_lstm`).
public final class LSTMEncoder: Module, Layer {
    /// The table.
    public let embedding: Embedding
    let lstm: LSTM
    private let batchFirst: Bool

    /// An encoder.
    ///
    /// - Parameters:
    ///   - vocabulary: the number of ids.
    ///   - inputs: the width of an id's vector.
    ///   - width: the width of a state; the result is twice as wide.
    ///   - batchFirst: whether ids come as `[batch, length]` and not `[length, batch]`.
    ///   - random: where the first values come from.
    public init(vocabulary: Int, inputs: Int, width: Int, batchFirst: Bool = true, random: RandomKey) {
        embedding = Embedding(vocabulary, inputs, key: random.derived("embedding"))
        lstm = LSTM(inputs, width, isBidirectional: true, random: random.derived("lstm"))
        self.batchFirst = batchFirst
    }

    /// Encodes `int64` ids.
    public func callAsFunction(_ ids: Tensor, _ context: ForwardContext) -> Tensor {
        concatenated(lstm(embedding(batchFirst ? ids : ids.transposed(0, 1).contiguous()), context).last, axis: -1)
    }
}
