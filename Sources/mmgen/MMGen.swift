import ArgumentParser
import Foundation
import Tensors

/// The command `mmgen`: one verb per file in `Verbs/`, flags in, library calls, results out.
@main
struct MMGen: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mmgen",
        abstract: "Make videos and images from words, on a CPU.",
        discussion: """
            A model directory is self-describing: --model DIR is all that a verb needs. Without it, text-to-video uses \
            the small model that comes with the program.

            Exit codes: 0 done, 1 failed, 2 done in part, 64 wrong usage, 130 interrupted, 143 asked to end.
            """,
        version: "0.1.0",
        subcommands: [
            TextToVideo.self, TextToImage.self, ContinueVideo.self, Encode.self, Decode.self, Reconstruct.self,
            TrainVQVAE.self, TrainGPT.self, Train.self, Config.self, Forward.self,
            Tokenize.self, Convert.self, Quantize.self, Inspect.self, Models.self, Bench.self,
            Evaluate.self, EvaluateNetworks.self, Report.self, DataVerb.self, Classify.self, Embed.self, Retrieve.self,
            Ground.self, Answer.self,
        ])

    /// Runs the command line; every way out of the program but a signal leads through here.
    static func main() {
        _ = ProcessStart.main
        Interruption.install()
        MachineMemory.whenExhausted { Console.end($0) }
        do {
            var command = try parseAsRoot()
            do {
                try command.run()
                try Console.flush()
            } catch let error where Self.isParsers(error) {
                throw error
            } catch {
                Console.fail(error)
            }
        } catch {
            exitForParser(error)
        }
    }

    /// Whether an error is the argument parser's way to print help or to refuse usage.
    private static func isParsers(_ error: any Error) -> Bool {
        error is CleanExit || error is ExitCode || error is ValidationError || exitCode(for: error) == .success
    }

    private static func exitForParser(_ error: any Error) -> Never {
        let code = exitCode(for: error)
        guard code != .success else { exit(withError: error) }
        let full = fullMessage(for: error)
        // The parser's own first word is replaced by the program's name, as in every other message.
        let text = full.hasPrefix("Error: ") ? String(full.dropFirst("Error: ".count)) : full
        // Who throws a mere exit code has said what is wrong.
        if !text.isEmpty { Console.writeError("mmgen: \(text)") }
        Foundation.exit(code.rawValue)
    }
}
