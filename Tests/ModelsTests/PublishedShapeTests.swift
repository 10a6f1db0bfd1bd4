import Checkpoints
import JSON
import NeuralNets
import Tensors
import Testing

@testable import Models

/// The shapes of the peer's factories, counted by running them.
@Suite("Published shapes")
struct PublishedShapeTests {
    private func build(_ name: String, _ arguments: JSONObject = [:]) throws -> Module {
        try Initialization.skipped { try ModelRegistry.build(name, arguments: arguments, source: "test") }
    }

    @Test(
        "default factories have the peer's number of parameters",
        arguments: [
            ("video_gpt.model.video_vqvae", 13_768_339), ("video_vqvae_mugen", 26_158_579), ("video_gpt", 92_833_766),
            ("text_video_gpt", 114_831_091),
        ])
    func parameterCounts(name: String, count: Int) throws {
        #expect(try build(name).parameterCount == count)
    }

    @Test(
        "default factories have the peer's number of tensors",
        arguments: [
            ("video_vqvae_mugen", 295), ("text_video_gpt", 461),
        ])
    func tensorCounts(name: String, count: Int) throws {
        #expect(try build(name).stateDictionary.count == count)
    }

    @Test(
        "MUGEN's keys have MUGEN's shapes",
        arguments: [
            ("in_tokenizer.embedding.weight", [1152, 768]), ("mm_decoder.in_pos_emb.weight", [128, 768]),
            ("mm_decoder.out_pos_emb.embedding.d_0", [8, 256]), ("mm_decoder.right_shift.sos", [768]),
            ("mm_decoder.decoder.layers.11.mlp.model.2.weight", [768, 3072]), ("out_projection.weight", [768, 256]),
            ("to_logit.weight", [3200, 768]), ("out_tokenizer.codebook.embedding", [2048, 256]),
            ("out_tokenizer.encoder.convs.10.conv.weight", [240, 240, 3, 3, 3]),
            ("out_tokenizer.encoder.res_stack.3.block.8.mha_attns.2.output.bias", [240]),
            ("out_tokenizer.decoder.convts.8.convt.weight", [240, 3, 3, 3, 3]),
            ("out_tokenizer.encoder.res_stack.4.num_batches_tracked", []),
        ])
    func mugenKeys(key: String, shape: [Int]) throws {
        #expect(try build("text_video_gpt").stateDictionary[key]?.shape == shape)
    }

    @Test("latent sizes round up as the convolutions do")
    func latentSizes() throws {
        let vqvae = try #require(try build("video_vqvae_mugen") as? VQVAE)
        #expect(vqvae.latentShape([32, 256, 256]) == [8, 8, 8])
        #expect(vqvae.latentShape([33, 257, 250]) == [9, 9, 8])
        #expect(vqvae.outputShape([8, 8, 8]) == [32, 256, 256])
    }

    @Test("both video_vqvae builders are told apart by their keys")
    func ambiguousName() throws {
        let uniform: JSONObject = [
            "in_channel_dim": 3, "encoder_hidden_dim": 8, "encoder_kernel_size": 3, "encoder_stride": 2,
            "encoder_n_layers": 2, "n_res_layers": 1, "attn_hidden_dim": 8, "num_embeddings": 16, "embedding_dim": 4,
            "decoder_hidden_dim": 8, "decoder_kernel_size": 3, "decoder_stride": 2, "decoder_n_layers": 2,
        ]
        let vqvae = try #require(try build("video_vqvae", uniform) as? VQVAE)
        #expect(vqvae.latentShape([8, 8, 8]) == [2, 2, 2])
        #expect((try build("video_vqvae") as? VQVAE)?.latentShape([8, 8, 8]) == [4, 4, 4])
    }

    @Test("an image VQVAE and a text-to-image GPT come from the same parts")
    func images() throws {
        let image: JSONObject = [
            "conv_filter_sizes": [[4, 4], [4, 4]], "conv_filter_strides": [[2, 2], [2, 2]], "encoder_hidden_dim": 8,
            "decoder_hidden_dim": 8, "attn_hidden_dim": 8, "n_res_layers": 1, "num_embeddings": 16, "embedding_dim": 4,
        ]
        let built = try ModelRegistry.build("image_vqvae", arguments: image, source: "test")
        let vqvae = try #require(built as? VQVAE)
        let picture = Tensor.uniform([2, 3, 16, 12], key: RandomKey(seed: 1))
        let ids = vqvae.encode(picture)
        #expect(ids.shape == [2, 4, 3])
        #expect(vqvae.decode(ids).shape == [2, 3, 16, 12])
        let gpt = try ModelRegistry.build(
            "text_image_gpt",
            arguments: [
                "resolution": 16, "d_model": 8, "n_head": 2, "num_decoder_layers": 1, "text_seq_len": 3,
                "text_vocab_size": 5, "image_vqvae": .object(image),
            ], source: "test")
        #expect((gpt as? MultimodalGPT)?.latentShape == [4, 4])
    }

    @Test(
        "wrong arguments are refused in a sentence that names them",
        arguments: [
            ("video_vqvae", #"{"attn_hidden_dim": 7}"#, "attn_hidden_dim"),
            ("video_vqvae", #"{"num_embedings": 7}"#, "num_embedings"),
            ("video_vqvae", #"{"conv_filter_sizes": [[4, 4]]}"#, "conv_filter_sizes"),
            ("video_vqvae", #"{"num_embeddings": -1}"#, "num_embeddings"),
            ("text_video_gpt", #"{"d_model": 770}"#, "d_model"),
            ("text_video_gpt", #"{"dropout": 1.5}"#, "dropout"),
            ("text_video_gpt", #"{"downsample": [4, 16, 16]}"#, "downsample"),
            ("video_gpt", #"{"latent_shape": [8, 8, 8]}"#, "latent_shape"),
            ("video_vqvae_mugen", #"{"pretrained_model_key": "mugen_L32"}"#, "pretrained_model_key"),
            ("no_such_model", "{}", "no_such_model"),
        ])
    func refusals(name: String, arguments: String, word: String) throws {
        let object = try #require(try JSONValue.parse(arguments).objectValue)
        let error = #expect(throws: (any Error).self) { try build(name, object) }
        #expect(String(describing: error).contains(word))
    }

    @Test(
        "a configuration larger than any memory is refused in a sentence before anything is made",
        arguments: [
            ("video_vqvae", #"{"attn_hidden_dim": 16384, "encoder_filter_size": [64, 64, 64]}"#),
            ("image_vqvae", #"{"num_embeddings": 16777216, "embedding_dim": 65536}"#),
            ("text_video_gpt", #"{"d_model": 65535, "n_head": 1, "num_decoder_layers": 1024}"#),
        ])
    func enormous(name: String, arguments: String) throws {
        let object = try #require(try JSONValue.parse(arguments).objectValue)
        for read in [
            { _ = try ModelRegistry.build(name, arguments: object, source: "config.json") },
            {
                _ = try PretrainedModel.module(
                    name: name, arguments: object, source: "config.json", weights: [:], file: "model")
            },
            { _ = try ForwardDoor.module(name, config: object) },
        ] {
            let error = #expect(throws: TensorError.self) { try read() }
            #expect(error?.code == .invalidSize)
            #expect(error?.message.contains("'\(name)' of these arguments takes at least") == true, "\(error as Any)")
        }
    }

    @Test("training needs memory for five numbers where a model holds one")
    func training() throws {
        let fields = JSONFields(["attn_hidden_dim": 8, "encoder_hidden_dim": 8] as JSONObject, source: "config.json")
        let module = try ModelRegistry.build("image_vqvae", fields)
        let bytes = module.stateDictionary.values.reduce(0.0) { $0 + 4 * Double($1.count) }
        try MachineMemory.$byteCount.withValue(bytes) {
            _ = try ModelRegistry.build("image_vqvae", fields)
            #expect(throws: TensorError.self) { try ModelRegistry.build("image_vqvae", fields, isTrained: true) }
        }
        try MachineMemory.$byteCount.withValue(bytes + 16 * Double(module.parameterCount)) {
            _ = try ModelRegistry.build("image_vqvae", fields, isTrained: true)
        }
        #expect(throws: TensorError.self) {
            try MachineMemory.$byteCount.withValue(bytes - 1) { try ModelRegistry.build("image_vqvae", fields) }
        }
    }
}
