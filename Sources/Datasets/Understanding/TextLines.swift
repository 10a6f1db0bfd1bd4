import Checkpoints
import Foundation
import JSON

/// Texts that stand alone, in the order of their file.
public enum TextLines {
    /// Reads a file: `.jsonl`, an object a line with `text` (or `caption`) and perhaps `split`; or a text a line. Lines
    /// without a text are left out.
    ///
    /// - Parameters:
    ///   - url: the file.
    ///   - share: about how much is held out where no line names a split, from 0 to 1.
    ///   - seed: another seed holds out others.
    /// - Returns: what is learned from, and what is measured on; texts that are the same are on one side.
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed` with the line, `.empty`.
    public static func read(
        _ url: URL, validationShare share: Double, seed: UInt64
    ) throws -> (training: [String], validation: [String]) {
        let content = try Manifest.readText(url)
        var all: [(text: String, split: String?)] = []
        if url.pathExtension.lowercased() == "jsonl" {
            for (index, line) in content.utf8.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
                if line.allSatisfy({ $0 == 32 || $0 == 9 || $0 == 13 }) { continue }
                let place = "\(url.path), line \(index + 1)"
                do {
                    let value = try Array(line).withUnsafeBytes { try JSONValue.parse($0, source: place) }
                    let fields = try JSONFields(value, source: place)
                    let text = try fields.string(fields.has("caption") && !fields.has("text") ? "caption" : "text")
                    all.append((text, try fields.optionalString("split")))
                } catch let error as JSONError {
                    throw DatasetError(.malformed, error.message)
                } catch let error as CheckpointError {
                    throw DatasetError(.malformed, error.message)
                }
            }
        } else {
            all = content.split(whereSeparator: \.isNewline).map { (String($0), nil) }
        }
        all = all.filter { $0.text.contains { !$0.isWhitespace } }
        guard !all.isEmpty else { throw DatasetError(.empty, "\(url.path) holds no texts.") }
        let names = Set(all.compactMap(\.split))
        guard names.contains("train") else {
            let isHeld = all.map { Manifest.place($0.text, seed: seed) < share }
            return (
                zip(all, isHeld).filter { !$1 }.map(\.0.text), zip(all, isHeld).filter { $1 }.map(\.0.text)
            )
        }
        let held = ["validation", "val", "valid"].first(where: names.contains)
        return (
            all.filter { $0.split == "train" }.map(\.text),
            all.filter { held != nil && $0.split == held }.map(\.text)
        )
    }
}
