import Foundation
import Generation
import Synchronization

/// Control-C and polite requests to end: the first one asks the work to stop where nothing is left half done, the second
/// one ends the program.
enum Interruption {
    /// Set by the first signal.
    static let flag = CancellationFlag()
    private static let signal = Atomic<Int32>(SIGINT)

    /// What the program ends with: 130 after Control-C, 143 after a request to end.
    static var exitCode: Int32 { 128 + signal.load(ordering: .relaxed) }

    /// Starts to listen for interrupts and for polite requests to end.
    static func install() {
        // Both must exist before a handler touches them.
        _ = (flag, exitCode)
        // A program that starts this one from a thread that blocks signals passes that on.
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM] { sigaddset(&signals, number) }
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        for number in [SIGINT, SIGTERM] {
            Foundation.signal(number) { number in
                if Interruption.flag.isSet { _exit(128 + number) }
                Interruption.signal.store(number, ordering: .relaxed)
                Interruption.flag.set()
            }
        }
    }
}
