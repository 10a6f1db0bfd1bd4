import Generation
import Models
import NeuralNets
import Tensors

extension Benchmark {
    /// What stands between a model directory and the first code: reading, packing, the tokenizer, the prompt.
    func measureFirstToken() throws {
        guard wants(.firstToken) else { return }
        guard let path = subject.path else { throw missing([.firstToken], "files") }
        for weights in settings.weights {
            guard let gpt = try subject.module(weights: weights) as? MultimodalGPT else {
                throw missing([.firstToken], "GPT")
            }
            let kind = weights ?? subject.weights
            let (work, prompt) = (GPTWork(gpt), subject.promptIDs(for: gpt))
            for cache in settings.caches {
                let type = cache ?? subject.cache
                // The weights are read twice: to lay them out for products, and in the products.
                let pass = work.pass(
                    depth: 0, window: prompt.count + 1, batch: 1, scored: 1, weights: kind, cache: type)
                let floor = [Work(bytes: work.weightBytes(kind)), pass]
                for count in settings.threads {
                    use(threads: count)
                    try measure(
                        .init(stage: .firstToken, weights: kind, cache: type), amount: 1, floor: { floor }
                    ) {
                        try Self.drawFirstID(path, weights: weights, cache: cache, prompt: prompt)
                    }
                }
            }
        }
    }

    private static func drawFirstID(
        _ path: String, weights: WeightPrecision?, cache: CacheType?, prompt: [Int]
    ) throws {
        let model = try PretrainedModel(contentsOf: path, weights: weights, cache: cache)
        guard let gpt = model.gpt else { return }
        // A person's prompt is words, which are encoded too.
        let words = model.tokenizer == nil ? nil : model.prompts.examples.first
        let ids = try words.map { try model.encodePrompt($0).ids } ?? prompt
        _ = try Generator(gpt, cacheType: model.cache).firstID(
            of: GenerationPrompt(ids: ids), options: SamplingOptions(seed: 0))
    }
}
