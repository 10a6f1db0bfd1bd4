import ArgumentParser
import Distributed
import Foundation

/// What went wrong in a verb, in words for the person at the terminal.
struct VerbError: Error, CustomStringConvertible {
    /// One sentence.
    let description: String

    /// Creates an error from one sentence.
    init(_ sentence: String) { description = sentence }
}

/// Some of several inputs failed, each named before; the others are done.
struct PartlyDone: Error, CustomStringConvertible {
    let description: String

    /// Says how many failed.
    init(failed: Int, total: Int) {
        description = "\(failed) of \(total) inputs failed" + (failed < total ? ", the others are done." : ".")
    }

    /// Says it in a sentence.
    init(sentence: String) { description = sentence }
}

/// Results to standard output, everything else to standard error.
struct Console {
    /// Whether notes and progress are left out.
    let isQuiet: Bool
    /// Whether standard output gets one JSON document and nothing else.
    let isJSON: Bool
    /// Whether no result is printed at all.
    var isSilent = false

    /// Prints a line of the result for a person; nothing when the result is JSON.
    func result(_ line: String) {
        if !isJSON, !isSilent { print(line) }
    }

    /// Makes sure that what was printed has arrived.
    ///
    /// - Throws: ``VerbError`` when it has not, as with a file on a full disk.
    static func flush() throws {
        guard fflush(nil) != 0 else { return }
        throw VerbError("The results could not be printed: \(String(cString: strerror(errno))).")
    }

    /// Prints a remark that does not belong to the result.
    func note(_ sentence: String) {
        if !isQuiet { Self.writeError("mmgen: \(sentence)") }
    }

    /// Prints what failed while the rest goes on, quiet or not.
    func failure(_ error: any Error, of input: String) {
        Self.writeError("mmgen: \(Self.shown(input)): \(Self.sentence(error))")
    }

    /// Whether standard error is a terminal that a line can be updated on.
    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes a line to standard error.
    static func writeError(_ line: String) {
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }

    /// An error in one sentence.
    static func sentence(_ error: any Error) -> String {
        (error as? any LocalizedError)?.errorDescription ?? String(describing: error)
    }

    /// A person's text in quotes, fit for one line of a message.
    static func shown(_ text: String) -> String {
        let line = text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : Character($0) }
        return "'" + String(line.prefix(60)) + (line.count > 60 ? "...'" : "'")
    }

    /// Prints a sentence and ends the program at once, from any thread.
    static func end(_ sentence: String) -> Never {
        writeError(Processes.name + sentence)
        Processes.abort(code: 1)
        // What was printed so far is a result; all else is left as it is, other threads may be at work on it.
        fflush(nil)
        _exit(1)
    }

    /// Prints an error and ends the program with its exit code.
    static func fail(_ error: any Error) -> Never {
        Processes.letLeaderSpeak()
        // The launcher is ending the others after one has failed.
        if Processes.isFollower, Interruption.flag.isSet, !(error is DistributedError) { _exit(Interruption.exitCode) }
        let isInterrupted = error is CancellationError || Interruption.flag.isSet && !(error is DistributedError)
        let code: Int32 = isInterrupted ? Interruption.exitCode : error is PartlyDone ? 2 : 1
        writeError(Processes.name + (isInterrupted ? "interrupted." : sentence(error)))
        Processes.abort(code: code)
        exit(code)
    }
}
