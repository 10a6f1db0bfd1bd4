// Functions without parameters: filters of scores, masks.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let functions: [String: ForwardBuilder] = [
        "LogitsFilterTopK": { fields, _ in
            try fields.accept("top_k", "filter_value", "min_tokens_to_keep")
            let count = try fields.integer("top_k", in: 0...(1 << 30), default: 0)
            let (fill, minimum) = try filterOptions(fields)
            return ForwardTarget(inputs: ["logits"]) { call in
                .tensor(try filtered(call, count == 0 ? nil : TopKFilter(k: max(count, minimum)), fill))
            }
        },
        "LogitsFilterTopP": { fields, _ in
            try fields.accept("top_p", "filter_value", "min_tokens_to_keep")
            let mass = try fields.double("top_p", default: 1)
            guard (0...1).contains(mass) else { throw fields.mismatch("top_p", mustBe: "from 0 to 1") }
            let (fill, minimum) = try filterOptions(fields)
            return ForwardTarget(inputs: ["logits"]) { call in
                .tensor(try filtered(call, TopPFilter(p: mass, minimum: minimum), fill))
            }
        },
        "get_causal_attention_mask": { fields, _ in
            try fields.accept()
            return ForwardTarget(inputs: [], arguments: ["tgt_seq_len", "src_seq_len"]) { call in
                let queries = try call.arguments.integer("tgt_seq_len", in: 0...16384)
                let keys = try call.arguments.integer("src_seq_len", in: 0...16384, default: queries)
                return .tensor(Masks.causal(queries: queries, keys: keys))
            }
        },
        "get_extended_attention_mask": { fields, _ in
            try fields.accept()
            return ForwardTarget(inputs: ["attention_mask"]) { call in
                .tensor(Masks.extended(try call.tensor("attention_mask", .starting([nil, nil], more: 0...2))))
            }
        },
        "get_logits_mask": { fields, _ in
            try fields.accept()
            let names = ["in_seq_len", "out_seq_len", "num_in_tokens", "num_out_tokens"]
            return ForwardTarget(inputs: [], arguments: names) { call in
                let sizes = try names.map { try call.arguments.integer($0, in: 0...(1 << 20), default: 0) }
                guard (sizes[0] + sizes[1]) * (sizes[2] + sizes[3]) <= 1 << 28 else {
                    throw ModelError(
                        .invalidInput,
                        "A mask of \(sizes[0] + sizes[1]) slots and \(sizes[2] + sizes[3]) ids is too large; at most 2^28."
                    )
                }
                return .tensor(
                    Masks.logits(
                        inputLength: sizes[0], outputLength: sizes[1], inputCount: sizes[2], outputCount: sizes[3]))
            }
        },
    ]

    private static func filterOptions(_ fields: JSONFields) throws -> (fill: Float, minimum: Int) {
        (
            Float(try fields.double("filter_value", default: -.infinity)),
            try fields.integer("min_tokens_to_keep", in: 1...(1 << 30), default: 1)
        )
    }

    /// The rows of `logits`, `[batch, ids]`, with the ids that a filter takes out set to `fill`.
    private static func filtered(_ call: ForwardCall, _ filter: (any ScoreFilter)?, _ fill: Float) throws -> Tensor {
        let logits = try call.real("logits", .exactly([nil, nil]))
        var all = logits.detached.scalars(Float.self)
        let width = logits.shape[1]
        guard let filter, width > 0 else { return logits.detached }
        for first in stride(from: 0, to: all.count, by: width) {
            var candidates = Candidates(Array(all[first..<(first + width)]))
            filter.filter(&candidates)
            let kept = Set(candidates.ids)
            for id in 0..<width where !kept.contains(Int32(id)) { all[first + id] = fill }
        }
        return Tensor(all, shape: logits.shape)
    }
}
