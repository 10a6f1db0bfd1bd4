import Checkpoints
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

private let text: JSONObject = [
    "vocab_size": 20, "max_position_embeddings": 8, "n_layers": 1, "n_heads": 2, "dim": 8, "hidden_dim": 8,
]
private let video: JSONObject = [
    "stem": [2, 2], "head": [1, 1, 1],
    "blocks": [[[1, 1, 1, 1, 1, 1]], [[1, 1, 1, 1, 1, 1]], [[1, 1, 1, 1, 1, 1]]],
]
private let small: JSONObject = [
    "text_model_config": .object(text), "video_model_config": .object(video), "proj_out_dim": 4,
]

private func call(texts: Tensor, videos: Tensor) throws -> [String: Tensor] {
    try ForwardDoor.run(
        ForwardDoor.Request(name: "videoclip", config: small, inputs: ["features_a": texts, "features_b": videos]))
}

@Suite struct VideoCLIPTests {
    private let ids = Tensor([1, 5, 2, 0] as [Int64], shape: [1, 4])
    private let clip = Tensor.uniform([1, 3, 5, 17, 17], key: RandomKey(seed: 1))

    @Test("videos whose channels are not in their place are refused")
    func wrongChannels() {
        let turned = clip.permuted([0, 2, 3, 4, 1]).contiguous()
        #expect(message { _ = try call(texts: ids, videos: turned) }.contains("Channels must be at first"))
    }

    @Test("videos that the steps leave nothing of are refused, and the least ones are not")
    func smallVideos() throws {
        for shape in [[1, 3, 4, 17, 17], [1, 3, 5, 16, 17], [1, 3, 5, 17, 16]] {
            #expect(message { _ = try call(texts: ids, videos: Tensor.zeros(shape)) }.contains("at least 5 of 17x17"))
        }
        #expect(try call(texts: ids, videos: clip)["embeddings_b"]?.shape == [1, 4])
    }

    @Test("running statistics take the stated share of each batch, and S3D's own of 0.001 otherwise")
    func runningStatistics() throws {
        func means(_ sizes: JSONObject) throws -> [Float] {
            var config = small
            config["video_model_config"] = .object(sizes)
            config["video_pretrained"] = false
            let results = try ForwardDoor.run(
                ForwardDoor.Request(
                    name: "videoclip", config: config,
                    inputs: ["features_a": concatenated([ids, ids]), "features_b": concatenated([clip, clip * 2])],
                    mode: .train))
            let key = try #require(results.keys.first { $0.hasSuffix("features.0.0.1.running_mean") })
            return try #require(results[key]).scalars(Float.self)
        }
        var quick = video
        quick["norm_momentum"] = 0.5
        let (published, stated) = (try means(video), try means(quick))
        #expect(published.contains { $0 != 0 })
        for (own, other) in zip(published, stated) { #expect(abs(other - 500 * own) <= 1e-4 * abs(other)) }
    }

    @Test("texts that are too long or hold other ids are refused")
    func wrongTexts() {
        #expect(
            message { _ = try call(texts: Tensor([Int64](repeating: 1, count: 9), shape: [1, 9]), videos: clip) }
                .contains("at most 8"))
        #expect(
            message { _ = try call(texts: Tensor([20 as Int64], shape: [1, 1]), videos: clip) }.contains("0 to 19"))
    }

    @Test("embeddings have length 1, and padding behind a text changes nothing")
    func embeddings() throws {
        let short = try call(texts: ids.sliced(1, 0..<3).contiguous(), videos: clip)
        let long = try call(texts: ids, videos: clip)
        for name in ["embeddings_a", "embeddings_b"] {
            let values = try #require(long[name]).scalars(Float.self)
            #expect(abs(values.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
        }
        let pairs = zip(
            try #require(short["embeddings_a"]).scalars(Float.self),
            try #require(long["embeddings_a"]).scalars(Float.self))
        #expect(pairs.allSatisfy { abs($0 - $1) < 1e-6 })
    }

    @Test("a part that something was learned by before may be left as it is, any other learns")
    func whatLearns() throws {
        for (pretrained, trainable) in [(true, true), (true, false), (false, true), (false, false)] {
            var config = small
            for part in ["text", "video"] {
                config["\(part)_pretrained"] = .bool(pretrained)
                config["\(part)_trainable"] = .bool(trainable)
            }
            let model = try ModelRegistry.unfilled("videoclip", JSONFields(config, source: "the arguments"))
            for (key, parameter) in model.parameters {
                let isEncoder = key.hasPrefix("encoder_a.0.") || key.hasPrefix("encoder_b.0.")
                #expect(parameter.isTrainable == (trainable || !pretrained || !isEncoder), "\(key)")
            }
        }
    }
}
