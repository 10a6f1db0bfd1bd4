import Foundation
import Testing

@Suite struct HelpTests {
    static let verbs = [
        "text-to-video", "text-to-image", "continue", "encode", "decode", "reconstruct", "tokenize", "convert",
        "quantize", "inspect", "models", "bench", "evaluate", "evaluate-networks", "config", "report", "data",
        "classify", "embed", "retrieve", "ground", "answer",
    ]
    static let parts = ["data check", "data shard", "data preview"]

    /// What `mmgen help VERB` must print. Set `MMGEN_UPDATE_SNAPSHOTS=1` to write the files anew, then read the change.
    @Test("the help of every verb is as agreed", arguments: verbs + parts)
    func help(_ verb: String) throws {
        let result = try CommandLineTool.run(["help"] + verb.split(separator: " ").map(String.init))
        #expect(result.code == 0)
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Snapshots/\(verb.replacingOccurrences(of: " ", with: "-")).txt")
        if ProcessInfo.processInfo.environment["MMGEN_UPDATE_SNAPSHOTS"] != nil {
            try Data(result.output.utf8).write(to: file)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == result.output)
    }

    @Test("without a verb the help is printed, and it names every verb")
    func root() throws {
        let result = try CommandLineTool.run([])
        #expect(result.code == 0)
        for verb in Self.verbs { #expect(result.output.contains("  \(verb) ")) }
    }
}
