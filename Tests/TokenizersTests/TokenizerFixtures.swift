import Foundation
import TestSupport
import Testing

@testable import Tokenizers

/// The committed corpus and the ids that the published tokenizers give it; see Tests/Parity/tokenizers_fixtures.py.
enum TokenizerFixtures {
    static let folder = fixturesFolder.appendingPathComponent("tokenizers")
    static let clipMerges = folder.appendingPathComponent("bpe_simple_vocab_16e6.txt.gz")
    static let bertJSON = folder.appendingPathComponent("bert_tokenizer.json.gz")
    static let charBPE = folder.appendingPathComponent("charbpe")

    /// Loaded once: reading 48,894 merges takes a moment without optimization.
    static let clip = Result { try CLIPTokenizer(merges: clipMerges) }
    static let bert = Result { try TokenizerFiles.load(tokenizerJSON: bertJSON) }

    static func json(_ name: String) throws -> Any {
        let bytes = try TokenizerFile.read(folder.appendingPathComponent(name))
        return try JSONSerialization.jsonObject(with: Data(bytes))
    }

    static func corpus() throws -> [String] {
        try #require(json("corpus.json.gz") as? [String])
    }

    static func ids(_ name: String) throws -> [[Int]] {
        let all = try #require(json("ids.json.gz") as? [String: Any])
        return try #require(all[name] as? [[Int]])
    }

    static func decoded(_ name: String) throws -> [String] {
        let all = try #require(json("decoded.json.gz") as? [String: Any])
        return try #require(all[name] as? [String])
    }

    static func numbers(_ name: String, in file: String) throws -> [Int] {
        let all = try #require(json(file) as? [String: Any])
        return try #require(all[name] as? [Int])
    }

    /// The numbers of the lines whose ids differ.
    static func differing(_ expected: [[Int]], _ actual: [[Int]]) -> [Int] {
        guard expected.count == actual.count else { return Array(0..<max(expected.count, actual.count)) }
        return expected.indices.filter { expected[$0] != actual[$0] }
    }
}

/// Runs the body with a new folder that is removed afterwards.
func withTemporaryFolder<T>(_ body: (URL) throws -> T) throws -> T {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tokenizers-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
}

/// The error that the body throws; fails the test if it throws none.
func tokenizerError(_ body: () throws -> Any) throws -> TokenizerError {
    do {
        _ = try body()
    } catch let error as TokenizerError {
        return error
    }
    return try #require(nil as TokenizerError?, "no error was thrown")
}
