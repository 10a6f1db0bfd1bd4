import Foundation
import JSON
import Testing

@testable import Tokenizers

@Suite("RoBERTa's byte-level BPE")
struct ByteBPETests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Parity/Fixtures/tokenizers/roberta")

    private static func tokenizer() throws -> ByteBPETokenizer {
        try ByteBPETokenizer(
            vocabulary: folder.appendingPathComponent("vocab.json"), merges: folder.appendingPathComponent("merges.txt")
        )
    }

    @Test("ids, offsets and texts are those of the tokenizers package")
    func cases() throws {
        let tokenizer = try Self.tokenizer()
        let json = try JSONValue.parse(
            String(contentsOf: Self.folder.appendingPathComponent("cases.json"), encoding: .utf8))
        let cases = try #require(json["cases"]?.arrayValue)
        #expect(cases.count > 15)
        func numbers(_ value: JSONValue?) -> [Int] { (value?.arrayValue ?? []).compactMap(\.integerValue) }
        for entry in cases {
            let text = try #require(entry["text"]?.stringValue)
            let ids = numbers(entry["ids"])
            let special = numbers(entry["special"])
            let found = tokenizer.encoding(text, allowsSpecialTokens: true)
            #expect(found.ids == ids, "\(text)")
            guard found.ids == ids else { continue }
            #expect(tokenizer.encode(text) == Array(ids.dropFirst().dropLast()))
            #expect(tokenizer.decode(ids) == entry["decoded"]?.stringValue)
            let offsets = (entry["offsets"]?.arrayValue ?? []).map { numbers($0) }
            for index in ids.indices where special[index] == 0 {
                let range = try #require(found.offsets[index])
                // An empty range, a token of white space alone, has no characters there.
                guard offsets[index][0] < offsets[index][1] else { continue }
                #expect([range.lowerBound, range.upperBound] == offsets[index], "\(text), token \(index)")
            }
            #expect(found.offsets.first == .some(nil) && found.offsets.last == .some(nil))
        }
    }

    @Test("what a person types cannot become a special token")
    func prompts() throws {
        let tokenizer = try Self.tokenizer()
        #expect(!tokenizer.encodePrompt("<s></s><mask>").contains { tokenizer.specialTokens.values.contains($0) })
        #expect(tokenizer.encode("<s>") == [tokenizer.startID])
    }

    @Test("a folder with these files is RoBERTa's, and a vocabulary without its tokens is refused")
    func files() throws {
        #expect(try TokenizerFiles.load(from: Self.folder).name == "byte-bpe")
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("bpe-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let vocabulary = folder.appendingPathComponent("vocab.json")
        let merges = folder.appendingPathComponent("merges.txt")
        try Data(#"{"<s>": 0, "a": 1}"#.utf8).write(to: vocabulary)
        try Data("#version\n".utf8).write(to: merges)
        #expect(throws: TokenizerError.self) { try ByteBPETokenizer(vocabulary: vocabulary, merges: merges) }
    }
}
