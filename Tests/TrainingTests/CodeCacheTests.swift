import Checkpoints
import Foundation
import Tensors
import Testing

@testable import Training

@Suite struct CodeCacheTests {
    /// Makes the cache and says how many clips had to be encoded for it.
    private func encoded(_ clips: SquareClips, seed: UInt64 = 7, _ path: String) throws -> (
        cache: CodeCache, clips: Int
    ) {
        var done = 0
        let cache = try CodeCache(
            TinyRuns.vqvae(seed: seed), clips, range: -0.5...0.5, path: path, progress: { done = $0 })
        return (cache, done)
    }

    @Test("ids are extracted once, and again when the tokenizer or the clips have changed")
    func reuse() throws {
        let place = try RunPlace()
        let path = place.path + "/codes.safetensors"
        let first = try encoded(SquareClips(), path)
        #expect(first.clips == 12)
        let again = try encoded(SquareClips(), path)
        #expect(again.clips == 0)
        let all = Array(0..<12)
        #expect(again.cache.rows(all).scalars(Int64.self) == first.cache.rows(all).scalars(Int64.self))
        #expect(first.cache.rows([3, 5]).shape == [2, 32])
        let other = try encoded(SquareClips(), seed: 8, path)
        #expect(other.clips == 12)
        #expect(other.cache.fingerprint != first.cache.fingerprint)
        #expect(try encoded(SquareClips(count: 11), seed: 8, path).clips == 11)
        #expect(try encoded(SquareClips(count: 11, fingerprint: "others"), seed: 8, path).clips == 11)
    }

    @Test("a damaged cache is made anew", arguments: [0, 40, 4])
    func damaged(_ kept: Int) throws {
        let place = try RunPlace()
        let path = place.path + "/codes.safetensors"
        _ = try encoded(SquareClips(), path)
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        try data.prefix(kept).write(to: URL(fileURLWithPath: path))
        #expect(try encoded(SquareClips(), path).clips == 12)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == data)
    }

    @Test("extraction can be stopped and leaves no file")
    func stopped() throws {
        let place = try RunPlace()
        let path = place.path + "/codes.safetensors"
        #expect(throws: CancellationError.self) {
            _ = try CodeCache(TinyRuns.vqvae(), SquareClips(), range: -0.5...0.5, path: path, shouldStop: { true })
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.path) == [])
    }

    @Test("a cache with ids that the codebook lacks is not trusted")
    func foreignIDs() throws {
        let place = try RunPlace()
        let path = place.path + "/codes.safetensors"
        let first = try encoded(SquareClips(), path)
        try SafetensorsWriter.write(
            ["ids": Tensor([Int32](repeating: 999, count: 12 * 32), shape: [12, 32])],
            metadata: ["fingerprint": first.cache.fingerprint], to: path)
        #expect(try encoded(SquareClips(), path).clips == 12)
    }
}
