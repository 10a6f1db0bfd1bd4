import Foundation
import Generation

/// Control-C: the first one asks the work to stop where nothing is left half done, the second one ends the program.
enum Interruption {
    /// Set by the first interrupt.
    static let flag = CancellationFlag()

    /// Starts to listen for interrupts and for polite requests to end.
    static func install() {
        // The flag must exist before a handler touches it.
        _ = flag
        // A program that starts this one from a thread that blocks signals passes that on.
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM] { sigaddset(&signals, number) }
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in
                if Interruption.flag.isSet { _exit(130) }
                Interruption.flag.set()
            }
        }
    }
}
