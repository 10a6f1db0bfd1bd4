import Checkpoints
import Foundation
import Models
import NeuralNets
import Tensors

/// The codebook ids of every clip, extracted once and kept in a file: a GPT trains on them epoch after epoch.
public struct CodeCache: Sendable {
    /// `[clips, ids per clip]`, `int32`; fewer clips than there are stand for all of them.
    private let ids: Tensor
    /// The number of clips.
    public let count: Int
    /// Describes the tokenizer and the clips.
    public let fingerprint: String

    /// Clips that are encoded together.
    public static let clipsPerPass = 8

    /// Reads the cache at `path`, or extracts the ids and writes it when it is absent or was made from others.
    ///
    /// - Parameters:
    ///   - vqvae: the tokenizer.
    ///   - source: the clips, cut as evaluation does.
    ///   - range: of the pixel values.
    ///   - path: of the cache file; `nil`: none is read or written.
    ///   - limit: how many clips are encoded at most; they stand for the others, when a step is only tried.
    ///   - progress: called with the number of clips done.
    public init(
        _ vqvae: VQVAE, _ source: any ClipSource, range: ClosedRange<Double>, path: String?,
        limit: Int = .max, shouldStop: () -> Bool = { false }, progress: (Int) -> Void = { _ in }
    ) throws {
        let fingerprint = try "\(source.fingerprint)-\(Self.checksum(vqvae))"
        self.fingerprint = fingerprint
        count = source.count
        if let path, let cached = try? SafetensorsReader.read(path: path),
            cached.metadata["fingerprint"] == fingerprint,
            let ids = cached["ids"], ids.dtype == .int32, ids.rank == 2, ids.shape[0] == source.count,
            ids.scalars(Int32.self).allSatisfy({ (0..<vqvae.codebook.count).contains(Int($0)) })
        {
            self.ids = ids
            return
        }
        var rows: [Tensor] = []
        let last = min(limit, source.count)
        for first in stride(from: 0, to: last, by: Self.clipsPerPass) {
            if shouldStop() { throw CancellationError() }
            let clips = try (first..<min(first + Self.clipsPerPass, last)).map {
                try source.pixels($0, epoch: nil)
            }
            let codes = try vqvae.encode(modelInput(clips, range: range, dimensions: vqvae.dimensions))
            rows.append(codes.reshaped(to: [clips.count, -1]).cast(to: .int32))
            progress(first + clips.count)
        }
        ids = concatenated(rows)
        if let path { try SafetensorsWriter.write(["ids": ids], metadata: ["fingerprint": fingerprint], to: path) }
    }

    /// The ids of some clips, `[clips, ids per clip]`, `int64`.
    public func rows(_ indices: [Int]) -> Tensor {
        concatenated(indices.map { $0 % ids.shape[0] }.map { ids.sliced(0, $0..<($0 + 1)) }).cast(to: .int64)
    }

    /// A checksum over everything the ids depend on.
    private static func checksum(_ vqvae: VQVAE) throws -> String {
        var checksum: UInt32 = 0
        for (_, tensor) in vqvae.stateDictionary.sorted(by: { $0.key < $1.key }) {
            checksum = tensor.withUnsafeBytes { fileChecksum(of: $0, continuing: checksum) }
        }
        return String(checksum, radix: 16)
    }
}
