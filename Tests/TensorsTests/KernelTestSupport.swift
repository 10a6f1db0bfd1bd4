import CKernels
import Testing

/// The instruction sets this processor can run, "wide16" (the 16-lane source) included.
let availableInstructionSets: [String] = [
    "baseline", "avx2", "wide16", "avx512", "avx512vnni", "avx512bf16",
].filter { name in
    defer { mm_set_isa_for_thread(nil) }
    return mm_set_isa_for_thread(name) == 0
}

/// Whether products of 16-bit floats run over pairs of k there, so that they have bits of their own.
func multipliesPairs(_ instructionSet: String) -> Bool { ["wide16", "avx512bf16"].contains(instructionSet) }

/// Runs `body` with the kernels of one instruction set, on this thread only.
func withInstructionSet<Result>(_ name: String, _ body: () throws -> Result) rethrows -> Result {
    #expect(mm_set_isa_for_thread(name) == 0)
    defer { mm_set_isa_for_thread(nil) }
    return try body()
}

/// Runs `body` with the widest kernels that multiply 16-bit floats as floats, on this thread only.
func withoutPairs<Result>(_ body: () throws -> Result) rethrows -> Result {
    let name = String(cString: mm_isa_name())
    return try withInstructionSet(name == "wide16" ? "avx2" : name == "avx512bf16" ? "avx512vnni" : name, body)
}

/// Runs `body` with that many threads. Other tests may run meanwhile: no result depends on the number.
func withThreads<Result>(_ count: Int32, _ body: () throws -> Result) rethrows -> Result {
    let before = mm_thread_count()
    mm_set_thread_count(count)
    defer { mm_set_thread_count(before) }
    return try body()
}

/// `count` values in -1...1 that depend on `seed` alone.
func kernelValues(_ count: Int, seed: UInt64) -> [Float] {
    var values = [Float](repeating: 0, count: count)
    mm_philox_uniform_f32(seed, 0, 0, count, &values)
    return values.map { 2 * $0 - 1 }
}

func widened(_ values: [Float]) -> [Double] { values.map(Double.init) }

/// The largest difference, relative to `1 + |expected|`; infinity when a value is missing or not a number.
func largestDifference(_ found: [Float], _ expected: [Double]) -> Double {
    guard found.count == expected.count else { return .infinity }
    var largest = 0.0
    for (a, b) in zip(found, expected) where Double(a) != b {
        let difference = abs(Double(a) - b) / (1 + abs(b))
        largest = difference.isNaN ? .infinity : max(largest, difference)
    }
    return largest
}

func sameBits(_ a: [Float], _ b: [Float]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { $0.bitPattern == $1.bitPattern }
}

/// Weights packed for `mm_gemm_packed_f32`, in 64-byte aligned memory.
final class PackedWeights {
    let memory: UnsafeMutableRawPointer
    let n: Int, k: Int
    init(_ weights: [Float], n: Int, k: Int) {
        (self.n, self.k) = (n, k)
        memory = .allocate(byteCount: max(64, mm_packed_size_f32(n, k)), alignment: 64)
        mm_pack_f32(n, k, weights, memory.assumingMemoryBound(to: Float.self))
    }
    deinit { memory.deallocate() }
    var values: UnsafePointer<Float> { UnsafePointer(memory.assumingMemoryBound(to: Float.self)) }
}
