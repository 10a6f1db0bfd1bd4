import Checkpoints
import Foundation
import Tensors
import Testing

@testable import Understanding

@Suite("Indexes of embeddings")
struct RetrievalIndexTests {
    private func index() -> RetrievalIndex {
        var index = RetrievalIndex(model: "abc", width: 2)
        index.add(
            ["right", "up", "left", "also right"].map { RetrievalIndex.Item(name: $0, stamp: "1") },
            embeddings: Tensor([1, 0, 0, 1, -1, 0, 1, 0] as [Float], shape: [4, 2]))
        return index
    }

    private func folder() -> String {
        FileManager.default.temporaryDirectory.appendingPathComponent("index-\(UUID().uuidString)").path
    }

    @Test("The most similar items come first, and of equal ones the first that was added")
    func order() {
        let right = index().matches(Tensor([1, 0] as [Float], shape: [1, 2]), count: 3)
        #expect(right.map(\.item.name) == ["right", "also right", "up"])
        #expect(right.map(\.similarity) == [1, 1, 0] && right.allSatisfy { $0.match == nil })
        let down = index().matches(Tensor([0, -1] as [Float], shape: [1, 2]), count: 3)
        #expect(down.map(\.item.name) == ["right", "left", "also right"])
    }

    @Test("The most similar items are put in order by their scores, and the others stay behind them")
    func reranking() {
        let query = Tensor([1, 0] as [Float], shape: [1, 2])
        var asked: [[String]] = []
        /// By similarity: right, also right, up, left.
        func found(_ candidates: Int, _ scores: [Float?]) -> [RetrievalIndex.Match] {
            index().matches(query, count: 4, candidates: candidates) {
                asked.append($0.map(\.name))
                return scores
            }
        }
        let all = found(3, [-2, 0.5, 4])
        #expect(all.map(\.item.name) == ["up", "also right", "right", "left"])
        #expect(all.map(\.match) == [4, 0.5, -2, nil] && all.map(\.similarity) == [0, 1, 1, -1])
        // One that cannot be read stays behind those that can, before those that were not asked about.
        #expect(found(3, [nil, 1, 2]).map(\.item.name) == ["up", "also right", "right", "left"])
        // Of equal scores the more similar is first.
        #expect(found(9, [1, 1, 1, 1]).map(\.item.name) == ["right", "also right", "up", "left"])
        #expect(found(0, []).map(\.item.name) == ["right", "also right", "up", "left"])
        #expect(asked.map(\.count) == [3, 3, 4] && asked[0] == ["right", "also right", "up"])
    }

    @Test("An index is read back as it was written, and replaced as a whole")
    func files() throws {
        let path = folder()
        defer { try? FileManager.default.removeItem(atPath: path) }
        var index = index()
        try index.write(to: path)
        index.add([.init(name: "down")], embeddings: Tensor([0, -1] as [Float], shape: [1, 2]))
        try index.write(to: path)
        let read = try RetrievalIndex(contentsOf: path)
        #expect(read.items == index.items)
        #expect(read.model == "abc")
        #expect(read.embeddings.scalars(Float.self) == index.embeddings.scalars(Float.self))
    }

    @Test("Files that do not belong together, and folders that are no index, are refused")
    func damage() throws {
        let path = folder()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try index().write(to: path)
        let table = path + "/embeddings.safetensors"
        let short = try SafetensorsWriter.bytes(["embeddings": Tensor([1, 0] as [Float], shape: [1, 2])])
        try Data(short).write(to: URL(fileURLWithPath: table))
        #expect(throws: UnderstandingError.self) { try RetrievalIndex(contentsOf: path) }
        try FileManager.default.removeItem(atPath: path + "/index.json")
        #expect(throws: CheckpointError.self) { try RetrievalIndex(contentsOf: path) }
        #expect(throws: CheckpointError.self) { try index().write(to: path) }
    }
}

@Suite("Zero-shot classification")
struct ZeroShotClassifierTests {
    /// Sentences with "ball" point to the right, all others up.
    private func embed(_ texts: [String]) -> Tensor {
        Tensor(texts.flatMap { $0.contains("ball") ? [1, 0] : [0, 1] as [Float] }, shape: [texts.count, 2])
    }

    @Test("The label whose sentences are nearest is the most probable one")
    func guesses() throws {
        let classifier = try ZeroShotClassifier(labels: ["key", "ball"], scale: 2, embed: embed)
        let found = classifier.guesses(Tensor([0.8, 0.6, 0, 1] as [Float], shape: [2, 2]), count: 2)
        #expect(found[0].map(\.label) == ["ball", "key"])
        #expect(found[1].map(\.place) == [0, 1])
        let odds = found[0][0].probability / found[0][1].probability
        #expect(abs(odds - exp(2 * (0.8 - 0.6))) < 1e-5)
        #expect(abs(found[0].map(\.probability).reduce(0, +) - 1) < 1e-6)
    }

    @Test("A direction is that of the mean of a label's sentences")
    func directions() throws {
        let classifier = try ZeroShotClassifier(
            labels: ["x", "key", "ball"], templates: ["{}", "a ball or {}"], embed: embed)
        let expected = Float(0.5).squareRoot()
        let values = classifier.directions.scalars(Float.self)
        for value in values.prefix(4) { #expect(abs(value - expected) < 1e-6) }
        #expect(values.suffix(2) == [1, 0])
    }

    @Test(
        "Too few labels, one named twice, and templates without a place are refused",
        arguments: [
            (["key"], ["{}"]), (["key", "key"], ["{}"]), (["key", "ball"], ["a photo"]), (["key", "ball"], []),
        ])
    func refusals(_ labels: [String], _ templates: [String]) {
        #expect(throws: UnderstandingError.self) {
            try ZeroShotClassifier(labels: labels, templates: templates, embed: embed)
        }
    }
}
