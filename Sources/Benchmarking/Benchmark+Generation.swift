import Foundation
import Generation
import Media
import Models
import NeuralNets
import Tensors

extension Benchmark {
    /// Prefill, decode and end to end, for every kind of weights.
    func measureGeneration() throws {
        let stages: [BenchmarkStage] = [.prefill, .decode, .endToEnd]
        guard stages.contains(where: { settings.stages.contains($0) }) else { return }
        for weights in settings.weights {
            try cancellation.check()
            guard let gpt = try subject.module(weights: weights) as? MultimodalGPT else {
                throw missing(stages, "GPT")
            }
            let run = GenerationStages(
                benchmark: self, gpt: gpt, work: GPTWork(gpt), weights: weights ?? subject.weights)
            withoutGradients { gpt.packForInference() }
            for cache in settings.caches.map({ $0 ?? subject.cache }) {
                for batch in settings.batches {
                    if wants(.prefill) { try run.prefill(cache, batch) }
                    if wants(.decode) { try run.decode(cache, batch) }
                    if wants(.endToEnd) { try run.endToEnd(cache, batch) }
                }
            }
        }
    }
}

/// The stages of generation with one model.
private struct GenerationStages {
    let benchmark: Benchmark
    let gpt: MultimodalGPT
    let work: GPTWork
    let weights: WeightPrecision

    private var prompt: [Int] { benchmark.subject.promptIDs(for: gpt) }

    private func codes(_ count: Int) -> [Int] {
        let key = RandomKey(seed: 0).derived("codes")
        return (0..<count).map { key.integer(below: gpt.outputTokenCount, index: $0) }
    }

    private func forEachThreadCount(_ body: () throws -> Void) rethrows {
        for count in benchmark.settings.threads {
            benchmark.use(threads: count)
            try body()
        }
    }

    func prefill(_ type: CacheType, _ batch: Int) throws {
        let prompt = prompt
        let pieces = (0..<batch).map { DecodingPiece(row: $0, input: prompt, output: []) }
        try requireMemory(type, batch: batch, positions: prompt.count + 1)
        var cache = gpt.makeCache(rows: batch, type: type)
        for row in 0..<batch { cache.start(row, room: prompt.count + 1) }
        let floor = work.pass(
            depth: 0, window: prompt.count + 1, batch: batch, scored: 1, weights: weights, cache: type)
        try forEachThreadCount {
            try benchmark.measure(
                .init(stage: .prefill, weights: weights, cache: type, batch: batch),
                amount: Double(batch * (prompt.count + 1)), floor: { [floor] }
            ) {
                for row in 0..<batch { cache.truncate(row, to: 0) }
                _ = withoutGradients { gpt.read(pieces, cache: &cache) }
            }
        }
    }

    func decode(_ type: CacheType, _ batch: Int) throws {
        let windows = benchmark.settings.windows.compactMap { window -> Int? in
            if case .positions(let count) = window { min(count, gpt.outputLength) } else { nil }
        }
        let widest = windows.max() ?? 1
        let deepest = benchmark.settings.depths.max() ?? 0
        try requireMemory(type, batch: batch, positions: deepest + widest)
        // A start of a cache that was really read, repeated to the depth: what the numbers are does not change the time.
        var cache = gpt.makeCache(rows: batch, type: type)
        let start = codes(min(64, gpt.outputLength, benchmark.settings.depths.min() ?? 1))
        for row in 0..<batch { cache.start(row, room: deepest + widest) }
        _ = withoutGradients { gpt.read((0..<batch).map { DecodingPiece(row: $0, output: start) }, cache: &cache) }
        for row in 0..<batch { cache.repeatPositions(of: row, to: deepest) }
        for window in windows.isEmpty ? [1] : windows {
            let ids = codes(window)
            let pieces = (0..<batch).map { DecodingPiece(row: $0, output: ids, scored: window) }
            for depth in benchmark.settings.depths {
                let floor = work.pass(depth: depth, window: window, batch: batch, weights: weights, cache: type)
                try forEachThreadCount {
                    // Deeper positions that were overwritten before are as good as any others.
                    if cache.length(of: 0) < depth {
                        for row in 0..<batch { cache.repeatPositions(of: row, to: depth) }
                    }
                    try benchmark.measure(
                        .init(
                            stage: .decode, weights: weights, cache: type, batch: batch, window: .positions(window),
                            depth: depth),
                        amount: Double(batch * window), floor: { [floor] }
                    ) {
                        for row in 0..<batch { cache.truncate(row, to: depth) }
                        _ = withoutGradients { gpt.read(pieces, cache: &cache) }
                    }
                }
            }
        }
    }

    func endToEnd(_ type: CacheType, _ batch: Int) throws {
        let generator = Generator(gpt, cacheType: type)
        let folder = try ScratchFolder()
        let prompt = prompt
        let latent = gpt.latentShape
        let coding = VQVAEWork(gpt.vqvae.configuration).decoding(latent)
        let read = work.pass(depth: 0, window: prompt.count + 1, batch: 1, scored: 1, weights: weights, cache: type)
        for window in benchmark.settings.windows {
            let options = SamplingOptions(seed: 0, samples: batch, window: window)
            var passes = 0
            try forEachThreadCount {
                try benchmark.measure(
                    .init(stage: .endToEnd, weights: weights, cache: type, batch: batch, window: window),
                    amount: Double(batch),
                    floor: {
                        // As many passes as there were, each as if only the codes that were kept had been read.
                        let pass = work.pass(
                            depth: prompt.count + 1 + gpt.outputLength / 2, window: 1, batch: batch, weights: weights,
                            cache: type)
                        return [read, pass * Double(max(0, passes - 1)), coding * Double(batch)]
                    }, passes: { passes }
                ) {
                    passes = try generator.generate(
                        [GenerationPrompt(ids: prompt)], options: options, batch: batch,
                        cancellation: benchmark.cancellation
                    ) { sample in
                        let ids = Tensor(sample.ids.map { Int64($0) }, shape: [1] + latent)
                        try folder.write("\(sample.sample)", benchmark.subject.media, gpt.vqvae, ids)
                    }.passes
                }
            }
        }
    }

    private func requireMemory(_ type: CacheType, batch: Int, positions: Int) throws {
        try MachineMemory.require(
            work.cacheBytes(type) * Double(batch) * Double(positions),
            for: "A cache of \(batch) sequences of \(positions) positions")
    }
}

/// A folder of finished clips that disappears with the object.
final class ScratchFolder {
    private let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("mmgen-bench-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    /// Decodes ids, `[1, d1, ..., dn]`, and writes what comes: an mp4 file, or a PNG picture.
    func write(_ name: String, _ media: PretrainedModel.Media, _ vqvae: VQVAE, _ ids: Tensor) throws {
        guard vqvae.dimensions == 3 else {
            let frame = try pixels(
                from: withoutGradients { vqvae.decode(ids) }.squeezed(0).unsqueezed(1), range: media.pixelRange)
            return try write(name + ".png", media.frameRate) { try $0.append(frame) }
        }
        try write(name + ".mp4", media.frameRate) { writer in
            try vqvae.decode(ids) { _, values in
                try writer.append(pixels(from: values.squeezed(0), range: media.pixelRange))
            }
        }
    }

    /// Writes a file.
    func write(_ name: String, _ frameRate: Double, _ body: (VideoWriter) throws -> Void) throws {
        let writer = try VideoWriter(to: url.appendingPathComponent(name), frameRate: frameRate)
        do {
            try body(writer)
            _ = try writer.finish()
        } catch {
            writer.cancel()
            throw error
        }
    }
}
