import Checkpoints
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

private let encoder: JSONObject = [
    "class": "SwinTransformer3d", "patch_size": [2, 4, 4], "embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2],
    "window_size": [2, 2, 2], "num_classes": .null, "patch_embed": "PatchEmbedOmnivore",
]
private let small: JSONObject = ["encoder": .object(encoder), "heads": ["image": 3, "video": 4]]

private func call(_ shape: [Int], _ config: JSONObject = small, kind: String = "image") throws -> [String: Tensor] {
    try ForwardDoor.run(
        ForwardDoor.Request(
            name: "Omnivore", config: config, inputs: ["x": Tensor.uniform(shape, key: RandomKey(seed: 1))],
            args: ["input_type": .string(kind)]))
}

@Suite struct OmnivoreTests {
    @Test("a kind of input that there is no head for is refused with the list of those there are")
    func wrongKind() {
        for kind in ["_WRONG_TYPE_", "rgbd"] {
            let text = message { _ = try call([1, 3, 1, 8, 8], kind: kind) }
            #expect(text == "Unsupported input_type: \(kind), please use one of ['image', 'video'].")
        }
    }

    @Test("two or five channels are refused, three and four are not")
    func channels() throws {
        for channels in [1, 2, 5] {
            #expect(message { _ = try call([1, channels, 1, 8, 8]) }.contains("3 channels, or 4 with depth"))
        }
        for channels in [3, 4] { #expect(try call([1, channels, 1, 8, 8])["output"]?.shape == [1, 3]) }
    }

    @Test("inputs of one pixel and of odd sizes have scores")
    func oddSizes() throws {
        for shape in [[1, 3, 1, 1, 1], [2, 3, 3, 9, 31], [1, 4, 5, 33, 6]] {
            let scores = try #require(try call(shape, kind: "video")["output"])
            #expect(scores.shape == [shape[0], 4])
            let isFinite = scores.scalars(Float.self).allSatisfy(\.isFinite)
            #expect(isFinite)
        }
    }

    @Test("a video's scores are the same bits alone and in a batch")
    func batches() throws {
        let both = Tensor.uniform([2, 3, 4, 20, 12], key: RandomKey(seed: 3))
        func scores(_ x: Tensor) throws -> [Float] {
            let result = try ForwardDoor.run(
                ForwardDoor.Request(
                    name: "Omnivore", config: small, inputs: ["x": x], args: ["input_type": "video"], seed: 4))
            return try #require(result["output"]).scalars(Float.self)
        }
        #expect(try scores(both) == scores(both.sliced(0, 0..<1)) + scores(both.sliced(0, 1..<2)))
    }

    @Test(
        "arguments that make no encoder are refused",
        arguments: [
            ("num_heads", [3, 2], "num_heads"), ("num_heads", [1], "num_heads"),
            ("window_size", [2, 0, 2], "window_size"),
            ("patch_size", [2, 4], "patch_size"), ("depths", [], "depths"),
            ("window_size", [64, 64, 64], "window_size"),
        ] as [(String, JSONValue, String)])
    func arguments(_ key: String, _ value: JSONValue, _ named: String) {
        var changed = encoder
        changed[key] = value
        #expect(
            message { _ = try call([1, 3, 1, 8, 8], ["encoder": .object(changed), "heads": ["image": 3]]) }.contains(
                named))
    }

    @Test("a model of any size is a published one with its arguments, and has the heads that are named")
    func anySize() throws {
        func shapes(_ name: String, _ arguments: JSONObject = [:]) throws -> [String: [Int]] {
            try ModelRegistry.unfilled(name, JSONFields(arguments, source: "the arguments")).stateDictionary.mapValues(
                \.shape)
        }
        for size in ["t", "s", "b"] {
            let name = "omnivore_swin_\(size)"
            let arguments = try #require(ModelRegistry.omnivoreArguments(name, [:]))
            #expect(try shapes("omnivore", arguments) == shapes(name))
            #expect(ModelRegistry.omnivoreArguments(name + "_encoder", [:]) == nil)
        }
        #expect(try shapes("omnivore") == shapes("omnivore_swin_t"))
        let one = try shapes("omnivore", ["depths": [1], "num_heads": [3], "heads": ["video": 5]])
        #expect(one.keys.filter { $0.hasPrefix("heads") }.sorted() == ["heads.video.1.bias", "heads.video.1.weight"])
        #expect(one["heads.video.1.weight"] == [5, 96])
        for (arguments, named) in [
            (["heads": ["depth": 3]], "heads.depth"), (["heads": ["image": 0]], "heads.image"),
            (["num_classes": 3], "num_classes"), (["embed_dim": 10], "num_heads"),
        ] as [(JSONObject, String)] {
            #expect(message { _ = try shapes("omnivore", arguments) }.contains(named))
        }
    }

    @Test("weights that would have to be fetched are refused")
    func pretrained() {
        let text = message {
            _ = try ModelRegistry.unfilled(
                "omnivore_swin_t", JSONFields(["pretrained": true], source: "the arguments"))
        }
        #expect(text.contains("pretrained"))
    }

    @Test("a dropout of samples leaves the mean of a branch as it is and changes no result at inference")
    func stochasticDepth() throws {
        var changed = encoder
        changed["stochastic_depth_prob"] = 0.5
        let config: JSONObject = ["encoder": .object(changed), "heads": ["image": 3]]
        let plain: JSONObject = ["encoder": .object(encoder), "heads": ["image": 3]]
        let x = Tensor.uniform([4, 3, 1, 16, 16], key: RandomKey(seed: 5))
        func run(_ config: JSONObject, _ mode: ForwardDoor.Mode) throws -> [Float] {
            let request = ForwardDoor.Request(
                name: "Omnivore", config: config, inputs: ["x": x], args: ["input_type": "image"], mode: mode)
            return try #require(try ForwardDoor.run(request)["output"]).scalars(Float.self)
        }
        #expect(try run(config, .eval) == run(plain, .eval))
        #expect(try run(config, .train) != run(plain, .train))
    }
}
