import Tensors
import Testing

@Suite("Memory")
struct MachineMemoryTests {
    @Test("what is larger than the machine's memory is refused with both numbers")
    func refusal() throws {
        try MachineMemory.$byteCount.withValue(2e9) {
            try MachineMemory.require(0, for: "Nothing")
            try MachineMemory.require(2e9, for: "A whole machine")
            for (bytes, text) in [(2.1e9, "2.1 GB"), (1e30, "GB"), (.infinity, "inf GB")] {
                let error = #expect(throws: TensorError.self) { try MachineMemory.require(bytes, for: "A model") }
                #expect(error?.code == .invalidSize)
                #expect(error?.message.hasPrefix("A model takes at least ") == true)
                #expect(error?.message.contains(text) == true)
                #expect(error?.message.hasSuffix("this machine has 2.0 GB.") == true)
            }
        }
    }

    @Test("this machine's memory is known")
    func known() { #expect(MachineMemory.byteCount > 1e8 && MachineMemory.byteCount < 1e16) }

    @Test("the peak of this process is known, and grows with what it uses")
    func peak() throws {
        let before = try #require(MachineMemory.peakByteCount)
        #expect(before > 1 << 20 && Double(before) < MachineMemory.byteCount)
        // Written to, so that the system really gives it.
        let block = Tensor(repeating: 1, shape: [before / 4 + (16 << 20)])
        let after = try #require(MachineMemory.peakByteCount)
        #expect(after >= block.count * 4 && after > before)
    }
}
