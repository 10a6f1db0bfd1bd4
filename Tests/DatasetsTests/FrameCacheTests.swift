import Foundation
import Synchronization
import Testing

@testable import Datasets

@Suite("The packed frame cache")
struct FrameCacheTests {
    private let sampling = ClipSampling(frameCount: 2, width: 8, height: 8)

    @Test("a flipped bit in a frame is noticed and decoded anew; one in the tables makes the cache anew")
    func damage() throws {
        let folder = try clipFolder(3)
        let place = try TemporaryFolder()
        let file = place.file("c.frames")
        let manifest = try Manifest(contentsOf: folder.url)
        func open() throws -> PackedFrameCache {
            try PackedFrameCache.open(file, manifest: manifest, sampling: sampling)
        }
        func pixels(_ cache: PackedFrameCache, _ index: Int) throws -> [UInt8] {
            try cache.frames(index: index, entry: manifest.entries[index], sampling: sampling).withBytes(Array.init)
        }
        let whole = try open()
        let expected = try (0..<3).map { try pixels(whole, $0) }
        let bytes = try Data(contentsOf: file)
        let frames = 3 * 8 * 8 * 8 * 3
        // In the frames: the cache stays, the entry is decoded from its file.
        for position in stride(from: 4096, to: 4096 + frames, by: 401) {
            var damaged = bytes
            damaged[position] ^= 4
            try damaged.write(to: file)
            let cache = try open()
            #expect(try Data(contentsOf: file) == damaged)
            let entry = (position - 4096) / (8 * 8 * 8 * 3)
            #expect(cache.frameCount(index: entry) == 8)
            #expect(cache.frameCount(index: (entry + 1) % 3) == nil)
            for index in 0..<3 { #expect(try pixels(cache, index) == expected[index]) }
        }
        // Behind them: the cache is made anew.
        for position in stride(from: 4096 + frames, to: bytes.count, by: 5) {
            var damaged = bytes
            damaged[position] ^= 4
            try damaged.write(to: file)
            let cache = try open()
            #expect(try Data(contentsOf: file) == bytes, "byte \(position)")
            for index in 0..<3 { #expect(try pixels(cache, index) == expected[index]) }
        }
        #expect(place.contents == ["c.frames"])
    }

    @Test("many that want the same cache at once wait for one that makes it")
    func sharing() throws {
        let folder = try clipFolder(6)
        let place = try TemporaryFolder()
        let manifest = try Manifest(contentsOf: folder.url)
        // A folder of many caches; what a killed process left is removed.
        let first = try PackedFrameCache.open(
            URL(fileURLWithPath: place.url.path, isDirectory: true), manifest: manifest, sampling: sampling)
        #expect(first.held.entries == 6)
        let name = try #require(place.contents.first)
        try FileManager.default.removeItem(at: place.file(name))
        try place.write(".\(name).tmp-1-abc", "left")
        let made = Atomic<Int>(0)
        let sound = Atomic<Int>(0)
        let (url, sampling) = (URL(fileURLWithPath: place.url.path, isDirectory: true), sampling)
        let threads = WorkerThreads(count: 5) {
            let cache = try? PackedFrameCache.open(
                url, manifest: manifest, sampling: sampling,
                progress: { done, _ in if done == 1 { made.add(1, ordering: .relaxed) } })
            if cache?.held.entries == 6 { sound.add(1, ordering: .relaxed) }
        }
        threads.join()
        #expect(made.load(ordering: .relaxed) == 1)
        #expect(sound.load(ordering: .relaxed) == 5)
        #expect(place.contents == [name])
        // Another size is another file.
        _ = try PackedFrameCache.open(
            url, manifest: manifest, sampling: ClipSampling(frameCount: 2, width: 4, height: 4))
        #expect(place.contents.count == 2)
    }

    @Test("files that cannot be decoded, or not wholly, are listed, and a part without them is the rest")
    func problems() throws {
        let folder = try clipFolder(5)
        let place = try TemporaryFolder()
        try Data("no video".utf8).write(to: folder.file("clip_01.mp4"))
        let gif = folder.file("clip_03.gif")
        try FileManager.default.removeItem(at: folder.file("clip_03.mp4"))
        try writeClip(gif, number: 3, frames: 8)
        try Data(contentsOf: gif).dropLast(1).write(to: gif)
        let manifest = try Manifest(contentsOf: folder.url)
        let cache = try PackedFrameCache.open(place.file("c.frames"), manifest: manifest, sampling: sampling)
        #expect(cache.problems.map(\.place) == [1, 3])
        #expect(cache.problems.map(\.reason).allSatisfy { !$0.isEmpty })
        #expect(cache.problems.last?.reason.contains("damaged") == true)
        let sound = [0, 2, 4]
        var rest = manifest
        rest.entries = sound.map { manifest.entries[$0] }
        let part = cache.restricted(to: sound)
        #expect(part.problems.isEmpty && part.held.entries == 3)
        let dataset = try VideoDataset(rest, sampling: sampling, cache: part)
        #expect(try (0..<3).map { try marks(dataset.sample($0).pixels)[0][0] } == [0, 2, 4])
    }

    @Test("bytes are read as people write them")
    func sizes() {
        let cases = [
            ("0", 0), ("1000", 1000), ("256MB", 256_000_000), ("1.5 GiB", 3 << 29), ("2kb", 2000),
            ("1TB", 1_000_000_000_000),
        ]
        for (text, bytes) in cases { #expect(ByteSize.parse(text) == bytes, "\(text)") }
        for wrong in ["", "MB", "-1", "1 XB", "1e9", "1..2", "9999999999 TB", "nan", "٣MB"] {
            #expect(ByteSize.parse(wrong) == nil, "\(wrong)")
        }
        #expect(
            [0, 999, 1500, 256_000_000, 12_340_000_000].map(ByteSize.text) == [
                "0 bytes", "999 bytes", "1.5 kB", "256 MB", "12.3 GB",
            ])
    }
}

@Suite("Checking a data set")
struct DataCheckTests {
    @Test("every file is decoded once, and what is wrong is named")
    func check() throws {
        let folder = try clipFolder(5, frames: { 4 + $0 })
        try Data("no video".utf8).write(to: folder.file("clip_01.mp4"))
        try folder.write("clip_02.txt", " \n")
        try FileManager.default.removeItem(at: folder.file("clip_03.txt"))
        try folder.write("clip_04.txt", "caption 0")
        try writeClip(folder.file("p.png"), number: 1, frames: 1, width: 6, height: 4)
        let check = try DataCheck(Manifest(contentsOf: folder.url, onError: .skip))
        #expect(check.items.map(\.frames) == [4, 0, 6, 7, 8, 1])
        #expect(check.entryCount == 6 && check.soundCount == 5)
        #expect(check.problems.count == 1 && check.problems[0].item.hasSuffix("clip_01.mp4"))
        #expect(check.captions.present == 3 && check.captions.missing == 2 && check.captions.empty == 1)
        #expect(check.captions.distinct == 2 && check.captions.repeated == 1)
        #expect(abs(check.items[4].seconds - 0.8) < 1e-6 && check.items[4].frameRate == 10)
        #expect(check.items[5].isStill && check.items[5].width == 6 && check.items[5].height == 4)
    }

    @Test("entries of one film are checked against it, and missing files are counted")
    func films() throws {
        let folder = try clipFolder(1, frames: { _ in 20 })
        let list = try folder.write(
            "l.jsonl",
            """
            {"video": "clip_00.mp4", "start": 0, "end": 1}
            {"video": "clip_00.mp4", "start": 1}
            {"video": "clip_00.mp4", "start": 2.5}
            {"video": "gone.mp4"}
            """)
        let check = try DataCheck(Manifest(contentsOf: list, onError: .skip))
        #expect(check.items.count == 1 && check.entryCount == 3 && check.soundCount == 2)
        #expect(check.problems.map(\.item).contains { $0.hasSuffix("gone.mp4") })
        #expect(check.problems.contains { $0.reason.contains("2.5") })
        var asked = 0
        #expect(throws: CancellationError.self) {
            try DataCheck(Manifest(contentsOf: list, onError: .skip)) {
                asked += 1
                return true
            }
        }
        #expect(asked == 1)
    }
}
