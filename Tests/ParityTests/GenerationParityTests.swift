import Checkpoints
import Foundation
import JSON
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

/// The small text-to-video model, built from its configuration with the peer's weights.
func smallModel() throws -> MultimodalGPT {
    let fields = try JSONFields(fixtureJSON("mugen_small", "config.json"), source: "mugen_small")
    let arguments = JSONObject(fields.object.members.filter { $0.key != "model" }.map { ($0.key, $0.value) })
    let module = try ForwardDoor.module(
        try fields.string("model"), config: arguments, weights: fixtureTensors("mugen_small", "model.safetensors"))
    return try #require(module as? MultimodalGPT)
}

/// Greedy ids of each prompt, `[batch][length]`, and the scores of each step, `[batch, length, ids]`.
func greedy(_ model: MultimodalGPT, prompts: Tensor, length: Int? = nil) -> (ids: [[Int64]], scores: Tensor) {
    withoutGradients {
        var cache = model.makeCache(batch: prompts.shape[0], inputLength: prompts.shape[1])
        var scores = [model.prefill(input: prompts, cache: &cache)]
        var ids = [scores[0].argmax().scalars(Int64.self)]
        for position in 0..<((length ?? model.outputLength) - 1) {
            let next = model.step(output: Tensor(ids[position]), cache: &cache)
            scores.append(next)
            ids.append(next.argmax().scalars(Int64.self))
        }
        let rows = (0..<prompts.shape[0]).map { row in ids.map { $0[row] } }
        return (rows, stacked(scores, axis: 1))
    }
}

@Suite("Greedy generation equals the peer's")
struct GenerationParityTests {
    @Test("ids, scores and frames of two prompts equal the peer's", arguments: [true, false])
    func wholeJob(together: Bool) throws {
        let model = try smallModel()
        let expected = try fixtureTensors("mugen_small", "io.safetensors")
        let prompts = try #require(expected["prompt_ids"])
        let ids = try #require(expected["greedy_ids"])
        let rows = (0..<prompts.shape[0]).map { prompts.sliced(0, $0..<($0 + 1)) }
        let results = (together ? [prompts] : rows).map { greedy(model, prompts: $0) }
        let found = results.flatMap(\.ids)
        #expect(found.flatMap { $0 } == ids.scalars(Int64.self))
        let scores = concatenated(results.map(\.scores))
        let tolerance = Tolerance(relative: 2e-5, floor: 0)
        #expect(difference("logits", scores, try #require(expected["logits"]), tolerance) == nil)
        let grid = Tensor(found.flatMap { $0 }, shape: [prompts.shape[0]] + model.latentShape)
        let frames = withoutGradients { model.vqvae.decode(grid) }
        #expect(difference("frames", frames, try #require(expected["frames"]), tolerance) == nil)
    }

    @Test("scores with a cache equal those of the whole sequence at every position")
    func cachedEqualsWhole() throws {
        let model = try smallModel()
        let expected = try fixtureTensors("mugen_small", "io.safetensors")
        let prompts = try #require(expected["prompt_ids"])
        let (ids, cached) = greedy(model, prompts: prompts)
        let output = Tensor(ids.flatMap { $0 }, shape: [prompts.shape[0], model.outputLength])
        let whole = withoutGradients { model(input: prompts, output: output, .inference).logits }
        let first = model.inputTokenCount
        let aligned = whole.sliced(1, prompts.shape[1]..<whole.shape[1])
            .sliced(2, first..<(first + model.outputTokenCount)).contiguous()
        #expect(difference("logits", cached, aligned, Tolerance(relative: 2e-6, floor: 0)) == nil)
    }
}
