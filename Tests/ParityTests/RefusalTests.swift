import Checkpoints
import Foundation
import JSON
import Models
import Tensors
import TestSupport
import Testing

/// A call that a file or a person got wrong, and what the message must name.
struct Refusal: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let name: String
    let config: JSONObject
    var inputs: [String: Tensor] = [:]
    var method = "forward"
    var args: JSONObject = [:]
    var gradients = false
    let named: String

    init(
        _ description: String, _ name: String, _ config: JSONObject, _ inputs: [String: Tensor] = [:],
        method: String = "forward", args: JSONObject = [:], gradients: Bool = false, names named: String
    ) {
        testDescription = description
        self.name = name
        self.config = config
        self.inputs = inputs
        self.method = method
        self.args = args
        self.gradients = gradients
        self.named = named
    }

    private static func real(_ shape: Int...) -> Tensor { Tensor.zeros(shape) }
    private static func ids(_ values: Int64..., shape: [Int]) -> Tensor { Tensor(values, shape: shape) }
    private static let conv: JSONObject = ["in_channels": 2, "out_channels": 3, "kernel_size": 3]
    private static let attention: JSONObject = ["dim_q": 6, "dim_kv": 6, "n_head": 2]
    private static let codebook: JSONObject = ["num_embeddings": 4, "embedding_dim": 3]
    private static let vqvae: JSONObject = [
        "encoder_hidden_dim": 4, "n_res_layers": 1, "attn_hidden_dim": 4, "num_embeddings": 6, "embedding_dim": 3,
        "decoder_hidden_dim": 4,
    ]
    private static let gpt: JSONObject = [
        "text_seq_len": 4, "video_seq_len": 8, "resolution": 64, "d_model": 12, "n_head": 2, "num_decoder_layers": 1,
        "text_vocab_size": 7,
        "video_vqvae": [
            "encoder_hidden_dim": 4, "n_res_layers": 1, "attn_hidden_dim": 4, "num_embeddings": 14, "embedding_dim": 6,
            "decoder_hidden_dim": 4,
        ],
    ]

    static let all: [Refusal] = [
        Refusal("an unknown name", "SamePadConv9d", [:], names: "SamePadConv9d"),
        Refusal("an unknown method", "SiLU", [:], ["x": real(2)], method: "backward", names: "backward"),
        Refusal("a missing input", "SiLU", [:], names: "'x'"),
        Refusal("an input that is none", "SiLU", [:], ["x": real(2), "y": real(2)], names: "'y'"),
        Refusal(
            "a misspelt argument", "MultiHeadAttention", attention, ["q": real(1, 2, 6)], args: ["casual": true],
            names: "casual"),
        Refusal("an empty axis", "SiLU", [:], ["x": real(2, 0)], names: "[2, 0]; no axis may have the size 0"),
        Refusal("ids where reals belong", "SiLU", [:], ["x": ids(1, 2, shape: [2])], names: "int64"),
        Refusal(
            "a cotangent of another shape", "SiLU", [:], ["x": real(2), "cotangent.output": real(3)], gradients: true,
            names: "[3]"),
        Refusal(
            "a cotangent of no output", "SiLU", [:], ["x": real(2), "cotangent.y": real(2)], gradients: true,
            names: "cotangent.y"),
        Refusal("too many channels", "SamePadConv3d", conv, ["x": real(1, 3, 4, 4, 4)], names: "[1, 3, 4, 4, 4]"),
        Refusal("too few axes", "SamePadConv3d", conv, ["x": real(1, 2, 4, 4)], names: "[1, 2, 4, 4]"),
        Refusal(
            "a window of no size", "SamePadConv3d", ["in_channels": 2, "out_channels": 3, "kernel_size": 0],
            names: "kernel_size"),
        Refusal(
            "a stride for two axes", "SamePadConv3d",
            ["in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": [1, 2]], names: "stride"),
        Refusal(
            "heads that do not divide", "MultiHeadAttention", ["dim_q": 6, "dim_kv": 6, "n_head": 4], names: "dim_q"),
        Refusal(
            "a mask that does not broadcast", "MultiHeadAttention", attention,
            ["q": real(1, 5, 6), "attention_mask": real(4, 4)], names: "[4, 4]"),
        Refusal(
            "an axis that is not there", "AxialAttention", ["axial_dim": 3],
            ["q": real(1, 1, 2, 3, 4), "k": real(1, 1, 2, 3, 4), "v": real(1, 1, 2, 3, 4)], names: "axial_dim"),
        Refusal(
            "keys of another batch", "MultiHeadAttention", attention, ["q": real(2, 5, 6), "kv": real(3, 5, 6)],
            names: "[3, 5, 6]"),
        Refusal(
            "an id outside the codebook", "Codebook", codebook, ["indices": ids(0, 4, shape: [2])], method: "lookup",
            names: "4"),
        Refusal("vectors of another width", "Codebook", codebook, ["z": real(1, 4, 2)], names: "[1, 4, 2]"),
        Refusal(
            "a decay beyond one", "Codebook", ["num_embeddings": 4, "embedding_dim": 3, "decay": 1.5], names: "decay"),
        Refusal(
            "a width the heads do not divide", "video_gpt.model.video_vqvae", ["attn_hidden_dim": 7],
            names: "attn_hidden_dim"),
        Refusal(
            "pixels of another depth", "video_gpt.model.video_vqvae", vqvae, ["x": real(1, 1, 4, 8, 8)],
            names: "[1, 1, 4, 8, 8]"),
        Refusal(
            "ids of another grid", "video_gpt.model.video_vqvae", vqvae, ["indices": ids(0, 1, shape: [1, 2])],
            method: "decode", names: "[1, 2]"),
        Refusal(
            "a text id outside the vocabulary", "text_video_gpt", gpt, ["in_tokens": ids(0, 11, shape: [1, 2])],
            names: "11"),
        Refusal(
            "more text than positions", "text_video_gpt", gpt, ["in_tokens": Tensor.zeros([1, 5], dtype: .int64)],
            names: "4 positions"),
        Refusal(
            "a position outside the grid", "text_video_gpt", gpt,
            ["out_tokens": ids(0, shape: [1, 1]), "out_pos_ids": ids(8, shape: [1, 1])], names: "8"),
        Refusal("neither modality", "text_video_gpt", gpt, names: "modalities"),
        Refusal(
            "batches that differ", "text_video_gpt", gpt,
            ["in_tokens": Tensor.zeros([1, 2], dtype: .int64), "out_tokens": Tensor.zeros([2, 2], dtype: .int64)],
            names: "batch"),
        Refusal(
            "a sequence of another length", "text_video_gpt", gpt, ["token_ids": ids(0, 1, shape: [1, 2])],
            method: "decode", names: "[1, 2]"),
        Refusal(
            "a patch mask without a patch", "ReconstructionLoss", [:],
            ["pred": real(1, 2, 3), "target": real(1, 2, 3), "mask": Tensor.zeros([1, 2], dtype: .int64)], names: "mask"
        ),
        Refusal(
            "bounds the wrong way round", "ContrastiveLossWithTemperature",
            ["logit_scale_min": 3, "logit_scale_max": 2], names: "logit_scale_max"),
        Refusal("a share above one", "LogitsFilterTopP", ["top_p": 1.2], names: "top_p"),
        Refusal("a negative count", "LogitsFilterTopK", ["top_k": -1], names: "top_k"),
        Refusal(
            "a mask of five axes", "get_extended_attention_mask", [:], ["attention_mask": real(1, 1, 1, 1, 1)],
            names: "attention_mask"),
        Refusal(
            "a width that the axes do not divide", "BroadcastedPositionEmbedding",
            ["latent_shape": [2, 2, 2], "embedding_dim": 4], names: "embedding_dim"),
        Refusal("an odd axis to halve", "GEGLU", [:], ["x": real(2, 3)], names: "[2, 3]"),
    ]
}

@Suite("What cannot be called is refused in words")
struct RefusalTests {
    @Test("a wrong call throws one sentence that names the mistake", arguments: Refusal.all)
    func isRefused(_ item: Refusal) throws {
        let request = ForwardDoor.Request(
            name: item.name, config: item.config, inputs: item.inputs, method: item.method, args: item.args,
            wantsGradients: item.gradients)
        do {
            _ = try ForwardDoor.run(request)
            Issue.record("nothing was thrown")
        } catch {
            #expect("\(error)".contains(item.named), "\(error)")
        }
    }

    @Test("weights that do not fit are listed all at once")
    func weightsAreStrict() throws {
        var (request, _) = try ForwardCase(label: "SamePadConv3d-k1").request()
        request.weights = ["conv.weight": Tensor.zeros([1, 2, 3]), "conv.offset": Tensor.zeros([4])]
        let error = #expect(throws: CheckpointError.self) { try ForwardDoor.run(request) }
        for part in ["conv.weight", "conv.bias", "conv.offset"] { #expect(error?.message.contains(part) == true) }
    }

    @Test("weights rounded to bf16 are what the call computes with")
    func roundedWeights() throws {
        var (request, _) = try ForwardCase(label: "MLP-one").request()
        request.wantsGradients = false
        request.inputs = request.inputs.filter { !$0.key.hasPrefix("cotangent.") }
        var rounded = request
        rounded.weights = request.weights?.mapValues { $0.cast(to: .bfloat16).cast(to: .float32) }
        request.precision = .bf16
        #expect(
            try ForwardDoor.run(request)["output"]?.scalars(Float.self)
                == ForwardDoor.run(rounded)["output"]?.scalars(Float.self))
        rounded.weights = try fixtureTensors("forward", "MLP-one", "weights.safetensors")
        #expect(
            try ForwardDoor.run(request)["output"]?.scalars(Float.self)
                != ForwardDoor.run(rounded)["output"]?.scalars(Float.self))
    }
}
