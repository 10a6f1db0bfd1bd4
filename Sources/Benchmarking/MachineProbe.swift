import CKernels
import Foundation
import Tensors

/// What the machine can do at most just now.
public struct MachineLimits: Sendable, Hashable {
    /// Bytes per second that can be read from memory.
    public var bandwidth: Double
    /// Floating-point operations per second in `float32`; a fused multiply-add counts as two.
    public var arithmetic: Double

    /// Joins the two.
    public init(bandwidth: Double, arithmetic: Double) {
        self.bandwidth = bandwidth
        self.arithmetic = arithmetic
    }

    /// The better of two measurements in both respects.
    func better(_ other: MachineLimits) -> MachineLimits {
        MachineLimits(bandwidth: max(bandwidth, other.bandwidth), arithmetic: max(arithmetic, other.arithmetic))
    }
}

/// Measures the machine's limits on the threads in use: reading memory far larger than any cache, and fused
/// multiply-adds in registers.
///
/// What neighbours on the same host do changes both within minutes, so they are measured beside every row.
struct MachineProbe {
    /// How much memory is read; it is given back after every measurement, so that it does not add to a stage's peak.
    var byteCount = 256 << 20
    /// The best of as many attempts is taken.
    var attempts = 3

    /// The limits on as many threads as ``Threads/count`` says.
    func limits() -> MachineLimits {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
        defer { memory.deallocate() }
        // Written, so that every page is one of its own.
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        let read = best { _ = mm_probe_read(memory, byteCount) }
        var operations = 0.0
        let tasks = 8 * Threads.count
        let computed = best { operations = mm_probe_arithmetic(tasks, 100_000) }
        return MachineLimits(bandwidth: Double(byteCount) / read, arithmetic: operations / computed)
    }

    private func best(_ body: () -> Void) -> Double {
        (0..<attempts).map { _ in max(Stopwatch.seconds(body), 1e-9) }.min() ?? 1
    }
}

/// What a reader has to know about the machine.
public struct MachineDescription: Sendable, Hashable {
    /// The processor's name as the system states it.
    public var processor: String
    /// Processors that this process may use.
    public var processors: Int
    /// The instruction set in use.
    public var instructionSet: String
    /// Bytes of memory.
    public var memory: Double
    /// The system's name and version.
    public var system: String
    /// A variable that distorts libraries, as `NAME=value`, if it is set.
    public var distortion: String?

    /// This machine.
    public static var current: MachineDescription {
        let environment = ProcessInfo.processInfo.environment
        let names = ["OPENBLAS_CORETYPE"]
        return MachineDescription(
            processor: processorName, processors: ProcessInfo.processInfo.activeProcessorCount,
            instructionSet: Tensors.instructionSet, memory: MachineMemory.byteCount,
            system: ProcessInfo.processInfo.operatingSystemVersionString,
            distortion: names.compactMap { name in environment[name].map { "\(name)=\($0)" } }.first)
    }
}
