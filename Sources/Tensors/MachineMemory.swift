import CKernels
import Foundation
import Synchronization

/// How much memory this process may use, so that what can never fit is refused in a sentence instead of failing half way.
public enum MachineMemory {
    /// Bytes: the machine's, or what a container or `ulimit -v` allows of it.
    @TaskLocal public static var byteCount: Double = allowed

    /// What the machine, the container and the limit on the address space allow.
    static let allowed: Double = {
        var smallest = Double(ProcessInfo.processInfo.physicalMemory)
        let container = try? String(contentsOfFile: "/sys/fs/cgroup/memory.max", encoding: .utf8)
        if let bytes = container.flatMap({ Double($0.trimmingCharacters(in: .whitespacesAndNewlines)) }) {
            smallest = min(smallest, bytes)
        }
        var limit = rlimit()
        #if canImport(Glibc)
            let isKnown = getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0
        #else
            let isKnown = getrlimit(RLIMIT_AS, &limit) == 0
        #endif
        // No limit is the largest number there is.
        return isKnown ? min(smallest, Double(limit.rlim_cur)) : smallest
    }()

    /// What tensors may take before the process gives up: all of ``allowed``, and the swap space of the machine unless
    /// something else is the limit.
    static let exhaustible: Double = {
        guard allowed == Double(ProcessInfo.processInfo.physicalMemory) else { return allowed }
        return allowed + Double(kibibytes("SwapTotal:", in: "/proc/meminfo") ?? 0) * 1024
    }()

    /// The number behind a name in one of the system's lists.
    private static func kibibytes(_ name: String, in path: String) -> Int? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
    }

    /// The most memory that this process ever had in use, in bytes, as the system counts it; `nil` where it does not say.
    public static var peakByteCount: Int? { kibibytes("VmHWM:", in: "/proc/self/status").map { $0 * 1024 } }

    /// The memory that this process has in use now, in bytes, as the system counts it; `nil` where it does not say.
    public static var residentByteCount: Int? { kibibytes("VmRSS:", in: "/proc/self/status").map { $0 * 1024 } }

    /// Refuses what takes more memory than there is at all.
    ///
    /// - Parameters:
    ///   - bytes: how many it takes at least; a `Double`, since what a file asks for may overflow an integer.
    ///   - what: names it in the message, with a capital letter and in the singular.
    /// - Throws: ``TensorError`` with code `.invalidSize`.
    public static func require(_ bytes: Double, for what: String) throws {
        guard bytes > byteCount else { return }
        throw TensorError(
            .invalidSize, "\(what) takes at least \(text(bytes)) of memory; this machine has \(text(byteCount)).")
    }

    /// Gives memory that is kept for reuse back to the system: for when one kind of work ends and another begins.
    public static func releaseUnused() {
        StoragePool.shared.trim()
        mm_trim_heap()
    }

    private static func text(_ bytes: Double) -> String {
        bytes < 1e9 ? String(format: "%.1f MB", bytes / 1e6) : String(format: "%.1f GB", bytes / 1e9)
    }

    // MARK: - The last resort

    private static let handler = Mutex<(@Sendable (String) -> Never)?>(nil)

    /// Sets how the process ends when tensors want more memory than there is, which ``require(_:for:)`` did not foresee.
    ///
    /// - Parameter body: takes one sentence, on any thread, and ends the process; without one it traps.
    public static func whenExhausted(_ body: @escaping @Sendable (String) -> Never) {
        handler.withLock { $0 = body }
        mm_set_out_of_memory { bytes in
            MachineMemory.exhausted(
                byteCount: Int(clamping: bytes), inUse: StoragePool.shared.usedBytes, what: "scratch space")
        }
    }

    /// Ends the process: an operation has no way to return without its result.
    static func exhausted(byteCount: Int, inUse: Int, what: String = "a tensor") -> Never {
        let sentence =
            "There is not enough memory: \(what) of \(text(Double(byteCount))) was wanted beside "
            + "\(text(Double(inUse))) in use; this machine has \(text(exhaustible))."
        if let handler = handler.withLock({ $0 }) { handler(sentence) }
        fatalError(sentence)
    }
}
