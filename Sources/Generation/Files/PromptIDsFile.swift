import Checkpoints
import Tensors

/// Prompts as ids, made by another program: a safetensors file with `prompt_ids`, `[prompts, length]`, integers.
public enum PromptIDsFile {
    /// Reads the ids, one row per prompt.
    ///
    /// - Throws: ``CheckpointError`` for a file that cannot be read, ``GenerationError`` with code `.invalidTokenFile` for
    ///   one that holds something else.
    public static func read(path: String) throws -> [[Int]] {
        let checkpoint = try CheckpointReader.open(path)
        guard let ids = checkpoint["prompt_ids"] else {
            throw GenerationError(.invalidTokenFile, "\(path) has no tensor 'prompt_ids'.")
        }
        guard [.int64, .int32].contains(ids.dtype), ids.rank == 2, ids.count > 0 else {
            throw GenerationError(
                .invalidTokenFile,
                "\(path): 'prompt_ids' must be integers of shape [prompts, length], found \(ids.dtype.rawValue) of shape "
                    + "\(ids.shape).")
        }
        let values = ids.cast(to: .int64).scalars(Int64.self)
        let length = ids.shape[1]
        return (0..<ids.shape[0]).map { row in values[row * length..<(row + 1) * length].map { Int($0) } }
    }
}
