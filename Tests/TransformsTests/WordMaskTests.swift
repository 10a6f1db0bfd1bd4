import Tensors
import Testing

@testable import Transforms

@Suite("Words to guess")
struct WordMaskTests {
    private let key = RandomKey(seed: 5)

    /// [CLS], words whose ids above 20000 go on with the word before, [SEP], padding.
    private let text = [101, 2000, 2001, 20001, 20002, 2002, 2003, 20003, 2004, 2005, 102, 0, 0]

    @Test("the same key chooses the same, another one something else, and special ids never")
    func keyed() throws {
        let mask = try WordMask(share: 0.5)
        let (first, second) = (mask(text, key: key), mask(text, key: key))
        #expect(first.masked == second.masked && first.labels == second.labels)
        #expect((0..<8).contains { mask(text, key: RandomKey(seed: $0)).labels != first.labels })
        for seed in 0..<50 {
            let result = mask(text, key: RandomKey(seed: UInt64(seed)))
            for place in [0, 10, 11, 12] {
                #expect(result.labels[place] == -1 && result.masked[place] == text[place])
            }
            for (place, label) in result.labels.enumerated() {
                #expect(label == -1 ? result.masked[place] == text[place] : label == text[place])
            }
        }
    }

    @Test("15 % are guessed; of these 80 % are hidden, 10 % replaced, 10 % left")
    func shares() throws {
        let mask = try WordMask()
        let ids = (0..<100_000).map { 1000 + $0 % 20_000 }
        let result = mask(ids, key: key)
        let places = ids.indices.filter { result.labels[$0] != -1 }
        #expect(abs(Double(places.count) / 100_000 - 0.15) < 0.005)
        let hidden = places.count { result.masked[$0] == 103 }
        let left = places.count { result.masked[$0] == ids[$0] }
        #expect(abs(Double(hidden) / Double(places.count) - 0.8) < 0.015)
        #expect(abs(Double(left) / Double(places.count) - 0.1) < 0.015)
    }

    @Test("whole words are guessed whole, and as many pieces as the share allows")
    func wholeWords() throws {
        let mask = try WordMask(share: 0.5, unit: .words)
        var counts: Set<Int> = []
        for seed in 0..<100 {
            let labels = mask(text, key: RandomKey(seed: UInt64(seed))) { $0 > 20_000 }.labels
            let isGuessed = labels.map { $0 != -1 }
            #expect(isGuessed[2] == isGuessed[3] && isGuessed[3] == isGuessed[4] && isGuessed[6] == isGuessed[7])
            counts.insert(isGuessed.count { $0 })
        }
        // Nine pieces, so four or five are wanted; long words may not fit any more.
        #expect(counts.allSatisfy { (1...5).contains($0) } && counts.contains(5))
        #expect(try WordMask(share: 0.01, unit: .words)([101, 7, 8, 102], key: key).labels.count { $0 != -1 } == 1)
    }

    @Test("a text of special ids alone is left as it is, and wrong shares and ids are refused")
    func edges() throws {
        for unit in WordMask.Unit.allCases {
            let result = try WordMask(share: 1, unit: unit)([101, 102, 0], key: key)
            #expect(result.masked == [101, 102, 0] && result.labels == [-1, -1, -1])
            #expect(try WordMask(unit: unit)([], key: key).masked.isEmpty)
        }
        #expect(throws: TransformError.self) { try WordMask(share: 1.5) }
        #expect(throws: TransformError.self) { try WordMask(maskID: 40_000) }
    }
}
