import Foundation
import Testing

@testable import Datasets

/// A shard with one spoilt member between two sound ones, and what the problem must say.
private struct HostileShard: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let says: String
    /// Whether the samples after the spoilt one can still be found.
    var goesOn = true
    let spoil: @Sendable (inout TarBuilder) throws -> Void

    init(
        _ name: String, says: String, goesOn: Bool = true,
        _ spoil: @escaping @Sendable (inout TarBuilder) throws -> Void
    ) {
        (testDescription, self.says, self.goesOn, self.spoil) = (name, says, goesOn, spoil)
    }

    /// A member of another kind.
    static func kind(_ letter: String, _ says: String) -> HostileShard {
        HostileShard("type \(letter)", says: says) { tar in
            tar.add("x.png", []) { header in
                TarBuilder.put(letter, &header, at: 156)
                TarBuilder.put("/etc/passwd", &header, at: 157)
            }
        }
    }

    /// A name that is none.
    static func name(_ name: String, _ says: String) -> HostileShard {
        HostileShard("name \(name.debugDescription)", says: says) { tar in tar.add(name, try picture(5)) }
    }

    /// A size that is none.
    static func size(_ field: [UInt8], _ says: String) -> HostileShard {
        HostileShard("size \(field)", says: says, goesOn: false) { tar in
            tar.add("x.png", try picture(5)) { $0.replaceSubrange(124..<136, with: field) }
        }
    }

    /// A pax header of this text before a member.
    static func pax(_ records: String, _ says: String, goesOn: Bool = true) -> HostileShard {
        HostileShard("pax \(records.debugDescription)", says: says, goesOn: goesOn) { tar in
            tar.add("pax", Array(records.utf8)) { TarBuilder.put("x", &$0, at: 156) }
            tar.add("x.png", try picture(5))
        }
    }
}

@Suite("Hostile shards")
struct HostileShardTests {
    private static let cases: [HostileShard] = [
        .kind("1", "a hard link"), .kind("2", "a symbolic link"), .kind("3", "a device"), .kind("4", "a device"),
        .kind("6", "a pipe"), .kind("S", "a sparse file"), .kind("Z", "of an unknown kind"),
        .name("../x.png", "leads out"), .name("/etc/x.png", "leads out"), .name("a/../../x.png", "leads out"),
        .name("a//x.png", "leads out"), .name("x\u{7}.png", "control"), .name("x\ny.png", "control"),
        .name(String(repeating: "n", count: 5000) + ".png", "5004 bytes"),
        .size(Array("99999999999\0".utf8), "no number"), .size(Array("-0000000001\0".utf8), "no number"),
        .size(Array("0x000000010\0".utf8), "no number"), .size(Array("77777777777\0".utf8), "cut off inside"),
        .size([0xFF] + [UInt8](repeating: 0xFF, count: 11), "no number"),
        .size([0x80] + [UInt8](repeating: 0xFF, count: 11), "no number"),
        .size([0x80, 0, 0, 0, 0x7F] + [UInt8](repeating: 0xFF, count: 7), "cut off inside"),
        .pax("garbage", "pax header", goesOn: false), .pax("999 path=x\n", "pax header", goesOn: false),
        .pax("7 path\n", "pax header", goesOn: false), .pax("11 size=-1\n", "pax header", goesOn: false),
        .pax("26 size=99999999999999999\n", "cut off inside", goesOn: false),
        .pax("22 GNU.sparse.major=1\n", "sparse"), .pax("18 path=../up.png\n", "leads out"),
        HostileShard("checksum", says: "broken header", goesOn: false) { tar in
            tar.add("x.png", try picture(5))
            tar.bytes[tar.bytes.count - 1024] ^= 1
        },
        HostileShard("name that is no text", says: "UTF-8") { tar in
            tar.add("x.png", try picture(5)) { $0[0] = 0xFF }
        },
        HostileShard("member that is there twice", says: "twice") { tar in
            tar.add("x.png", try picture(5))
            tar.add("x.PNG", try picture(6))
        },
        HostileShard("no media", says: "no picture or video") { tar in tar.add("x.wav", "RIFF") },
        HostileShard("empty media", says: "is empty") { tar in tar.add("x.png", []) },
        HostileShard("caption that is no text", says: "UTF-8") { tar in
            tar.add("x.png", try picture(5))
            tar.add("x.txt", [0xC3, 0x28])
        },
        HostileShard("caption of two megabytes", says: "at most") { tar in
            tar.add("x.png", try picture(5))
            tar.add("x.txt", [UInt8](repeating: 65, count: 2 << 20))
        },
        HostileShard("description that is no JSON", says: "not JSON") { tar in
            tar.add("x.png", try picture(5))
            tar.add("x.json", "{\"caption\": ")
        },
        HostileShard("description nested without end", says: "not JSON") { tar in
            tar.add("x.png", try picture(5))
            tar.add("x.json", String(repeating: "[", count: 100_000))
        },
        HostileShard("times that do not fit", says: "must come after") { tar in
            tar.add("x.png", try picture(5))
            tar.add("x.json", "{\"start\": 3, \"end\": 2}")
        },
    ]

    @Test("what is wrong with a member is said, and the others are read", arguments: cases)
    fileprivate func members(_ hostile: HostileShard) throws {
        let place = try TemporaryFolder()
        var tar = TarBuilder()
        tar.add("a.png", try picture(1))
        tar.add("a.txt", "first")
        try hostile.spoil(&tar)
        tar.add("z.png", try picture(2))
        tar.finish()
        let shard = place.file("s.tar")
        try Data(tar.bytes).write(to: shard)
        let manifest = try Manifest(contentsOf: shard, onError: .skip)
        #expect(manifest.problems.count >= 1)
        let problem = try #require(manifest.problems.first)
        #expect(problem.item.hasPrefix(shard.path))
        #expect("\(problem.item) \(problem.reason)".contains(hostile.says), "\(problem)")
        #expect(manifest.entries.first?.caption == "first")
        if hostile.goesOn { #expect(manifest.entries.last?.member?.name == "z.png") }
        let error = datasetError { _ = try Manifest(contentsOf: shard) }
        #expect(error?.code == .malformed && error?.message.contains(hostile.says) == true)
        #expect(place.contents == ["s.tar"])
    }

    @Test("sizes in base 256, members of folders' archives and old headers are read")
    func unusualButRight() throws {
        let place = try TemporaryFolder()
        let content = try picture(3)
        var tar = TarBuilder()
        tar.add("./", []) { TarBuilder.put("5", &$0, at: 156) }
        tar.add("./a.png", content) { header in
            header.replaceSubrange(
                124..<136,
                with: [0x80] + [UInt8](repeating: 0, count: 9) + [
                    UInt8(content.count >> 8), UInt8(content.count & 255),
                ])
        }
        tar.add("b.png", content) { header in
            header.replaceSubrange(257..<265, with: [UInt8](repeating: 0, count: 8))
            header[156] = 0
        }
        tar.add("pax", Array("14 path=c.png\n".utf8)) { TarBuilder.put("x", &$0, at: 156) }
        tar.add("other", content)
        tar.finish()
        try Data(tar.bytes).write(to: place.file("s.tar"))
        let manifest = try Manifest(contentsOf: place.file("s.tar"))
        #expect(manifest.entries.map { $0.member?.name } == ["a.png", "b.png", "c.png"])
        let dataset = try VideoDataset(manifest, sampling: ClipSampling(frameCount: 1, width: 4, height: 4))
        for index in 0..<3 { #expect(try marks(dataset.sample(index).pixels) == [[3, 0]]) }
    }

    @Test("a shard that is cut off anywhere says so and gives the samples before")
    func truncation() throws {
        let place = try TemporaryFolder()
        var tar = TarBuilder()
        tar.add("a.png", try picture(1))
        tar.add("a.txt", "first")
        let first = tar.bytes.count
        tar.add("b.png", try picture(2))
        tar.add("b.txt", "second")
        let end = tar.bytes.count
        tar.finish()
        let shard = place.file("s.tar")
        for count in stride(from: 0, to: tar.bytes.count, by: 37) {
            try Data(tar.bytes.prefix(count)).write(to: shard)
            let manifest = try? Manifest(contentsOf: shard, onError: .skip)
            if count < end + 512 {
                #expect(manifest?.problems.isEmpty != true, "\(count)")
                #expect(datasetError { _ = try Manifest(contentsOf: shard) } != nil, "\(count)")
            }
            if count >= first { #expect(manifest?.entries.first?.caption == "first", "\(count)") }
        }
    }

    @Test("flipped bits and noise are survived")
    func noise() throws {
        let place = try TemporaryFolder()
        var tar = TarBuilder()
        tar.add("a.png", try picture(1))
        tar.add("a.json", "{\"caption\": \"x\", \"clips\": [{\"start\": 1, \"end\": 2}, {\"caption\": \"y\"}]}")
        tar.finish()
        let shard = place.file("s.tar")
        var state: UInt64 = 1
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        for _ in 0..<400 {
            var bytes = tar.bytes
            for _ in 0...random(4) { bytes[random(bytes.count)] ^= UInt8(1 << random(8)) }
            // Some of them with a checksum that is right again.
            if random(2) == 0 {
                var header = Array(bytes[..<512])
                TarBuilder.seal(&header)
                bytes.replaceSubrange(..<512, with: header)
            }
            try Data(bytes).write(to: shard)
            guard let manifest = try? Manifest(contentsOf: shard, onError: .skip) else { continue }
            for entry in manifest.entries {
                let range = try #require(entry.member?.range)
                #expect(range.lowerBound >= 0 && range.upperBound <= bytes.count)
            }
        }
        try FileManager.default.removeItem(at: shard)
        #expect(mkfifo(shard.path, 0o600) == 0)
        #expect(datasetError { _ = try Manifest(contentsOf: shard) }?.message.contains("no regular file") == true)
    }
}
