import Checkpoints
import Foundation
import TestSupport
import Testing

@testable import Datasets

@Suite("Tar shards")
struct ShardTests {
    private let fixtures = fixturesFolder.appendingPathComponent("shards")

    private func sampling(_ frames: Int = 2, _ start: ClipSampling.Start = .random, rate: Double? = nil) -> ClipSampling
    {
        ClipSampling(frameCount: frames, width: 12, height: 12, frameRate: rate, start: start)
    }

    private struct Expected: Decodable {
        struct Sample: Decodable {
            var key: String
            var parts: [String: String]
            var text: [String: String]
        }
        var samples: [Sample]
    }

    @Test(
        "shards of Python's tarfile hold the samples that webdataset finds in them", arguments: ["ustar", "gnu", "pax"])
    func formats(_ name: String) throws {
        let url = fixtures.appendingPathComponent("\(name).tar")
        let expected = try JSONDecoder().decode(
            Expected.self, from: Data(contentsOf: fixtures.appendingPathComponent("samples.json"))
        ).samples
        let entries = try Manifest(contentsOf: url).entries
        #expect(entries.count == expected.count)
        let shard = Array(try Data(contentsOf: url))
        for (entry, sample) in zip(entries, expected) {
            let member = try #require(entry.member)
            let part = try #require(SampleMember(member.name))
            #expect(part.key == sample.key)
            var digest = Digest()
            shard[member.range].withUnsafeBytes { digest.add($0) }
            #expect(digest.hexadecimal == sample.parts[part.suffix])
        }
        #expect(entries.map(\.caption) == ["a café", "from json", "", "third", "a long name"])
        #expect(entries.map(\.hasCaption) == [true, true, false, true, true])
        #expect(entries[1].split == "train" && entries[1].fields == ["level": "3"])
        let dataset = try VideoDataset(Manifest(contentsOf: url), sampling: sampling(1))
        #expect(try (0..<5).map { try marks(dataset.sample($0).pixels)[0][0] } == [10, 11, 99, 13, 14])
    }

    @Test(
        "clips from shards are those from the folder, bit for bit, whatever is cached",
        arguments: [nil, 5] as [Double?])
    func sameClips(_ rate: Double?) throws {
        let folder = try clipFolder(6, frames: { 4 + 3 * $0 })
        let place = try TemporaryFolder()
        let manifest = try Manifest(contentsOf: folder.url)
        let summary = try ShardWriter(manifest, shardBytes: 6000).write(to: place.file("s").path)
        #expect(summary.shards.count > 1 && summary.samples == 6)
        let packed = try Manifest(contentsOf: place.file("s"))
        #expect(packed.entries.map(\.caption) == manifest.entries.map(\.caption))
        #expect(packed.entries.map(\.identity) == manifest.entries.map(\.identity))
        let settings = sampling(4, rate: rate)
        let plain = try VideoDataset(manifest, sampling: settings, seed: 3)
        let limits = [Int.max, 20 * 12 * 12 * 3, 0]
        var caches: [(any FrameCache)?] = [nil, MemoryFrameCache()]
        for (number, limit) in limits.enumerated() {
            let cache = try PackedFrameCache.open(
                place.file("\(number).frames"), manifest: packed, sampling: settings, byteLimit: limit)
            #expect(cache.held.entries == [6, 2, 0][number] || rate != nil)
            #expect(cache.held.bytes <= limit)
            caches.append(cache)
        }
        for cache in caches {
            let dataset = try VideoDataset(packed, sampling: settings, seed: 3, cache: cache)
            for (index, epoch) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 0), (5, 4), (5, 5)] {
                let expected = try plain.sample(index, epoch: epoch)
                let found = try dataset.sample(index, epoch: epoch)
                #expect(found.pixels.scalars(UInt8.self) == expected.pixels.scalars(UInt8.self))
                #expect(found.caption == expected.caption)
            }
        }
    }

    @Test("the same data give the same shards; splits, fields, films with several clips and odd names survive")
    func packing() throws {
        let folder = try clipFolder(2)
        try FileManager.default.createDirectory(at: folder.file("sub"), withIntermediateDirectories: false)
        let long = String(repeating: "é", count: 90)
        for name in ["sub/clip_00.mp4", "with.dots.mp4", "\(long).mp4"] {
            try FileManager.default.copyItem(at: folder.file("clip_01.mp4"), to: folder.file(name))
        }
        let list = try folder.write(
            "list.jsonl",
            """
            {"video": "clip_00.mp4", "caption": "first", "start": 0.2, "end": 0.6, "split": "train", "level": 3}
            {"video": "sub/clip_00.mp4", "caption": ""}
            {"video": "clip_00.mp4", "caption": "second", "split": "validation"}
            {"video": "with.dots.mp4", "split": "train", "caption": "dots"}
            {"video": "\(long).mp4", "caption": "long"}
            """)
        let place = try TemporaryFolder()
        let manifest = try Manifest(contentsOf: list)
        let writer = try ShardWriter(manifest, shardBytes: 1 << 20, prefix: "train")
        #expect(writer.pattern == "train-000000.tar" && writer.sampleCount == 4)
        _ = try writer.write(to: place.file("a").path)
        _ = try writer.write(to: place.file("b").path)
        let bytes = try Data(contentsOf: place.file("a/train-000000.tar"))
        #expect(try bytes == Data(contentsOf: place.file("b/train-000000.tar")))
        #expect(throws: CheckpointError.self) { try writer.write(to: place.file("b").path) }

        let entries = try Manifest(contentsOf: place.file("a")).entries
        #expect(entries.map(\.caption) == ["first", "second", "", "dots", "long"])
        #expect(entries.map(\.hasCaption) == [true, true, true, true, true])
        #expect(entries[0].start == 0.2 && entries[0].end == 0.6 && entries[0].fields == ["level": "3"])
        #expect(entries.map(\.split) == ["train", "validation", nil, "train", nil])
        #expect(
            entries.map { $0.member?.name } == [
                "clip_00.mp4", "clip_00.mp4", "sub/clip_00.mp4", "with_dots.mp4", "\(long).mp4",
            ])
        // Shards of shards are the same again.
        let again = try ShardWriter(Manifest(contentsOf: place.file("a")), shardBytes: 1 << 20, prefix: "train")
        _ = try again.write(to: place.file("c").path)
        #expect(try bytes == Data(contentsOf: place.file("c/train-000000.tar")))
        #expect(place.contents == ["a", "b", "c"])
    }

    @Test("packing that is stopped or fails leaves nothing")
    func unfinished() throws {
        let folder = try clipFolder(4)
        let place = try TemporaryFolder()
        let writer = try ShardWriter(Manifest(contentsOf: folder.url), shardBytes: 4000)
        var asked = 0
        #expect(throws: CancellationError.self) {
            try writer.write(
                to: place.file("s").path,
                shouldStop: {
                    asked += 1
                    return asked > 2
                })
        }
        #expect(place.contents == [])
        try Data("changed".utf8).write(to: folder.file("clip_03.mp4"))
        let error = datasetError { _ = try writer.write(to: place.file("s").path) }
        #expect(error?.message.contains("clip_03.mp4") == true)
        #expect(place.contents == [])
        #expect(datasetError { _ = try ShardWriter(Manifest(contentsOf: folder.url), shardBytes: 1) } != nil)
    }

    @Test("patterns, lists and folders name shards")
    func places() throws {
        #expect(try ShardList.expanded("a-{8..11}.tar") == ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"])
        #expect(try ShardList.expanded("{a,b}/{08..10}.tar").count == 6)
        #expect(try ShardList.expanded("{a,b}/{08..10}.tar")[4] == "b/09.tar")
        for wrong in ["a{1..", "a{{1..2}}", "a{2..1}", "a{x..y}", "a{0..999999999}", "{0..999}{0..999}"] {
            #expect(datasetError { _ = try ShardList.expanded(wrong) }?.code == .malformed, "\(wrong)")
        }
        let folder = try clipFolder(5)
        let place = try TemporaryFolder()
        let writer = try ShardWriter(Manifest(contentsOf: folder.url), shardBytes: 4000)
        let shards = try writer.write(to: place.file("s").path).shards
        #expect(shards.count == 5)
        let expected = ["caption 0", "caption 1", "caption 2", "caption 3", "caption 4"]
        try place.write("list.txt", "# comment\n\n s/\(shards[0])\ns/shard-{000001..000004}.tar\n")
        for source in ["s", "s/\(writer.pattern)", "list.txt"] {
            #expect(try Manifest(contentsOf: place.file(source)).entries.map(\.caption) == expected, "\(source)")
        }
        #expect(try Manifest(contentsOf: place.file("s/\(shards[2])")).entries.map(\.caption) == ["caption 2"])
        // What is missing is named; with the rule to skip, the others are read.
        let more = place.file("s/shard-{000003..000006}.tar")
        let error = datasetError { _ = try Manifest(contentsOf: more) }
        #expect(error?.message.contains("shard-000005.tar") == true)
        let partial = try Manifest(contentsOf: more, onError: .skip)
        #expect(partial.entries.count == 2 && partial.problems.count == 2)
        #expect(datasetError { _ = try Manifest(contentsOf: place.file("none.tar")) }?.code == .notFound)
        try place.write("s.tar.gz", "x")
        #expect(
            datasetError { _ = try Manifest(contentsOf: place.file("s.tar.gz")) }?.message.contains("compressed")
                == true)
        try FileManager.default.copyItem(at: folder.file("clip_00.mp4"), to: place.file("s/loose.mp4"))
        #expect(datasetError { _ = try Manifest(contentsOf: place.file("s")) }?.message.contains("both") == true)
    }

    @Test("an index is kept and used, and made anew when the shard changes or the index is damaged")
    func indexes() throws {
        let place = try TemporaryFolder()
        var tar = TarBuilder()
        tar.add("a.png", try picture(1))
        tar.add("a.txt", "first")
        tar.add("../b.png", try picture(2))
        tar.finish()
        let shard = place.file("s.tar")
        try Data(tar.bytes).write(to: shard)
        let kept = place.file("kept")
        let made = try ShardIndex.read(shard, keptIn: kept)
        #expect(made.members.count == 2 && made.problems.count == 1)
        let file = kept.appendingPathComponent(
            try #require(try FileManager.default.contentsOfDirectory(atPath: kept.path).first))
        let index = try Data(contentsOf: file)
        let stamp = try PositionedFile(shard).stamp
        let reader = ShardIndexFile(folder: kept, shard: shard.path, stamp: stamp)
        #expect(reader.read() == made)
        for place in index.indices {
            var damaged = index
            damaged[place] ^= 1
            try damaged.write(to: file)
            #expect(reader.read() == nil, "byte \(place)")
            try index.prefix(place).write(to: file)
            #expect(reader.read() == nil, "\(place) bytes")
        }
        #expect(try ShardIndex.read(shard, keptIn: kept) == made)
        #expect(try Data(contentsOf: file) == index)
        tar.bytes.removeLast(1024)
        tar.add("c.png", try picture(3))
        tar.finish()
        try Data(tar.bytes).write(to: shard)
        #expect(try ShardIndex.read(shard, keptIn: kept).members.count == 3)
        // Without a place for it there is no index, and that is all.
        try place.write("file", "x")
        #expect(try ShardIndex.read(shard, keptIn: place.file("file/x")).members.count == 3)
    }
}
