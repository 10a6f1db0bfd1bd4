import Foundation
import Generation
import Models
import NeuralNets
import Tensors
import TestSupport
import Testing
import Tokenizers

// Where the engine differs from the peer on purpose; each test's name starts with the defect's id in
// `Tests/Parity/PEER-DEFECTS.md`.

@Suite("Defects of the peer: generation")
struct GenerationDefectTests {
    private func prompts(_ count: Int, length: Int = 12) -> Tensor {
        Tensor(RandomKey(seed: 3).words(count * length).map { Int64($0 % 40) }, shape: [count, length])
    }

    @Test("W01: the cache's memory stays where it is over a whole generation")
    func cacheStays() throws {
        let model = try smallModel()
        let prompt = prompts(1)
        withoutGradients {
            var cache = model.makeCache(batch: 1, inputLength: 12)
            _ = model.prefill(input: prompt, cache: &cache)
            let start = cache.rows.address(of: 0)
            for position in 0..<31 {
                _ = model.step(output: Tensor([Int64(position % 32)]), cache: &cache)
                #expect(cache.rows.address(of: 0) == start)
            }
            #expect(cache.length == 44 && cache.rows.capacity(of: 0) == 44)
        }
    }

    @Test("W02: generations one after another and at once give the ids of fresh models")
    func nothingIsLeftBehind() throws {
        let (two, three) = (prompts(2), prompts(3))
        let model = try smallModel()
        let used = (greedy(model, prompts: two).ids, greedy(model, prompts: three).ids)
        #expect(used.0 == greedy(try smallModel(), prompts: two).ids)
        #expect(used.1 == greedy(try smallModel(), prompts: three).ids)
        // Two at once: their steps alternate on one model.
        withoutGradients {
            var (a, b) = (model.makeCache(batch: 2, inputLength: 12), model.makeCache(batch: 3, inputLength: 12))
            var nextA = model.prefill(input: two, cache: &a).argmax()
            var nextB = model.prefill(input: three, cache: &b).argmax()
            for position in 0..<31 {
                #expect(nextA.scalars(Int64.self) == used.0.map { $0[position] })
                #expect(nextB.scalars(Int64.self) == used.1.map { $0[position] })
                nextA = model.step(output: nextA, cache: &a).argmax()
                nextB = model.step(output: nextB, cache: &b).argmax()
            }
        }
    }

    @Test("W03: decoding without a cache gives the ids of decoding with one")
    func cacheIsOnlySpeed() throws {
        let model = try smallModel()
        let prompt = prompts(1)
        let cached = greedy(model, prompts: prompt, length: 8).ids[0]
        var ids: [Int64] = []
        withoutGradients {
            for _ in 0..<8 {
                // The slot of the next id is there, with any id in it: it cannot be seen from where it is predicted.
                let output = Tensor(ids + [0], shape: [1, ids.count + 1])
                let logits = model(input: prompt, output: output, .inference).logits.selected(1, -1)
                ids.append(logits.sliced(1, model.inputTokenCount..<logits.shape[1]).argmax().item(Int64.self))
            }
        }
        #expect(ids == cached)
    }

    @Test("W04: positions need not be given: those of the model equal explicit ones")
    func positionsComeFromTheModel() throws {
        let model = try smallModel()
        let input = prompts(1)
        let output = Tensor((0..<32).map { Int64($0) }, shape: [1, 32])
        withoutGradients {
            let given = model(
                input: input, output: output, inputPositions: Tensor.range(12).unsqueezed(0),
                outputPositions: Tensor.range(32).unsqueezed(0), .inference)
            let own = model(input: input, output: output, .inference)
            #expect(given.logits.scalars(Float.self) == own.logits.scalars(Float.self))
        }
    }

    @Test(
        "W04: steps take their positions from the cache, however the output before them was read",
        arguments: [0, 1, 7])
    func positionsComeFromTheCache(given: Int) throws {
        let model = try smallModel()
        let input = prompts(1)
        let ids = (0..<32).map { Int64($0 * 5 % 32) }
        withoutGradients {
            let whole = model(input: input, output: Tensor(ids, shape: [1, 32]), .inference).logits
            var cache = model.makeCache(batch: 1, inputLength: 12)
            let first = Tensor(Array(ids[..<given]), shape: [1, given])
            var scores = model.prefill(input: input, output: given > 0 ? first : nil, cache: &cache)
            for position in given..<32 {
                let expected = whole.selected(1, 12 + position)
                    .sliced(1, model.inputTokenCount..<(model.inputTokenCount + model.outputTokenCount)).contiguous()
                #expect(difference("scores \(position)", scores, expected, Tolerance(relative: 2e-6, floor: 0)) == nil)
                if position < 31 { scores = model.step(output: Tensor([ids[position]]), cache: &cache) }
            }
        }
    }

    @Test("W05: a seed decides the ids, they arrive one by one, and prompts of several lengths share a batch")
    func samplingIsComplete() throws {
        let generator = Generator(try smallModel())
        let texts = [prompts(1), prompts(1, length: 7), prompts(1)].map { $0.scalars(Int64.self).map { Int($0) } }
        let all = texts.map { GenerationPrompt(ids: $0) }
        let options = SamplingOptions(seed: 9, temperature: 1.5, topK: 20, window: .positions(1))
        var positions: [Int] = []
        let first = try generator.generate(all, options: options) { positions.append($0.position) }
        #expect(try generator.generate(all, options: options) == first)
        #expect(positions.count >= 31)
        var other = options
        other.seed = 10
        #expect(try generator.generate(all, options: other) != first)
        let single = try generator.generate([all[1]], options: options)
        #expect(single.map(\.ids) == first.filter { $0.prompt == 1 }.map(\.ids))
    }

    @Test("W11: a later id changes no earlier score, not by a bit", arguments: [true, false])
    func laterIDsAreUnseen(training: Bool) throws {
        let model = try smallModel()
        let input = prompts(1)
        var ids = (0..<32).map { Int64($0) }
        func logits() -> Tensor {
            let context = training ? ForwardContext(training: RandomKey(seed: 1)) : .inference
            return model(input: input, output: Tensor(ids, shape: [1, 32]), context).logits.detached
        }
        let before = logits()
        ids[20] = 31
        let after = logits()
        // Slot 12 + 20 holds the changed id; shifted right, its first reader is the slot behind it.
        let seen = 12 + 20 + 1
        func rows(_ x: Tensor, _ range: Range<Int>) -> [UInt32] {
            x.sliced(1, range).scalars(Float.self).map(\.bitPattern)
        }
        #expect(rows(before, 0..<seen) == rows(after, 0..<seen))
        #expect(rows(before, seen..<44) != rows(after, seen..<44))
    }

    @Test("W12: a step computes the scores of output ids only, with the values of the full product")
    func onlyOutputScores() throws {
        let model = try smallModel()
        let prompt = prompts(2)
        withoutGradients {
            var cache = model.makeCache(batch: 2, inputLength: 12)
            let scores = model.prefill(input: prompt, cache: &cache)
            #expect(scores.shape == [2, model.outputTokenCount])
            let output = Tensor([Int64](repeating: 0, count: 2), shape: [2, 1])
            let full = model(input: prompt, output: output, .inference).logits.selected(1, 12)
                .sliced(1, model.inputTokenCount..<(model.inputTokenCount + model.outputTokenCount)).contiguous()
            #expect(difference("scores", scores, full, Tolerance(relative: 2e-6, floor: 0)) == nil)
        }
    }

    @Test("W15: decoding a padded prompt gives its words back")
    func promptsComeBack() throws {
        let folder = fixturesFolder.appendingPathComponent("tokenizers/charbpe")
        let tokenizer = try MUGENTextTokenizer(
            CharBPETokenizer(
                encoder: folder.appendingPathComponent("encoder.json"),
                merges: folder.appendingPathComponent("merges.txt")))
        // Words of the vocabulary: the published format puts a space between pieces, so rarer words come back in pieces.
        let text = "mugen jumps over a coin and collects a coin"
        let ids = tokenizer.encodeContext(text)
        #expect(ids.count == tokenizer.contextLength)
        let words = tokenizer.decode(ids).replacingOccurrences(of: "[SEP]", with: "")
        #expect(words.trimmingCharacters(in: .whitespaces) == text)
    }

    @Test("W16: the memory of attention does not grow with the square of the length")
    func attentionIsLinear() throws {
        func peak() -> Int? {
            let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)
            let line = status?.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
            return line.flatMap { Int($0.filter(\.isNumber)) }
        }
        let x = Tensor.normal([1, 2, 4096, 8], key: RandomKey(seed: 1))
        guard let before = peak() else { return }
        let result = withoutGradients { scaledDotProductAttention(x, x, x, mask: .causal) }
        #expect(result.shape == x.shape)
        // Probabilities would take 128 MiB.
        #expect(try #require(peak()) - before < 64 * 1024)
    }
}
