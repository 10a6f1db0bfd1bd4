import Foundation

/// Progress on standard error: one line that is updated on a terminal, a plain line now and then elsewhere.
final class ProgressLine {
    private let isShown: Bool
    private let isTerminal: Bool
    private let plainInterval: Duration
    private var lastShown: ContinuousClock.Instant?
    private var width = 0

    /// A line that is shown unless the console is quiet.
    init(_ console: Console, plainInterval: Duration = .seconds(5)) {
        isShown = !console.isQuiet
        isTerminal = Console.isTerminal
        self.plainInterval = plainInterval
    }

    deinit { clear() }

    /// Shows the newest state, if it is time to.
    func update(_ text: @autoclosure () -> String) {
        guard isShown else { return }
        let now = ContinuousClock.now
        let interval: Duration = isTerminal ? .milliseconds(100) : plainInterval
        guard let last = lastShown else {
            // The first plain line comes after an interval: short work prints none.
            lastShown = now
            if isTerminal { show(text()) }
            return
        }
        guard now - last >= interval else { return }
        lastShown = now
        isTerminal ? show(text()) : Console.writeError(text())
    }

    /// Removes the line from a terminal.
    func clear() {
        guard isTerminal, width > 0 else { return }
        write("\r" + String(repeating: " ", count: width) + "\r")
        width = 0
    }

    private func show(_ text: String) {
        write("\r" + text + String(repeating: " ", count: max(0, width - text.count)))
        width = text.count
    }

    private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
