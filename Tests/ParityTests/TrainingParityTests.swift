import Checkpoints
import Foundation
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing

/// A run of 20 AdamW steps that the peer has made.
struct TrainingCase: CustomTestStringConvertible, Sendable {
    let label: String
    var testDescription: String { label }

    func batch(_ step: Int, _ all: [String: Tensor]) -> [String: Tensor] {
        Dictionary(
            uniqueKeysWithValues: all.filter { $0.key.hasPrefix("\(step).") }
                .map { (String($0.key.dropFirst("\(step).".count)), $0.value) })
    }

    /// The loss and its parts for one batch.
    func losses(_ module: Module, _ batch: [String: Tensor], _ context: ForwardContext) throws -> [String: Tensor] {
        if let model = module as? VQVAE {
            let x = try #require(batch["x"])
            let output = model(x, context)
            let reconstruction = meanSquaredError(output.decoded, x)
            let commitment = commitmentLoss(
                quantized: output.codebookOutput.quantizedFlat, encoded: output.codebookOutput.encodedFlat, cost: 0.25)
            return ["loss": reconstruction + commitment, "reconstruction": reconstruction, "commitment": commitment]
        }
        let model = try #require(module as? MultimodalGPT)
        let (input, output) = (try #require(batch["in_tokens"]), try #require(batch["out_tokens"]))
        let mask = Masks.logits(
            inputLength: input.shape[1], outputLength: output.shape[1], inputCount: model.inputTokenCount,
            outputCount: model.outputTokenCount)
        let logits = model(input: input, output: output, logitsMask: mask.cast(to: .bool), context).logits
        let shifted = output.scalars(Int64.self).map { $0 + Int64(model.inputTokenCount) }
        let targets = concatenated([input, Tensor(shifted, shape: output.shape)], axis: 1)
        return ["loss": meanCrossEntropy(logits.flattened(0, 1), targets.flattened())]
    }
}

@Suite("Training follows the peer's")
struct TrainingParityTests {
    @Test(
        "20 steps of AdamW give the peer's losses, gradient norms and weights",
        arguments: [TrainingCase(label: "vqvae"), TrainingCase(label: "gpt")])
    func trajectory(_ item: TrainingCase) throws {
        let fields = try JSONFields(fixtureJSON("training", item.label, "case.json"), source: item.label)
        let expected = try fixtureTensors("training", item.label, "expected.safetensors")
        let batches = try fixtureTensors("training", item.label, "batches.safetensors")
        let module = try ForwardDoor.module(
            try fields.string("name"), config: try fields.fields("config").object,
            weights: fixtureTensors("training", item.label, "start.safetensors"))
        let frozen = try fields.strings("frozen")
        for (key, parameter) in module.parameters {
            parameter.isTrainable = !frozen.contains { key.hasPrefix($0) }
        }
        let numbers = try fields.fields("optimizer_config")
        let betas = try numbers.doubles("betas")
        let optimizer = AdamW(
            module, betas: (betas[0], betas[1]), epsilon: try numbers.double("eps"),
            weightDecay: try numbers.double("weight_decay"))
        let (rate, clip) = (try numbers.double("lr"), try fields.double("clip_norm"))

        for step in 0..<(try fields.integer("steps")) {
            let context = ForwardContext(training: RandomKey(seed: 0).derived("step", step))
            let losses = try item.losses(module, item.batch(step, batches), context)
            let found = try #require(losses["loss"]).backward()
            var gradients: [String: Tensor] = [:]
            for (key, parameter) in module.parameters where parameter.isTrainable {
                gradients[key] = found[parameter.wrappedValue]
            }
            let norm = globalNorm(gradients)
            optimizer.update(gradients, rate: rate, scale: min(1, clip / (norm + 1e-6)))
            let numbers = losses.mapValues { Double($0.item(Float.self)) }.merging(["grad_norm": norm]) { first, _ in
                first
            }
            for (name, value) in numbers {
                let wanted = Double(try #require(expected[name]).scalars(Float.self)[step])
                #expect(
                    abs(value - wanted) <= 1e-4 * abs(wanted), "\(name) at step \(step): \(value), the peer \(wanted)")
            }
        }
        let state = module.stateDictionary
        for (name, tensor) in expected where name.hasPrefix("final.") {
            let key = String(name.dropFirst("final.".count))
            let problem = difference(key, state[key], tensor, Tolerance(relative: 3e-4, floor: 0))
            if let problem { Issue.record("\(problem)") }
        }
    }

    /// How far two sets of gradients lie apart, all of them as one vector.
    private func distance(_ a: [String: Tensor], _ b: [String: Tensor]) throws -> Double {
        #expect(Set(a.keys) == Set(b.keys))
        return try a.reduce(0.0) { try $0 + ($1.value - #require(b[$1.key])).sumOfSquares() }.squareRoot()
    }

    /// PyTorch rounds the results of products too, and gradients on their way; the engine only what goes into products. So
    /// the engine must be no farther from the exact gradient than PyTorch is, and no farther from PyTorch than two errors
    /// of that size that do not depend on each other (their root of two, and a tenth more for chance).
    @Test(
        "loss and gradients in bfloat16 are as close to the exact ones as PyTorch's autocast",
        arguments: [(TrainingCase(label: "vqvae"), 3), (TrainingCase(label: "gpt"), 0)])
    func autocast(_ item: TrainingCase, step: Int) throws {
        let fields = try JSONFields(fixtureJSON("training", item.label, "case.json"), source: item.label)
        let fixture = try fixtureTensors("training", item.label, "autocast.safetensors")
        let batch = item.batch(step, try fixtureTensors("training", item.label, "batches.safetensors"))
        func gradients(_ prefix: String) -> [String: Tensor] {
            Dictionary(
                uniqueKeysWithValues: fixture.filter { $0.key.hasPrefix(prefix) }
                    .map { (String($0.key.dropFirst(prefix.count)), $0.value) })
        }
        let (rounded, exact) = (gradients("grad."), gradients("exact.grad."))
        func engine(_ precision: ProductPrecision) throws -> (loss: Double, gradients: [String: Tensor]) {
            let module = try ForwardDoor.module(
                try fields.string("name"), config: try fields.fields("config").object,
                weights: fixtureTensors("training", item.label, "start.safetensors"))
            let context = ForwardContext(training: RandomKey(seed: 0), precision: precision)
            let loss = try #require(item.losses(module, batch, context)["loss"])
            let found = loss.backward()
            let named = module.parameters.compactMap { key, parameter -> (String, Tensor)? in
                guard rounded[key] != nil else { return nil }
                return found[parameter.wrappedValue].map { (key, $0) }
            }
            return (Double(loss.detached.item(Float.self)), Dictionary(uniqueKeysWithValues: named))
        }
        let (found, plain) = (try engine(.bfloat16), try engine(.float32))
        let unit = try distance(rounded, exact)
        let errors = (try distance(found.gradients, exact), try distance(found.gradients, rounded))
        #expect(try distance(plain.gradients, exact) < 0.01 * unit)
        #expect(errors.0 < 1.1 * unit && errors.0 > 0.1 * unit, "\(errors) of \(unit)")
        #expect(errors.1 < 1.6 * unit, "\(errors) of \(unit)")
        let losses = try ["loss", "exact.loss"].map { Double(try #require(fixture[$0]).item(Float.self)) }
        // Eight bits of precision, and a mean over many terms whose errors partly cancel.
        #expect(abs(found.loss - losses[1]) < 0x1p-8 * losses[1] && abs(found.loss - losses[0]) < 0x1p-8 * losses[1])
        #expect(found.loss != plain.loss)
    }
}
