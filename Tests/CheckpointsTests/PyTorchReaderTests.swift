import Foundation
import Tensors
import Testing

@testable import Checkpoints

@Suite("Reading PyTorch files")
struct PyTorchReaderTests {
    @Test(
        "every element type arrives with its values",
        arguments: ["dtypes.pt", "dtypes_legacy.pt", "dtypes_protocol4.pt", "dtypes_deflated.pt", "dtypes_zip64.pt"])
    func elementTypes(name: String) throws {
        let checkpoint = try CheckpointReader.open(fixture(name))
        let expected = [
            "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
        ]
        #expect(checkpoint.names == expected)
        #expect(checkpoint.format == (name.contains("legacy") ? .pytorchLegacy : .pytorchZip))
        for name in checkpoint.names {
            let tensor = try #require(checkpoint[name])
            #expect(tensor.shape == [2, 3])
            #expect(numbers(tensor) == ramp(6, name), "\(name)")
            let widened = ["int16": DType.int32, "int8": .int32]
            #expect(tensor.dtype == widened[name] ?? DType(rawValue: name))
        }
        #expect(checkpoint.skipped.isEmpty)
    }

    @Test(
        "views with strides, offsets and repeated elements are made right", arguments: ["views.pt", "views_legacy.pt"])
    func views(name: String) throws {
        let checkpoint = try CheckpointReader.open(fixture(name))
        let base = ramp(24, "float")
        func pick(_ rows: [Int], _ columns: [Int]) -> [Double] {
            rows.flatMap { r in columns.map { base[r * 6 + $0] } }
        }
        let expected: [String: ([Int], [Double])] = [
            "base": ([4, 6], base),
            "transposed": ([6, 4], (0..<6).flatMap { column in (0..<4).map { base[$0 * 6 + column] } }),
            "columns": ([4, 2], pick([0, 1, 2, 3], [1, 2])),
            "row": ([6], pick([2], [0, 1, 2, 3, 4, 5])),
            "steps": ([2, 2], pick([0, 2], [0, 3])),
            "expanded": ([3, 5], (0..<3).flatMap { row in [Double](repeating: Double(row) / 8, count: 5) }),
            "scalar": ([], [0]),
            "empty": ([0, 4], []),
            "channels_last": ([2, 3, 2, 2], ramp(24, "float")),
        ]
        #expect(Set(checkpoint.names) == Set(expected.keys))
        for (name, (shape, values)) in expected {
            let tensor = try #require(checkpoint[name])
            #expect(tensor.shape == shape, "\(name)")
            #expect(numbers(tensor) == values, "\(name)")
        }
    }

    @Test("views of one storage share its memory")
    func sharedStorage() throws {
        let checkpoint = try CheckpointReader.open(fixture("shared.pt"))
        let addresses = ["first", "second", "all"].map { name in
            checkpoint[name]?.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } ?? 0
        }
        #expect(addresses[0] == addresses[2])
        #expect(addresses[1] == addresses[0] + 2000)
        #expect(try numbers(#require(checkpoint["second"])) == (500..<1000).map(Double.init))
    }

    @Test("unsigned 16-bit elements, which torch rebuilds another way, are widened")
    func newElementTypes() throws {
        let checkpoint = try CheckpointReader.open(fixture("uint16.pt"))
        #expect(try numbers(#require(checkpoint["uint16"])) == [0, 1, 2, 3, 4, 5])
    }

    @Test("a list of parameters is named by position")
    func listOfParameters() throws {
        let checkpoint = try CheckpointReader.open(fixture("parameters.pt"))
        #expect(checkpoint.names == ["0", "1", "2", "3"])
        #expect(checkpoint["0"]?.shape == [2, 3])
    }

    @Test("a module's state dict keeps its order and its counters")
    func module() throws {
        let checkpoint = try CheckpointReader.open(fixture("module.pt"))
        #expect(
            checkpoint.names == [
                "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked",
            ])
        #expect(checkpoint["1.num_batches_tracked"]?.dtype == .int64)
        #expect(checkpoint["1.num_batches_tracked"]?.shape == [])
    }

    @Test("a Lightning checkpoint gives its state dict and lists the rest")
    func lightning() throws {
        let checkpoint = try CheckpointReader.open(fixture("lightning.ckpt"))
        #expect(checkpoint.names.first == "model.0.weight")
        #expect(checkpoint.names.count == 7)
        #expect(checkpoint.skipped.contains { $0.hasPrefix("'hyper_parameters'") })
        let content = try #require(checkpoint.content)
        #expect(content["epoch"]?.integerValue == 3)
        #expect(content["hyper_parameters"]?["lr"]?.doubleValue == 0.5)
        guard case .opaque(let arguments)? = content["hyper_parameters"]?["args"] else {
            Issue.record("the arguments are not opaque")
            return
        }
        #expect(arguments.name == "argparse.Namespace")
        #expect(arguments.attributes?["width"]?.integerValue == 8)
        let stripped = try CheckpointReader.open(
            fixture("lightning.ckpt"), options: ReadOptions(strippedPrefix: "model."))
        #expect(stripped.names.first == "0.weight")
    }

    @Test("the model comes before its moving average, which can be asked for")
    func modelAndAverage() throws {
        let path = fixture("mdetr_like.pth")
        let model = try CheckpointReader.open(path)
        #expect(try numbers(#require(model["backbone.weight"])) == [0, 0.125, 0.25, 0.375])
        let average = try CheckpointReader.open(path, options: ReadOptions(stateDictKey: "model_ema"))
        #expect(try numbers(#require(average["backbone.weight"])) == [1, 1.125, 1.25, 1.375])
        #expect(throws: CheckpointError.self) {
            try CheckpointReader.open(path, options: ReadOptions(stateDictKey: "nothing"))
        }
    }

    @Test("of a module that was saved whole the state dict is read, nothing of its class")
    func wholeModule() throws {
        let (whole, state) = (
            try CheckpointReader.open(fixture("whole_module.pt")), try CheckpointReader.open(fixture("module.pt"))
        )
        #expect(whole.names.sorted() == state.names.sorted() && whole.names.count > 4)
        for name in state.names { #expect(numbers(try #require(whole[name])) == numbers(try #require(state[name]))) }
    }

    @Test(
        "a value that only a call could make is refused, and the call is named",
        arguments: [
            ("evil_system.pt", "system"), ("evil_eval.pt", "eval"), ("evil_root.pt", "system"),
            ("evil_nested_load.pt", "torch.serialization.load"), ("evil_bare.pkl", "system"),
        ])
    func refusedCalls(name: String, global: String) throws {
        let error = #expect(throws: CheckpointError.self) { try CheckpointReader.open(fixture(name)) }
        #expect(error?.code == .refusedGlobal)
        #expect(error?.message.contains(global) == true, "\(error?.message ?? "")")
        #expect(!FileManager.default.fileExists(atPath: "/tmp/mmgen-was-here"))
    }

    @Test("a call beside the state dict is skipped, not made")
    func callOutside() throws {
        let checkpoint = try CheckpointReader.open(fixture("evil_outside.pt"))
        #expect(checkpoint.names == ["good"])
        #expect(checkpoint.skipped.contains { $0.contains("system") })
        #expect(!FileManager.default.fileExists(atPath: "/tmp/mmgen-was-here"))
    }

    @Test("an element type that is not read is named with its tensor")
    func unreadElementType() {
        let error = #expect(throws: CheckpointError.self) { try CheckpointReader.open(fixture("complex.pt")) }
        #expect(error?.code == .unsupported)
        #expect(error?.message.contains("\"complex\"") == true)
        #expect(error?.message.contains("ComplexFloatStorage") == true)
    }

    @Test("arrays of NumPy pickles become tensors", arguments: [2, 4])
    func numpyPickles(version: Int) throws {
        let checkpoint = try CheckpointReader.open(fixture("arrays_protocol\(version).pkl"))
        #expect(checkpoint.format == .pickle)
        for name in ["float32", "float64", "int64", "uint8", "bool", "big_endian", "fortran", "int16"] {
            let tensor = try #require(checkpoint[name])
            #expect(numbers(tensor) == ramp(6, name), "\(name)")
        }
        #expect(checkpoint.content?["step"]?.integerValue == 7)
        #expect(checkpoint.content?["scalar"]?.doubleValue == 0)
    }

    @Test("a damaged storage fails its checksum unless that is switched off")
    func checksum() throws {
        var bytes = try contentOfFile(fixture("shared.pt"))
        let pattern = withUnsafeBytes(of: Float(700)) { Array($0) }
        let place = try #require((0..<bytes.count - 4).first { Array(bytes[$0..<$0 + 4]) == pattern })
        bytes[place] ^= 1
        #expect(failure(bytes)?.code == .checksumMismatch)
        #expect(failure(bytes, options: ReadOptions(verifiesChecksums: false)) == nil)
    }
}

@Suite("Choosing the state dict")
struct StateDictSelectorTests {
    private let weights = PickleValue.dictionary([(.string("w"), .tensor(Tensor([Float(1)])))])
    private let call = PickleValue.opaque(
        .init(name: "os.system", reason: "would be made by calling os.system", attributes: nil))

    private func names(_ root: PickleValue, _ options: ReadOptions = ReadOptions()) throws -> [String] {
        try StateDictSelector(path: "file", options: options).checkpoint(root, format: .pickle).names
    }

    @Test("tensors at the root come first, then usual keys, then the only dict with tensors")
    func order() throws {
        let both = PickleValue.dictionary([(.string("t"), .tensor(Tensor([Float(1)]))), (.string("model"), weights)])
        #expect(try names(both) == ["t", "model.w"])
        #expect(try names(.dictionary([(.string("ema"), weights), (.string("state_dict"), weights)])) == ["w"])
        #expect(try names(.dictionary([(.string("odd"), weights), (.string("epoch"), .integer(1))])) == ["w"])
        #expect(throws: CheckpointError.self) {
            try names(.dictionary([(.string("one"), weights), (.string("two"), weights)]))
        }
    }

    @Test("a usual key whose values are refused is not passed over for another dict")
    func refused() {
        let root = PickleValue.dictionary([
            (.string("state_dict"), .dictionary([(.string("w"), call)])), (.string("optimizer"), weights),
        ])
        let error = #expect(throws: CheckpointError.self) { try names(root) }
        #expect(error?.code == .refusedGlobal)
    }

    @Test("a key may be a path or hold dots")
    func keys() throws {
        let nested = PickleValue.dictionary([
            (.string("a"), .dictionary([(.string("b"), weights)])), (.string("c.d"), weights),
        ])
        #expect(try names(nested, ReadOptions(stateDictKey: "a.b")) == ["w"])
        #expect(try names(nested, ReadOptions(stateDictKey: "c.d")) == ["w"])
        #expect(throws: CheckpointError.self) { try names(nested, ReadOptions(stateDictKey: "a.c")) }
        #expect(throws: CheckpointError.self) {
            try names(nested, ReadOptions(stateDictKey: "a.b", strippedPrefix: "x."))
        }
    }
}
