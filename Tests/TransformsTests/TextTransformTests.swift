import Foundation
import Tensors
import Testing
import Tokenizers

@testable import Transforms

@Suite("Texts for models")
struct TextTransformTests {
    @Test("sequences are cut off, ids and texts, one or several")
    func truncate() throws {
        let cut = try Truncate(maximumLength: 2)
        #expect(cut([1, 2, 3]) == [1, 2])
        #expect(cut(["a", "b", "c"]) == ["a", "b"])
        #expect(cut([[1, 2], [1, 2, 3]]) == [[1, 2], [1, 2]])
        #expect(cut([["a", "b"], ["a", "b", "c"]]) == [["a", "b"], ["a", "b"]])
        #expect(cut([Int]()) == [])
        #expect(sentence { _ = try Truncate(maximumLength: -1) } != nil)
    }

    @Test("a token goes first or last")
    func addToken() {
        #expect(AddToken(0)([1, 2]) == [0, 1, 2])
        #expect(AddToken(0, isFirst: false)([1, 2]) == [1, 2, 0])
        #expect(AddToken(0)([[1, 2], [1, 2, 3]]) == [[0, 1, 2], [0, 1, 2, 3]])
        #expect(AddToken("x", isFirst: false)([["a", "b"], ["c"]]) == [["a", "b", "x"], ["c", "x"]])
    }

    @Test("ids become tensors, shorter sequences filled")
    func tensors() throws {
        #expect(IDTensor()([1, 2]).scalars(Int64.self) == [1, 2])
        let batch = try IDTensor(padID: 1)([[1, 2], [1, 2, 3]])
        #expect(batch.shape == [2, 3] && batch.scalars(Int64.self) == [1, 2, 1, 1, 2, 3])
        #expect(sentence { _ = try IDTensor()([[1, 2], [1, 2, 3]]) }?.contains("make no tensor") == true)
    }

    @Test("the last axis is filled, and left alone where it is long enough")
    func padding() throws {
        let pad = try PadTransform(maximumLength: 7, padValue: 0)(.ones([8, 5]))
        #expect(pad.shape == [8, 7])
        #expect(pad.scalars(Float.self).reduce(0, +) == 40)
        #expect(
            try PadTransform(maximumLength: 7, padValue: 9)(Tensor([1, 2] as [Int64])).scalars(Int64.self).last == 9)
        #expect(try PadTransform(maximumLength: 3, padValue: 0)(.ones([8, 5])).shape == [8, 5])
        #expect(sentence { _ = try PadTransform(maximumLength: 3, padValue: 0)(.zeros([2], dtype: .uint8)) } != nil)
    }

    static let merges = Reference.folder.deletingLastPathComponent()
        .appendingPathComponent("tokenizers/bpe_simple_vocab_16e6.txt.gz")

    @Test("CLIP's contexts begin and end, are filled with zeros and cut before the end")
    func clip() throws {
        let transform = try CLIPTextTransform(tokenizer: CLIPTokenizer(merges: Self.merges))
        let text = "Taken with my analogue EOS 500N with black & white film."
        let ids: [Int64] = [
            49406, 2807, 593, 607, 46031, 17805, 276, 271, 271, 333, 593, 1449, 261, 1579, 1860, 269, 49407,
        ]
        let one = try transform(text)
        #expect(one.shape == [77])
        #expect(one.scalars(Int64.self) == ids + Array(repeating: 0, count: 77 - ids.count))
        let long = String(repeating: text + " ", count: 20)
        let both = try transform([text, long])
        #expect(both.shape == [2, 77])
        let middle = (0..<20).flatMap { _ in ids[1..<16] }.prefix(75)
        #expect(both.selected(0, 1).scalars(Int64.self) == [49406] + middle + [49407])
        #expect(sentence { _ = try transform([String]()) } != nil)
        #expect(try transform("<|endoftext|>").scalars(Int64.self).filter { $0 == 49407 }.count == 1)
        #expect(
            try transform("<|endoftext|>", allowsSpecialTokens: true).scalars(Int64.self).filter { $0 == 49407 }.count
                == 2)
    }
}
