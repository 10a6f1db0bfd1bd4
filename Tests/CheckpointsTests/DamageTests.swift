import Foundation
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

@Suite("Damaged files never crash a reader")
struct DamageTests {
    static let files = [
        "dtypes.safetensors", "module.pt", "dtypes_legacy.pt", "views_legacy.pt", "array.npy", "arrays_protocol2.pkl",
        "arrays_protocol4.pkl", "dtypes_deflated.pt", "dtypes_zip64.pt", "arrays.npz", "lightning.ckpt",
    ]

    @Test("a file cut off anywhere is refused with a sentence", arguments: files)
    func truncation(name: String) throws {
        let bytes = try contentOfFile(fixture(name))
        #expect(failure(bytes) == nil)
        // Every byte of the small ones, some 1,500 places of the larger ones.
        for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 1500)) {
            guard let error = failure(Array(bytes[..<count])) else {
                Issue.record("\(name) was accepted with \(count) of \(bytes.count) bytes")
                return
            }
            #expect(error.message.count > 10)
            #expect(error.code != .unreadable)
        }
    }

    @Test("a file with random damage is read or refused, in a moment and in little memory", arguments: files)
    func damage(name: String) throws {
        let bytes = try contentOfFile(fixture(name))
        let others = try Self.files.map { try contentOfFile(fixture($0)) }
        var generator = SeededGenerator(seed: seed(of: name))
        var refused = 0
        let total = cost {
            for _ in 0..<600 {
                let file = damaged(bytes, splicing: others[generator.int(0..<others.count)], using: &generator)
                // Without checksums the damage gets further in.
                let error = failure(file, options: ReadOptions(verifiesChecksums: false))
                if let error { #expect(error.code != .unreadable, "\(error)") }
                refused += error == nil ? 0 : 1
            }
        }
        #expect(refused > 0)
        #expect(total.seconds < 10 && total.bytes < 1 << 30, "\(total)")
    }

    @Test("a pickle whose instructions are random is read or refused")
    func randomPickles() {
        var generator = SeededGenerator(seed: 7)
        let instructions = Array("(.012FGIJKLMNQRSTUVXabcdeghijlopqrstu)]}BC".utf8) + Array(0x80...0x97)
        for _ in 0..<20_000 {
            var bytes: [UInt8] = [0x80, 2]
            for _ in 0..<Int.random(in: 1..<40, using: &generator) {
                bytes.append(
                    Bool.random(using: &generator)
                        ? instructions[Int.random(in: 0..<instructions.count, using: &generator)]
                        : UInt8.random(in: 0..<5, using: &generator))
            }
            bytes.append(UInt8(ascii: "."))
            if let error = failure(bytes) { #expect(error.code != .unreadable) }
        }
    }

    private static func deepTuple(_ depth: Int) -> [UInt8] {
        [0x80, 2] + Array(")".utf8) + [UInt8](repeating: 0x85, count: depth) + Array(".".utf8)
    }

    static let pickles: [(String, [UInt8])] = [
        ("memo miss", [0x80, 2] + Array("h\u{5}.".utf8)),
        ("stack underflow", [0x80, 2, 0x86] + Array(".".utf8)),
        ("nothing to return", [0x80, 2] + Array(".".utf8)),
        ("mark missing", [0x80, 2] + Array("t.".utf8)),
        ("append without a list", [0x80, 2] + Array("K\u{1}K\u{2}a.".utf8)),
        ("key without a dict", [0x80, 2] + Array("K\u{1}K\u{2}K\u{3}s.".utf8)),
        ("key without a value", [0x80, 2] + Array("}(K\u{1}u.".utf8)),
        ("protocol 6", [0x80, 6] + Array("}.".utf8)),
        ("extension", [0x80, 2, 0x82, 1] + Array(".".utf8)),
        ("persistent text", [0x80, 2] + Array("Pstorage\n.".utf8)),
        ("persistent id that is no storage", [0x80, 2] + Array("K\u{1}Q.".utf8)),
        ("instance", [0x80, 2] + Array("(ios\nsystem\n.".utf8)),
        ("object", [0x80, 2] + Array("(cos\nsystem\no.".utf8)),
        ("call of a number", [0x80, 2] + Array("K\u{1})R.".utf8)),
        ("call of os.system", [0x80, 2] + Array("cos\nsystem\n(S'ls'\ntR.".utf8)),
        ("call with a list of nothing", [0x80, 2] + Array("cos\nsystem\nNR.".utf8)),
        ("a million levels", deepTuple(1_000_000)),
        ("a hundred and one levels", deepTuple(101)),
        ("a list in itself", [0x80, 2] + Array("]q\u{0}h\u{0}a.".utf8)),
        ("a dict in itself", [0x80, 2] + Array("}q\u{0}K\u{1}h\u{0}s.".utf8)),
        // Forty lists, each holding the one before twice: 2^40 values when unfolded.
        (
            "a billion laughs",
            [0x80, 2] + Array("]q\u{0}".utf8)
                + (0..<40).flatMap { _ in
                    Array("](h\u{0}h\u{0}eq\u{0}".utf8)
                } + Array(".".utf8)
        ),
        ("a string of 4 GiB", [0x80, 2] + Array("X".utf8) + [255, 255, 255, 255] + Array("a.".utf8)),
        ("a string of 2^63", [0x80, 4, 0x8D, 0, 0, 0, 0, 0, 0, 0, 128] + Array(".".utf8)),
        ("negative length", [0x80, 2, 0x8B, 255, 255, 255, 255] + Array(".".utf8)),
        ("not UTF-8", [0x80, 2] + Array("X".utf8) + [1, 0, 0, 0, 255] + Array(".".utf8)),
        ("a number alone", [0x80, 2] + Array("K\u{1}.".utf8)),
        ("an empty dict", [0x80, 2] + Array("}.".utf8)),
    ]

    @Test("a pickle that breaks a rule or holds no tensors is refused", arguments: pickles)
    func brokenPickles(name: String, bytes: [UInt8]) throws {
        let error = try #require(failure(bytes), "\(name) was accepted")
        #expect(error.message.count > 10)
    }

    /// A zip file of stored entries, with a hook to break each directory entry.
    static func zip(
        _ entries: [(String, [UInt8])], directory: (inout [UInt8]) -> Void = { _ in }, offset: Int? = nil
    ) -> [UInt8] {
        func field(_ value: Int, _ width: Int) -> [UInt8] { (0..<width).map { UInt8(value >> ($0 * 8) & 255) } }
        var file: [UInt8] = []
        var listing: [UInt8] = []
        for (name, content) in entries {
            let start = offset ?? file.count
            let checksum = Int(content.withUnsafeBytes { fileChecksum(of: $0) })
            let common =
                field(0, 2) + field(0, 2) + field(0, 4) + field(checksum, 4) + field(content.count, 4)
                + field(content.count, 4) + field(name.utf8.count, 2)
            file += [0x50, 0x4B, 3, 4, 20, 0] + common + field(0, 2) + Array(name.utf8) + content
            var entry = [0x50, 0x4B, 1, 2, 20, 0, 20, 0] + common + field(0, 12) + field(start, 4) + Array(name.utf8)
            directory(&entry)
            listing += entry
        }
        let place = file.count
        file += listing
        file += [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + field(entries.count, 2) + field(entries.count, 2)
        return file + field(listing.count, 4) + field(place, 4) + [0, 0]
    }

    /// The pickle of {"x": a float32 tensor of one element} with the given view.
    static func tensorPickle(
        key: String = "0", count: UInt8 = 4, offset: String = "K\u{0}", shape: String = "K\u{4}\u{85}",
        strides: String = "K\u{1}\u{85}"
    ) -> [UInt8] {
        func latin(_ text: String) -> [UInt8] { text.unicodeScalars.map { UInt8($0.value) } }
        func string(_ text: String) -> [UInt8] { [0x58, UInt8(text.utf8.count), 0, 0, 0] + Array(text.utf8) }
        return [0x80, 2] + latin("}") + string("x") + latin("ctorch._utils\n_rebuild_tensor_v2\n((")
            + string("storage") + latin("ctorch\nFloatStorage\n") + string(key) + string("cpu")
            + [0x4B, count] + latin("tQ\(offset)\(shape)\(strides)\u{89}ccollections\nOrderedDict\n)RtRs.")
    }

    private static let sixteen = [UInt8](repeating: 1, count: 16)

    static func torchZip(_ pickle: [UInt8]) -> [UInt8] { zip([("a/data.pkl", pickle), ("a/data/0", sixteen)]) }

    static let views: [(String, [UInt8])] = [
        ("storage absent", torchZip(tensorPickle(key: "1"))),
        ("shape past the storage", torchZip(tensorPickle(shape: "K\u{5}\u{85}"))),
        ("offset past the storage", torchZip(tensorPickle(offset: "K\u{1}"))),
        ("stride past the storage", torchZip(tensorPickle(strides: "K\u{2}\u{85}"))),
        ("negative offset", torchZip(tensorPickle(offset: "J\u{FF}\u{FF}\u{FF}\u{FF}"))),
        ("negative stride", torchZip(tensorPickle(strides: "J\u{FF}\u{FF}\u{FF}\u{FF}\u{85}"))),
        ("negative size", torchZip(tensorPickle(shape: "J\u{FF}\u{FF}\u{FF}\u{FF}\u{85}"))),
        ("two sizes and one stride", torchZip(tensorPickle(shape: "K\u{2}K\u{2}\u{86}"))),
        ("size of 2^62", torchZip(tensorPickle(shape: "\u{8A}\u{8}\0\0\0\0\0\0\0\u{40}\u{85}"))),
        ("stride of 2^62", torchZip(tensorPickle(strides: "\u{8A}\u{8}\0\0\0\0\0\0\0\u{40}\u{85}"))),
        (
            "offset of 2^63 - 1",
            torchZip(tensorPickle(offset: "\u{8A}\u{8}\u{FF}\u{FF}\u{FF}\u{FF}\u{FF}\u{FF}\u{FF}\u{7F}"))
        ),
        (
            "one element unfolded to 4 GiB",
            torchZip(tensorPickle(shape: "J\0\0\0\u{40}\u{85}", strides: "K\u{0}\u{85}"))
        ),
        (
            "nine axes",
            torchZip(
                tensorPickle(
                    shape: "(" + String(repeating: "K\u{1}", count: 9) + "t",
                    strides: "(" + String(repeating: "K\u{1}", count: 9) + "t"))
        ),
        ("shape that is not integers", torchZip(tensorPickle(shape: "N\u{85}"))),
        ("storage data too short", zip([("a/data.pkl", tensorPickle()), ("a/data/0", [1, 2, 3])])),
        ("no pickle", zip([("a/data/0", sixteen)])),
        ("a script", zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen), ("a/constants.pkl", [])])),
        (
            "big-endian",
            zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen), ("a/byteorder", Array("big".utf8))])
        ),
        ("no entries", zip([])),
        ("the same entry twice", zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen), ("a/data/0", sixteen)])),
        ("overlapping entries", zip([("a/data.pkl", tensorPickle()), ("a/data.pkk", tensorPickle())], offset: 0)),
        ("encrypted", zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen)]) { $0[8] |= 1 }),
        ("another method", zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen)]) { $0[10] = 14 }),
        (
            "stored here and deflated there",
            zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen)]) { $0[10] = 8 }
        ),
        (
            "another name in the directory",
            zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen)]) { $0[46] = 98 }
        ),
        ("two sizes", zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen)]) { $0[20] &+= 1 }),
        ("a wrong checksum", zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen)]) { $0[16] ^= 1 }),
        (
            "zip64 without its field",
            zip([("a/data.pkl", tensorPickle()), ("a/data/0", sixteen)]) {
                $0.replaceSubrange(20..<28, with: [UInt8](repeating: 255, count: 8))
            }
        ),
    ]

    @Test("the archive that the broken ones are made from is good")
    func goodArchive() throws {
        let file = FileBytes(copying: Self.torchZip(Self.tensorPickle()), name: "file")
        #expect(try CheckpointReader.read(file)["x"]?.shape == [4])
    }

    @Test("an archive or a view that breaks a rule is refused", arguments: views)
    func brokenArchives(name: String, bytes: [UInt8]) throws {
        let error = try #require(failure(bytes), "\(name) was accepted")
        #expect(error.message.hasPrefix("file"))
        #expect(error.message.hasSuffix("."))
    }

    @Test("deflated entries stop at their budget")
    func inflationBudget() throws {
        let bytes = try contentOfFile(fixture("dtypes_deflated.pt"))
        #expect(failure(bytes, options: ReadOptions(maximumInflatedByteCount: 1000))?.code == .limitExceeded)
    }

    @Test(
        "content of other kinds is recognized",
        arguments: [
            ("<!DOCTYPE html><html>not found</html>", "web page"),
            ("version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
            ("{\"a\": 1}", "JSON"), ("GGUF\u{3}\0\0\0", "GGUF"), ("hello world", "no known format"), ("", "empty"),
            ("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "zeros"),
        ])
    func otherContent(text: String, word: String) throws {
        let error = try #require(failure(Array(text.utf8)))
        #expect(error.message.contains(word), "\(error)")
    }

    @Test("paths that are no files are named")
    func paths() throws {
        try withTemporaryFolder { folder in
            let missing = #expect(throws: CheckpointError.self) { try CheckpointReader.open(folder + "/none.pt") }
            #expect(missing?.code == .notFound)
            let empty = #expect(throws: CheckpointError.self) { try CheckpointReader.open(folder) }
            #expect(empty?.message.contains("neither model.safetensors") == true)
            #expect(mkfifo(folder + "/pipe", 0o600) == 0)
            let pipe = #expect(throws: CheckpointError.self) { try CheckpointReader.open(folder + "/pipe") }
            #expect(pipe?.code == .unreadable)
            let zero = #expect(throws: CheckpointError.self) { try CheckpointReader.open("/dev/zero") }
            #expect(zero?.code == .unreadable)
        }
    }
}
