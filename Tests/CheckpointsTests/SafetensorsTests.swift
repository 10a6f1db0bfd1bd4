import Foundation
import Tensors
import Testing

@testable import Checkpoints

/// A safetensors file of the given header text and data.
func safetensors(_ header: String, data: [UInt8] = [], length: UInt64? = nil) -> [UInt8] {
    let text = Array(header.utf8)
    return withUnsafeBytes(of: (length ?? UInt64(text.count)).littleEndian, Array.init) + text + data
}

private let four: [UInt8] = [0, 0, 128, 63]
private let eight = four + four
private let x = #""x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#

@Suite("Safetensors files")
struct SafetensorsTests {
    @Test("pages of a mapped file that were let go read as before, and what is no mapping stays")
    func lettingGo() throws {
        let path = NSTemporaryDirectory() + "mmgen-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let content = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 >> 8) }
        try Data(content).write(to: URL(fileURLWithPath: path))
        for file in [try FileBytes(path: path), FileBytes(copying: content, name: "copy")] {
            #expect(Array(file.bytes) == content)
            for range in [0..<50_000, 5_000..<30_000, 100..<200, 49_999..<50_000] {
                file.letGo(UnsafeRawBufferPointer(rebasing: file.bytes[range]))
                #expect(Array(file.bytes) == content)
            }
            // What lies elsewhere is nobody's business.
            content.withUnsafeBytes { file.letGo($0) }
        }
        #expect(content.last == UInt8(truncatingIfNeeded: 49_999 * 7 + 49_999 >> 8))
    }

    @Test("every element type of a file of the Python library arrives with its values")
    func elementTypes() throws {
        let checkpoint = try CheckpointReader.open(fixture("dtypes.safetensors"))
        #expect(checkpoint.names.count == 10)
        #expect(checkpoint.metadata["format"] == "pt")
        for name in checkpoint.names { #expect(try numbers(#require(checkpoint[name])) == ramp(6, name), "\(name)") }
    }

    @Test("empty tensors and scalars are legal")
    func edges() throws {
        let checkpoint = try CheckpointReader.open(fixture("edge.safetensors"))
        #expect(checkpoint["empty"]?.shape == [0, 4])
        #expect(checkpoint["scalar"]?.shape == [])
        #expect(try CheckpointReader.read(FileBytes(copying: safetensors("{}"), name: "file")).names.isEmpty)
        #expect(failure(safetensors("{\(x)}   ", data: four)) == nil)
    }

    static let broken: [(String, [UInt8])] = [
        ("no bytes", []),
        ("7 bytes", [1, 0, 0, 0, 0, 0, 0]),
        ("8 bytes", [2, 0, 0, 0, 0, 0, 0, 0]),
        ("length 0", safetensors("")),
        ("length 2^63", safetensors("{}", length: 1 << 63)),
        ("length 2^64 - 1", safetensors("{}", length: .max)),
        ("length over the limit", safetensors("{}", length: 100_000_001)),
        ("length past the end", safetensors("{}", length: 3)),
        ("length short of the header", safetensors("{\(x)}", data: four, length: 10)),
        ("leading space", safetensors(" {}")),
        ("an array", safetensors("[]")),
        ("not UTF-8", safetensors("{}", data: []).dropLast() + [0xFF, 0x7D]),
        ("not JSON", safetensors("{x}")),
        ("trailing comma", safetensors("{\(x),}", data: four)),
        ("text after the object", safetensors("{}x")),
        ("NUL after the object", safetensors("{}\0")),
        ("duplicate tensor", safetensors("{\(x),\(x)}", data: four)),
        (
            "duplicate member",
            safetensors(#"{"x":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, data: four)
        ),
        (
            "duplicate by escape",
            safetensors(#"{\#(x),"\u0078":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, data: eight)
        ),
        ("tensor not an object", safetensors(#"{"x":1}"#)),
        ("no dtype", safetensors(#"{"x":{"shape":[1],"data_offsets":[0,4]}}"#, data: four)),
        ("no shape", safetensors(#"{"x":{"dtype":"F32","data_offsets":[0,4]}}"#, data: four)),
        ("no offsets", safetensors(#"{"x":{"dtype":"F32","shape":[1]}}"#, data: four)),
        ("unknown dtype", safetensors(#"{"x":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, data: four)),
        ("dtype in lower case", safetensors(#"{"x":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}"#, data: four)),
        ("dtype not read", safetensors(#"{"x":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#, data: four)),
        ("unknown member", safetensors(#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"y":0}}"#, data: four)),
        ("negative size", safetensors(#"{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, data: four)),
        ("fractional size", safetensors(#"{"x":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, data: four)),
        ("string size", safetensors(#"{"x":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}"#, data: four)),
        ("shape not an array", safetensors(#"{"x":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}"#, data: four)),
        (
            "size over 64 bits",
            safetensors(#"{"x":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}"#, data: four)
        ),
        (
            "product overflow",
            safetensors(#"{"x":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}"#, data: four)
        ),
        (
            "product overflow of two",
            safetensors(#"{"x":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#)
        ),
        (
            "overflow hidden by zero",
            safetensors(#"{"x":{"dtype":"U8","shape":[4611686018427387904,4,0],"data_offsets":[0,0]}}"#)
        ),
        (
            "nine axes",
            safetensors(#"{"x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#, data: four)
        ),
        (
            "size unlike the offsets",
            safetensors(#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, data: four)
        ),
        ("one offset", safetensors(#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, data: four)),
        ("three offsets", safetensors(#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}}"#, data: four)),
        ("reversed offsets", safetensors(#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, data: four)),
        ("negative offset", safetensors(#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#, data: four)),
        ("first offset not zero", safetensors(#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, data: eight)),
        ("hole", safetensors(#"{\#(x),"y":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}}"#, data: eight)),
        ("overlap", safetensors(#"{\#(x),"y":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#, data: eight)),
        (
            "the same bytes twice",
            safetensors(#"{\#(x),"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, data: four)
        ),
        ("data missing", safetensors("{\(x)}")),
        ("data cut off", safetensors("{\(x)}", data: [0, 0, 128])),
        ("data left over", safetensors("{\(x)}", data: four + [0])),
        ("metadata number", safetensors(#"{"__metadata__":{"a":1}}"#)),
        ("metadata nested", safetensors(#"{"__metadata__":{"a":{}}}"#)),
        ("metadata not an object", safetensors(#"{"__metadata__":[]}"#)),
        ("lone surrogate", safetensors(#"{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, data: four)),
        ("deep nesting", safetensors(#"{"x":"# + String(repeating: "[", count: 100_000))),
    ]

    @Test("a broken file is refused with a sentence", arguments: broken)
    func brokenFiles(name: String, bytes: [UInt8]) throws {
        let error = try #require(failure(bytes), "\(name) was accepted")
        #expect(error.message.hasSuffix("."))
        #expect(error.message.contains("file"))
        let direct = #expect(throws: CheckpointError.self) {
            try SafetensorsReader.read(FileBytes(copying: bytes, name: "file"))
        }
        #expect(direct?.code != .unreadable)
    }

    @Test("what is written reads back the same, and the same bytes come out each time")
    func roundTrip() throws {
        let original = try CheckpointReader.open(fixture("dtypes.safetensors"))
        let metadata = ["note": "tab\tquote\" \u{1F600}", "a": ""]
        let bytes = try SafetensorsWriter.bytes(original.tensors, metadata: metadata)
        let copy = try CheckpointReader.read(FileBytes(copying: bytes, name: "file"))
        #expect(copy.metadata == metadata)
        #expect(copy.names == original.names)
        for name in copy.names {
            #expect(try numbers(#require(copy[name])) == numbers(#require(original[name])))
            #expect(copy[name]?.dtype == original[name]?.dtype)
        }
        #expect(try SafetensorsWriter.bytes(copy.tensors, metadata: metadata) == bytes)
        #expect(bytes.prefix(8).first.map { $0 % 8 } == 0)
    }

    @Test("an index gathers its shards")
    func shards() throws {
        let checkpoint = try CheckpointReader.open(fixture("sharded"))
        #expect(checkpoint.format == .shardedSafetensors)
        #expect(checkpoint.names.count == 10)
        for name in checkpoint.names { #expect(try numbers(#require(checkpoint[name])) == ramp(6, name)) }
    }

    @Test(
        "an index that leaves its folder, promises too much or lists too little is refused",
        arguments: [
            #"{"weight_map":{"x":"../part.safetensors"}}"#, #"{"weight_map":{"x":"/etc/passwd"}}"#,
            #"{"weight_map":{"x":"sub/part.safetensors"}}"#, #"{"weight_map":{"x":"missing.safetensors"}}"#,
            #"{"weight_map":{"x":""}}"#, #"{"weight_map":{"x":"."}}"#, #"{"weight_map":{"x":1}}"#,
            #"{"weight_map":{"x":"part.safetensors","z":"part.safetensors"}}"#,
            #"{"weight_map":{"y":"part.safetensors"}}"#,
            #"{"weight_map":[]}"#, #"{}"#, #"[]"#, "",
            #"{"weight_map":{"x":"part.safetensors","x":"part.safetensors"}}"#,
        ])
    func brokenIndex(text: String) throws {
        try withTemporaryFolder { folder in
            try SafetensorsWriter.write(
                ["x": Tensor([Float(1)]), "y": Tensor([Float(2)])], to: folder + "/part.safetensors")
            try AtomicFile.write(text, to: folder + "/model.safetensors.index.json")
            #expect(throws: CheckpointError.self) { try CheckpointReader.open(folder) }
        }
    }

    @Test("a tensor outlives the checkpoint it was mapped from")
    func lifetime() throws {
        let tensor = try #require(try CheckpointReader.open(fixture("dtypes.safetensors"))["float32"])
        #expect(numbers(tensor) == ramp(6, "float"))
        var copy = tensor
        copy.withUnsafeMutableBytes { $0[0] = 1 }
        #expect(numbers(tensor) == ramp(6, "float"))
    }
}
