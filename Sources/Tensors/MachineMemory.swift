import Foundation

/// How much memory this process may use, so that what can never fit is refused in a sentence instead of failing half way.
public enum MachineMemory {
    /// Bytes: the machine's, or what a container is allowed of it.
    @TaskLocal public static var byteCount: Double = {
        let physical = Double(ProcessInfo.processInfo.physicalMemory)
        let limit = try? String(contentsOfFile: "/sys/fs/cgroup/memory.max", encoding: .utf8)
        let allowed = limit.flatMap { Double($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        return min(physical, allowed ?? physical)
    }()

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

    private static func text(_ bytes: Double) -> String {
        bytes < 1e9 ? String(format: "%.1f MB", bytes / 1e6) : String(format: "%.1f GB", bytes / 1e9)
    }
}
