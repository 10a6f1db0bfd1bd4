import Foundation

/// When this process began, so that what a person waits for can be stated whole.
enum ProcessStart {
    /// When `main` was entered; touched there.
    static let main = ContinuousClock.now

    /// When the system started the process; ``main`` where the system does not say.
    ///
    /// The system counts in hundredths of a second and cuts off the rest, so this is up to one of them too early.
    static let instant = ContinuousClock.now - (age ?? ContinuousClock.now - main)

    /// How long this process has lived, its loading included.
    private static var age: Duration? {
        #if os(Linux)
            // Behind the name, which may hold spaces and brackets: the process's state, and its start in ticks since the
            // system's as the twentieth field.
            guard let text = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
                let name = text.lastIndex(of: ")")
            else { return nil }
            let fields = text[name...].split(separator: " ")
            var now = timespec()
            guard fields.count > 20, let ticks = Double(fields[20]), clock_gettime(CLOCK_BOOTTIME, &now) == 0 else {
                return nil
            }
            let running = Double(now.tv_sec) + 1e-9 * Double(now.tv_nsec)
            return .seconds(max(0, running - ticks / Double(sysconf(Int32(_SC_CLK_TCK)))))
        #else
            return nil
        #endif
    }
}
