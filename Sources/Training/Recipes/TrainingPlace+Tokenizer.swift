import Checkpoints
import Foundation
import Models
import Tokenizers

extension TrainingPlace {
    /// A run's tokenizer: its own if it has one, else the named one, or one learned now, which becomes its own.
    func tokenizer(named: String?, learn: () throws -> LearnedTokenizer.Files) throws -> any Tokenizer {
        let own = folder.inside("tokenizer")
        guard isDry || !FileManager.default.fileExists(atPath: own) else {
            return try TokenizerFiles.load(from: URL(fileURLWithPath: own))
        }
        if isDry, let named { return try TokenizerFiles.load(from: URL(fileURLWithPath: named)) }
        let target =
            isDry
            ? FileManager.default.temporaryDirectory.appendingPathComponent("tokenizer-\(UUID().uuidString)").path : own
        defer { if isDry { try? FileManager.default.removeItem(atPath: target) } }
        let files =
            try named.map { try PretrainedModel.tokenizerFiles(in: $0).map { (name: $0.key, bytes: $0.value) } }
            ?? learn()
        try AtomicFolder.write(to: target) { folder in
            for (name, bytes) in files { try folder.write(name, bytes: bytes) }
        }
        return try TokenizerFiles.load(from: URL(fileURLWithPath: target))
    }
}
