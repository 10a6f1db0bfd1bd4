import Checkpoints
import Foundation
import JSON
import Tensors

/// Codebook ids in a file: generated samples, or encoded clips.
///
/// A safetensors file with `ids`, `[samples, d1, ..., dn]`, `int64`, and strings beside it: `kind` ("mmgen.tokens"),
/// `model`, `seed` and `prompts` (a JSON array with one string per sample) where they are known.
public struct TokenFile: Sendable {
    /// `[samples, d1, ..., dn]`, `int64`.
    public var ids: Tensor
    /// The model that the ids belong to.
    public var model: String?
    /// The seed that they were drawn with.
    public var seed: UInt64?
    /// The prompt of each sample; empty when there was none.
    public var prompts: [String]

    private static let kind = "mmgen.tokens"

    /// Creates the content of a token file.
    ///
    /// - Precondition: `ids` is `int64`.
    public init(ids: Tensor, model: String? = nil, seed: UInt64? = nil, prompts: [String] = []) {
        precondition(ids.dtype == .int64, "TokenFile: ids are int64, not \(ids.dtype.rawValue)")
        self.ids = ids
        self.model = model
        self.seed = seed
        self.prompts = prompts
    }

    /// The number of samples.
    public var sampleCount: Int { ids.shape[0] }

    /// Writes the file, atomically; equal content gives equal bytes.
    ///
    /// - Throws: ``CheckpointError`` with code `.alreadyExists` or `.writeFailed`.
    public func write(to path: String, overwrite: Bool = false) throws {
        var metadata = ["kind": Self.kind]
        metadata["model"] = model
        metadata["seed"] = seed.map { String($0) }
        if !prompts.isEmpty { metadata["prompts"] = JSONValue.array(prompts.map { .string($0) }).serialized() }
        try SafetensorsWriter.write(["ids": ids], metadata: metadata, to: path, overwrite: overwrite)
    }

    /// Reads a token file.
    ///
    /// - Throws: ``CheckpointError`` for a file that cannot be read, ``GenerationError`` with code `.invalidTokenFile` for
    ///   one that holds something else.
    public init(path: String) throws {
        let checkpoint = try CheckpointReader.open(path)
        guard let ids = checkpoint["ids"] else {
            let names = checkpoint.names.prefix(5).joined(separator: ", ")
            throw GenerationError(
                .invalidTokenFile,
                "\(path) is not a token file: it has no tensor 'ids'" + (names.isEmpty ? "." : " (it has \(names))."))
        }
        guard [.int64, .int32].contains(ids.dtype), ids.rank >= 2, ids.count > 0 else {
            throw GenerationError(
                .invalidTokenFile,
                "\(path): 'ids' must be integers of shape [samples, latent sizes], found \(ids.dtype.rawValue) of shape "
                    + "\(ids.shape).")
        }
        self.ids = ids.cast(to: .int64)
        model = checkpoint.metadata["model"]
        seed = checkpoint.metadata["seed"].flatMap { UInt64($0) }
        let list = try checkpoint.metadata["prompts"].map { try JSONValue.parse($0, source: "\(path): 'prompts'") }
        prompts = (list?.arrayValue ?? []).compactMap(\.stringValue)
    }

    /// Checks the ids against the codebook and grid of a VQVAE.
    ///
    /// - Parameters:
    ///   - codes: the size of the codebook.
    ///   - axes: the number of latent axes.
    ///   - source: what the message calls the file.
    /// - Throws: ``GenerationError`` with code `.invalidTokenFile`.
    public func validate(codes: Int, axes: Int, source: String) throws {
        guard ids.rank == axes + 1 else {
            throw GenerationError(
                .invalidTokenFile,
                "\(source) has ids of shape \(ids.shape); this model's latent grid has \(axes) axes behind the samples."
            )
        }
        if let wrong = ids.scalars(Int64.self).first(where: { !(0..<Int64(codes)).contains($0) }) {
            throw GenerationError(
                .invalidTokenFile,
                "\(source) has the id \(wrong), which is outside the codebook's range 0..<\(codes).")
        }
    }
}
