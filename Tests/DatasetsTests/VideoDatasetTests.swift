import Datasets
import Foundation
import Media
import Tensors
import Testing

@Suite("Clips from files")
struct VideoDatasetTests {
    private func sampling(
        _ frames: Int, _ start: ClipSampling.Start, rate: Double? = nil, stride: Int = 1,
        short: ShortClipPolicy = .repeatLast
    ) -> ClipSampling {
        ClipSampling(
            frameCount: frames, width: 12, height: 12, frameRate: rate, frameStride: stride, start: start,
            shortClip: short)
    }

    @Test("first and centre take the stated frames")
    func places() throws {
        let folder = try clipFolder(2, frames: { _ in 9 })
        let manifest = try Manifest(contentsOf: folder.url)
        let first = try VideoDataset(manifest, sampling: sampling(3, .first)).sample(1)
        #expect(marks(first.pixels) == [[1, 0], [1, 1], [1, 2]])
        #expect(first.caption == "caption 1" && first.pixels.shape == [3, 12, 12, 3])
        let center = try VideoDataset(manifest, sampling: sampling(3, .center)).sample(0)
        #expect(marks(center.pixels) == [[0, 3], [0, 4], [0, 5]])
        let strided = try VideoDataset(manifest, sampling: sampling(3, .first, stride: 2)).sample(0)
        #expect(marks(strided.pixels) == [[0, 0], [0, 2], [0, 4]])
        let slower = try VideoDataset(manifest, sampling: sampling(3, .first, rate: 5)).sample(0)
        #expect(marks(slower.pixels) == [[0, 0], [0, 2], [0, 4]])
        let faster = try VideoDataset(manifest, sampling: sampling(5, .first, rate: 20)).sample(0)
        #expect(marks(faster.pixels) == [[0, 0], [0, 0], [0, 1], [0, 1], [0, 2]])
    }

    @Test("random starts change with the epoch, repeat with the seed and reach every place")
    func random() throws {
        let folder = try clipFolder(1, frames: { _ in 8 })
        let manifest = try Manifest(contentsOf: folder.url)
        let dataset = try VideoDataset(manifest, sampling: sampling(3, .random), seed: 5)
        let again = try VideoDataset(manifest, sampling: sampling(3, .random), seed: 5)
        var starts: Set<Int> = []
        for epoch in 0..<60 {
            let found = marks(try dataset.sample(0, epoch: epoch).pixels)
            #expect(found == marks(try again.sample(0, epoch: epoch).pixels))
            starts.insert(found[0][1])
            #expect(found[1][1] == found[0][1] + 1)
        }
        #expect(starts == [0, 1, 2, 3, 4, 5])
    }

    @Test("short clips repeat their last frame or fail with the file's name")
    func short() throws {
        let folder = try clipFolder(1, frames: { _ in 2 })
        let manifest = try Manifest(contentsOf: folder.url)
        for rate in [nil, 10.0] {
            let repeated = try VideoDataset(manifest, sampling: sampling(4, .random, rate: rate)).sample(0)
            #expect(marks(repeated.pixels) == [[0, 0], [0, 1], [0, 1], [0, 1]])
            let strict = try VideoDataset(manifest, sampling: sampling(4, .random, rate: rate, short: .fail))
            let error = datasetError { _ = try strict.sample(0) }
            #expect(error?.code == .unreadableSample)
            #expect(error?.message.contains("clip_00.mp4") == true)
        }
    }

    @Test("pictures are clips of one frame")
    func pictures() throws {
        let folder = try TemporaryFolder()
        try writeClip(folder.file("a.png"), number: 40, frames: 1)
        let dataset = try VideoDataset(Manifest(contentsOf: folder.url), sampling: sampling(1, .random, rate: 8))
        #expect(marks(try dataset.sample(0).pixels) == [[40, 0]])
    }

    @Test("start and end of an entry bound its frames")
    func bounds() throws {
        let folder = try clipFolder(1, frames: { _ in 20 })
        let url = try folder.write("l.jsonl", "{\"video\": \"clip_00.mp4\", \"start\": 0.5, \"end\": 1.0}")
        for rate in [nil, 10.0] {
            for cache in [nil, MemoryFrameCache()] {
                let dataset = try VideoDataset(
                    Manifest(contentsOf: url), sampling: sampling(8, .random, rate: rate), cache: cache)
                #expect(marks(try dataset.sample(0).pixels).map { $0[1] } == [5, 6, 7, 8, 9, 9, 9, 9])
            }
        }
    }

    @Test("caches change nothing but the time", arguments: [nil, 10, 5, 7.5, 24] as [Double?])
    func caches(_ rate: Double?) throws {
        let folder = try clipFolder(4, frames: { 6 + 5 * $0 })
        let manifest = try Manifest(contentsOf: folder.url)
        let settings = sampling(4, .random, rate: rate)
        let file = folder.file("frames.cache")
        let packed = try PackedFrameCache.open(file, manifest: manifest, sampling: settings)
        let memory = MemoryFrameCache()
        let kinds: [(any FrameCache)?] = [nil, memory, packed]
        let datasets = try kinds.map { try VideoDataset(manifest, sampling: settings, seed: 3, cache: $0) }
        for epoch in 0..<5 {
            for index in 0..<4 {
                let found = try datasets.map { try $0.sample(index, epoch: epoch).pixels.scalars(UInt8.self) }
                #expect(found[0] == found[1] && found[1] == found[2], "epoch \(epoch) sample \(index)")
            }
        }
        #expect(memory.byteCount > 0)
        let none = MemoryFrameCache(byteLimit: 0)
        _ = try VideoDataset(manifest, sampling: settings, cache: none).sample(0)
        #expect(none.byteCount == 0)
    }

    @Test(
        "clips cut out of long films without a cache are those of a cache",
        arguments: [nil, 10, 4, 7.5, 24] as [Double?])
    func jumps(_ rate: Double?) throws {
        let folder = try TemporaryFolder()
        // A key frame every two seconds.
        for number in 0..<2 { try writeClip(folder.file("film_\(number).mp4"), number: number, frames: 120) }
        let list = try folder.write(
            "list.jsonl",
            """
            {"video": "film_0.mp4", "caption": "whole"}
            {"video": "film_1.mp4", "start": 3.05, "end": 9.2, "caption": "a part"}
            {"video": "film_1.mp4", "start": 8, "end": 9, "caption": "a short part"}
            {"video": "film_0.mp4", "start": 11.2, "caption": "the end"}
            """)
        let manifest = try Manifest(contentsOf: list)
        let settings = sampling(6, .random, rate: rate, stride: 2)
        let whole = try VideoDataset(manifest, sampling: settings, seed: 8, cache: MemoryFrameCache())
        let packed = try PackedFrameCache.open(
            folder.file("none.frames"), manifest: manifest, sampling: settings, byteLimit: 0)
        #expect(packed.held.entries == 0 && (0..<4).allSatisfy { packed.mayJump(index: $0) })
        #expect(!packed.mayJump(index: 4))
        let parts = try VideoDataset(manifest, sampling: settings, seed: 8, cache: packed)
        for epoch in 0..<12 {
            for index in 0..<4 {
                let (found, expected) = (
                    try parts.sample(index, epoch: epoch).pixels, try whole.sample(index, epoch: epoch).pixels
                )
                #expect(marks(found) == marks(expected), "epoch \(epoch), entry \(index)")
                #expect(found.scalars(UInt8.self) == expected.scalars(UInt8.self), "epoch \(epoch), entry \(index)")
            }
        }
    }

    @Test("a packed cache is used again, and made anew when a file or a setting changes or the cache is damaged")
    func packing() throws {
        let folder = try clipFolder(3)
        let cacheFolder = try TemporaryFolder()
        let file = cacheFolder.file("frames.cache")
        let settings = sampling(2, .first)
        func date() throws -> Date {
            try #require(
                try FileManager.default.attributesOfItem(atPath: file.path)[.modificationDate] as? Date)
        }
        func mark(_ index: Int) throws -> [[Int]] {
            let manifest = try Manifest(contentsOf: folder.url)
            let cache = try PackedFrameCache.open(file, manifest: manifest, sampling: settings)
            return marks(try VideoDataset(manifest, sampling: settings, cache: cache).sample(index).pixels)
        }
        #expect(try mark(2) == [[2, 0], [2, 1]])
        let made = try date()
        #expect(try mark(1) == [[1, 0], [1, 1]])
        #expect(try date() == made)
        try writeClip(folder.file("clip_01.mp4"), number: 99, frames: 8)
        #expect(try mark(1) == [[99, 0], [99, 1]])
        let bytes = try Data(contentsOf: file)
        for damage in [Data(), bytes.prefix(20), bytes.prefix(bytes.count - 1), Data(repeating: 0xFF, count: 9000)] {
            try damage.write(to: file)
            #expect(try mark(0) == [[0, 0], [0, 1]])
        }
        #expect(cacheFolder.contents == ["frames.cache"])
        try Data("no video".utf8).write(to: folder.file("clip_02.mp4"))
        #expect(try mark(0) == [[0, 0], [0, 1]])
        let error = datasetError { _ = try mark(2) }
        #expect(error?.message.contains("clip_02.mp4") == true)
    }

    @Test("packing stops between files when it is told to, and leaves nothing")
    func stopping() throws {
        let folder = try clipFolder(6)
        let cacheFolder = try TemporaryFolder()
        let manifest = try Manifest(contentsOf: folder.url)
        var asked = 0
        #expect(throws: CancellationError.self) {
            try PackedFrameCache.open(
                cacheFolder.file("frames.cache"), manifest: manifest, sampling: sampling(2, .first),
                shouldStop: {
                    asked += 1
                    return asked > 3
                })
        }
        #expect(asked == 4)
        #expect(cacheFolder.contents == [])
    }

    @Test("settings that make no clip are refused")
    func settings() throws {
        let manifest = Manifest(
            entries: [ManifestEntry(url: URL(fileURLWithPath: "/x.mp4"))], source: URL(fileURLWithPath: "/"))
        for wrong in [
            sampling(0, .first), sampling(1, .first, rate: -1), sampling(1, .first, stride: 0),
            sampling(1, .first, short: .shorten),
        ] {
            #expect(datasetError { _ = try VideoDataset(manifest, sampling: wrong) }?.code == .invalidArgument)
        }
        let error = datasetError { _ = try VideoDataset(manifest, sampling: sampling(1, .first)).sample(0) }
        #expect(error?.message.contains("/x.mp4") == true)
    }
}
