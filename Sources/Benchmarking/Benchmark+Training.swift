import Media
import Models
import NeuralNets
import Tensors
import Training

extension Benchmark {
    /// A step of the GPT and of the VQVAE: loss, gradients, their norm, and AdamW.
    func measureTraining() throws {
        if wants(.trainGPT) { try measureGPTTraining() }
        if wants(.trainVQVAE) { try measureVQVAETraining() }
    }

    /// Every precision on every number of threads.
    private var trainings: [(ProductPrecision, Int)] {
        settings.precisions.flatMap { precision in settings.threads.map { (precision, $0) } }
    }

    private func measureGPTTraining() throws {
        guard let gpt = try subject.module(weights: .float32) as? MultimodalGPT else {
            throw missing([.trainGPT], "GPT")
        }
        let (inputs, outputs) = (gpt.inputCapacity, gpt.outputLength)
        let work = GPTWork(gpt)
        var step = TrainingStep(gpt)
        for batch in settings.batches {
            let key = RandomKey(seed: 0).derived("training")
            func ids(_ name: String, _ count: Int, below bound: Int) -> Tensor {
                let key = key.derived(name)
                let values = (0..<batch * count).map { Int64(key.integer(below: bound, index: $0)) }
                return Tensor(values, shape: [batch, count])
            }
            let input = ids("input", inputs, below: gpt.inputTokenCount)
            let output = ids("output", outputs, below: gpt.outputTokenCount)
            for (precision, count) in trainings {
                use(threads: count)
                try measure(
                    .init(stage: .trainGPT, precision: precision, batch: batch, depth: inputs + outputs), amount: 1,
                    floor: { [work.training(batch: batch, input: inputs, output: outputs)] }
                ) {
                    step.make(precision) { gpt.loss(input: input, output: output, $0).total }
                }
            }
        }
    }

    private func vqvaeSizes() throws -> (configuration: VQVAEConfiguration, latent: [Int]?) {
        let module = try subject.module()
        let gpt = module as? MultimodalGPT
        guard let vqvae = module as? VQVAE ?? gpt?.vqvae else { throw missing([.trainVQVAE], "VQVAE") }
        return (vqvae.configuration, gpt?.latentShape)
    }

    private func measureVQVAETraining() throws {
        // That of a GPT is frozen; one of the same size is trained instead, and the GPT's memory is given back.
        let (configuration, latentOfGPT) = try vqvaeSizes()
        let vqvae = VQVAE(configuration, random: RandomKey(seed: 0).derived("vqvae"))
        let shape = clipShape(vqvae, latentOfGPT)
        let latent = vqvae.latentShape(shape)
        let work = VQVAEWork(vqvae.configuration)
        let size = vqvae.dimensions == 3 ? shape : [1] + shape
        var step = TrainingStep(vqvae)
        for batch in settings.batches {
            let task = VQVAETask(
                vqvae, training: RandomClips(count: batch, size: size), validation: nil,
                range: subject.media.pixelRange,
                output: ModelOutput(writeGrid: { _, path in path }, writeModel: { _, _ in }))
            let items = (0..<batch).map { (index: $0, epoch: 0) }
            let data = try task.reader(items)
            for (precision, count) in trainings {
                use(threads: count)
                try measure(
                    .init(stage: .trainVQVAE, precision: precision, batch: batch), amount: 1,
                    floor: { [work.training(shape, latent: latent, batch: batch)] }
                ) {
                    try step.make(precision) {
                        try task.loss(items, data: data, key: RandomKey(seed: 0).derived("data"), $0).0
                    }
                }
            }
        }
    }
}

/// Makes optimizer steps as the trainer does, without its log and files.
private struct TrainingStep {
    private let module: Module
    private let optimizer: AdamW
    private var count = 0

    init(_ module: Module) {
        self.module = module
        optimizer = AdamW(module)
    }

    mutating func make(_ precision: ProductPrecision, _ loss: (ForwardContext) throws -> Tensor) rethrows {
        count += 1
        let context = ForwardContext(training: RandomKey(seed: 0).derived("forward", count), precision: precision)
        let found = try loss(context).backward()
        var gradients: [String: Tensor] = [:]
        for (key, parameter) in module.parameters where parameter.isTrainable {
            gradients[key] = found[parameter.wrappedValue]
        }
        let norm = globalNorm(gradients)
        optimizer.update(gradients, rate: 1e-5, scale: min(1, 1 / (norm + 1e-6)))
    }
}

/// Clips of noise.
private struct RandomClips: ClipSource {
    let count: Int
    let size: [Int]
    var fingerprint: String { "random clips" }

    func pixels(_ index: Int, epoch: Int?) throws -> Tensor {
        let words = RandomKey(seed: 0).derived("clip", index).words(size.reduce(3, *))
        return Tensor(words.map { UInt8(truncatingIfNeeded: $0) }, shape: size + [3])
    }

    func caption(_ index: Int) -> String { "" }
}
