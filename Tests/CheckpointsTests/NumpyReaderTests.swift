import Tensors
import Testing

@testable import Checkpoints

@Suite("Reading NumPy files")
struct NumpyReaderTests {
    @Test("arrays of an archive arrive with their values", arguments: ["arrays.npz", "arrays_compressed.npz"])
    func archives(name: String) throws {
        let checkpoint = try CheckpointReader.open(fixture(name))
        #expect(checkpoint.format == .npz)
        #expect(checkpoint.names.count == 9)
        for name in checkpoint.names {
            let tensor = try #require(checkpoint[name])
            #expect(tensor.shape == (name == "scalar" ? [] : [2, 3]))
            #expect(numbers(tensor) == ramp(tensor.count, name), "\(name)")
        }
    }

    @Test("a single array is called array")
    func single() throws {
        let checkpoint = try CheckpointReader.open(fixture("array.npy"))
        #expect(checkpoint.names == ["array"])
        #expect(try numbers(#require(checkpoint["array"])) == ramp(6, "float"))
    }

    @Test(
        "arrays of objects and records are refused by name",
        arguments: [("objects.npy", "|O"), ("records.npy", "record")])
    func refused(name: String, type: String) {
        let error = #expect(throws: CheckpointError.self) { try CheckpointReader.open(fixture(name)) }
        #expect(error?.code == .unsupported)
        #expect(error?.message.contains(type) == true)
    }

    @Test(
        "headers that are not plain are refused",
        arguments: [
            "{'descr': '<f4', 'fortran_order': False}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}",
            "{'descr': '<f4', 'fortran_order': maybe, 'shape': (2,)}", "{'descr': '<f4', 'shape': (", "", "{", "{}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2)}",
        ])
    func brokenHeaders(header: String) {
        let bytes =
            NumpyReader.magic + [1, 0, UInt8(header.utf8.count), 0] + Array(header.utf8) + [0, 0, 0, 0, 0, 0, 0, 0]
        #expect(failure(bytes) != nil)
    }
}
