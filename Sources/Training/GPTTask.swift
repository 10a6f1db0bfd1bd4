import Foundation
import Models
import NeuralNets
import Tensors

/// Trains a multimodal GPT on prompts and the codebook ids of clips.
public final class GPTTask: TrainingTask {
    /// The ids of a set of clips.
    public struct Data: Sendable {
        /// The ids of the clips.
        public let codes: CodeCache
        /// The ids of each clip's prompt, all of the model's context length.
        public let prompts: [[Int]]

        /// Joins ids and prompts.
        /// - Precondition: there is one prompt per clip.
        public init(codes: CodeCache, prompts: [[Int]]) {
            precondition(
                codes.count == prompts.count, "GPTTask.Data: \(codes.count) clips have \(prompts.count) prompts")
            self.codes = codes
            self.prompts = prompts
        }
    }

    private let model: MultimodalGPT
    private let training: Data
    private let validation: Data?
    private let emptyPrompt: [Int]
    private let promptDropout: Double
    private let inputWeight: Double
    private let output: ModelOutput
    private let sampler: ((MultimodalGPT) throws -> [Tensor])?

    /// A task.
    ///
    /// - Parameters:
    ///   - model: what is trained; its tokenizer is not.
    ///   - training: what it learns from.
    ///   - validation: what it is measured on.
    ///   - emptyPrompt: the ids of no prompt, for guidance.
    ///   - promptDropout: how often the prompt is replaced by the empty one, in `0...1`.
    ///   - inputWeight: the weight of the prompt's own ids in the loss.
    ///   - sampler: generates clips to show, given the model.
    ///   - output: writes pictures and the finished model.
    public init(
        _ model: MultimodalGPT, training: Data, validation: Data?, emptyPrompt: [Int], promptDropout: Double = 0,
        inputWeight: Double = 1, sampler: ((MultimodalGPT) throws -> [Tensor])? = nil, output: ModelOutput
    ) {
        self.model = model
        self.training = training
        self.validation = validation
        self.emptyPrompt = emptyPrompt
        self.promptDropout = promptDropout
        self.inputWeight = inputWeight
        self.sampler = sampler
        self.output = output
    }

    public var module: Module { model }
    public var itemCount: Int { training.codes.count }
    public var heldOutCount: Int { validation?.codes.count ?? 0 }
    public var quality: Quality? { Quality("video", isSmallerBetter: true) }
    public var dataFingerprint: String { training.codes.fingerprint }

    private func tensor(_ prompts: [[Int]]) -> Tensor {
        Tensor(prompts.joined().map(Int64.init), shape: [prompts.count, prompts.first?.count ?? 0])
    }

    public var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { [codes = training.codes] items in codes.rows(items.map(\.index)) }
    }

    public func loss(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let chances = Tensor.uniform([items.count], key: key.derived("prompt")).scalars(Float.self)
        let prompts = zip(items, chances).map { item, chance in
            Double(chance) < promptDropout ? emptyPrompt : training.prompts[item.index]
        }
        let (total, input, output) = model.loss(
            input: tensor(prompts), output: data, inputWeight: inputWeight, context)
        return (
            total,
            [
                ("loss", Double(total.detached.item(Float.self))), ("prompt", Double(input.item(Float.self))),
                ("video", Double(output.item(Float.self))),
            ]
        )
    }

    public func evaluate() throws -> Metrics {
        guard let validation, validation.codes.count > 0 else { return [] }
        return withoutGradients {
            var (prompt, video, batches) = (0.0, 0.0, 0)
            let perPass = 8
            for first in stride(from: 0, to: validation.codes.count, by: perPass) {
                let rows = Array(first..<min(first + perPass, validation.codes.count))
                let (_, input, output) = model.loss(
                    input: tensor(rows.map { validation.prompts[$0] }), output: validation.codes.rows(rows),
                    inputWeight: inputWeight, .inference)
                prompt += Double(input.item(Float.self)) * Double(rows.count)
                video += Double(output.item(Float.self)) * Double(rows.count)
                batches += rows.count
            }
            return [("prompt", prompt / Double(batches)), ("video", video / Double(batches))]
        }
    }

    public func writeSamples(to path: String, step: Int) throws -> [String] {
        guard let sampler else { return [] }
        return try [output.writeGrid(sampler(model), to: path + ".png")]
    }

    public func writeModel(to path: String) throws { try output.writeModel(model, to: path) }
}
