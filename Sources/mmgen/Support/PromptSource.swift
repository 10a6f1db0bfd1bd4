import Checkpoints
import Foundation
import Generation
import JSON
import Models

/// A prompt that is ready for the model, with the text it came from.
struct ReadyPrompt {
    let text: String
    let ids: [Int]
}

extension PromptOptions {
    /// The most prompts of one run.
    private static let mostPrompts = 1_000_000

    /// Reads and encodes all prompts; those that cannot be are named on standard error and left out.
    ///
    /// - Returns: the prompts, and how many were refused.
    /// - Throws: what a file does wrong, or the refusal of the only prompt.
    func ready(for model: PretrainedModel, _ console: Console) throws -> (prompts: [ReadyPrompt], refused: Int) {
        if let promptIDs {
            let rows = try PromptIDsFile.read(path: promptIDs)
            return (rows.enumerated().map { ReadyPrompt(text: "prompt-\($0.offset)", ids: $0.element) }, 0)
        }
        let texts = try prompt + (promptFile.map(Self.read) ?? [])
        guard !texts.isEmpty else { throw VerbError("\(promptFile ?? "The list") holds no prompt.") }
        var ready: [ReadyPrompt] = []
        for text in texts {
            do {
                let encoded = try model.encodePrompt(text)
                ready.append(ReadyPrompt(text: text, ids: encoded.ids))
                if encoded.isTruncated {
                    console.note(
                        "the prompt \(Console.shown(text)) is longer than the model's \(encoded.ids.count) text slots; its "
                            + "end is not read.")
                }
            } catch {
                if texts.count == 1 { throw error }
                console.failure(error, of: text)
            }
        }
        guard !ready.isEmpty else { throw VerbError("None of the \(texts.count) prompts can be used.") }
        noteUnknownWords(ready, model, console)
        return (ready, texts.count - ready.count)
    }

    private func noteUnknownWords(_ prompts: [ReadyPrompt], _ model: PretrainedModel, _ console: Console) {
        var seen = Set<String>()
        let words = prompts.flatMap { model.unknownWords(in: $0.text) }.filter { seen.insert($0).inserted }
        guard !words.isEmpty else { return }
        var note = "the model has never seen " + words.prefix(12).map { "'\($0)'" }.joined(separator: ", ")
        note += words.count > 12 ? " and \(words.count - 12) more words." : "."
        if !model.prompts.description.isEmpty { note += " " + model.prompts.description }
        if !model.prompts.examples.isEmpty {
            note += " For example: " + model.prompts.examples.prefix(3).map { "'\($0)'" }.joined(separator: ", ") + "."
        }
        console.note(note)
    }

    /// The prompts of a file: JSON lines when the first line is an object, else a prompt a line. Empty lines are skipped.
    static func read(_ path: String) throws -> [String] {
        let file = try FileBytes(path: path)
        guard file.count <= 256 << 20 else {
            throw VerbError("\(path) has \(file.count) bytes; a list of prompts may have 256 MiB.")
        }
        let text = withExtendedLifetime(file) { String(validating: file.bytes, as: UTF8.self) }
        guard let text else { throw VerbError("\(path) is not UTF-8 text.") }
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated().filter {
            line in
            line.element.contains { !$0.isWhitespace }
        }
        guard lines.count <= mostPrompts else {
            throw VerbError("\(path) holds \(lines.count) prompts; at most \(mostPrompts) are taken at once.")
        }
        guard lines.first?.element.first == "{" else { return lines.map { String($0.element) } }
        return try lines.map { line in
            let source = "\(path), line \(line.offset + 1)"
            let fields = try JSONFields(JSONValue.parse(String(line.element), source: source), source: source)
            return try fields.has("prompt") ? fields.string("prompt") : fields.string("caption")
        }
    }
}
