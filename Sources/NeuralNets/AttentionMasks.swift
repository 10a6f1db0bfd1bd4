import Tensors

/// The masks of attention and of scores, as numbers that are 1 where something is kept.
public enum Masks {
    /// 1 on and below the diagonal, `[queries, keys]`, `float32` (the peer's `get_causal_attention_mask`).
    public static func causal(queries: Int, keys: Int? = nil) -> Tensor {
        let keys = keys ?? queries
        let values = (0..<queries).flatMap { row in (0..<keys).map { Float($0 <= row ? 1 : 0) } }
        return Tensor(values, shape: [queries, keys])
    }

    /// A mask of `[batch, keys]` or `[batch, queries, keys]` with axes of size 1 put in, so that it broadcasts over
    /// `[batch, heads, queries, keys]`; one of four axes stays as it is (the peer's `get_extended_attention_mask`).
    ///
    /// - Precondition: the mask has two to four axes.
    public static func extended(_ mask: Tensor) -> Tensor {
        precondition((2...4).contains(mask.rank), "Masks.extended: a mask has two to four axes, not \(mask.shape)")
        switch mask.rank {
        case 2: return mask.unsqueezed(1).unsqueezed(1)
        case 3: return mask.unsqueezed(1)
        default: return mask
        }
    }

    /// 1 where a slot may hold an id: input slots hold input ids, output slots output ids; `[slots, ids]`, `float32` (the
    /// peer's `get_logits_mask`).
    public static func logits(inputLength: Int, outputLength: Int, inputCount: Int, outputCount: Int) -> Tensor {
        let values = (0..<(inputLength + outputLength)).flatMap { slot in
            (0..<(inputCount + outputCount)).map { Float(($0 < inputCount) == (slot < inputLength) ? 1 : 0) }
        }
        return Tensor(values, shape: [inputLength + outputLength, inputCount + outputCount])
    }
}
