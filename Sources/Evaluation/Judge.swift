import Checkpoints
import Foundation
import JSON

/// A program that knows a world and says of its clips what no general measure can: whether the sentence came true.
///
/// It is called as `COMMAND --manifest FILE --json -` and prints one JSON object whose `results` are objects with `name`,
/// `value` and, if it likes, `count` (of clips), `unit`, `higher_is_better`. It ends with 0, or with 2 when it could not read
/// some of the clips.
public struct Judge: Sendable {
    private let command: String

    /// A judge.
    ///
    /// - Parameter command: as a shell takes it, such as `python3 samples/babyai/score.py`.
    public init(command: String) { self.command = command }

    /// What the judge says of the clips of a manifest.
    ///
    /// The protocol names the command and the SHA-256 of every file that the command names.
    ///
    /// - Throws: ``EvaluationError`` with code `.judgeFailed` when the program cannot be run, ends otherwise than with 0 or 2,
    ///   or prints something else.
    public func measure(manifest: URL) throws -> [MeasuredValue] {
        let (output, status) = try run(["--manifest", manifest.path, "--json", "-"])
        guard status == 0 || status == 2 else {
            throw EvaluationError(.judgeFailed, "The judge '\(command)' ended with \(status); 0 is a verdict.")
        }
        let results = try parsed(output)
        let method = method
        let remarks = status == 2 ? ["The judge could not read some of the clips; they count as it counts them."] : []
        return try results.map { fields in
            guard let name = fields["name"]?.stringValue, let value = fields["value"]?.doubleValue else {
                throw malformed("one of its results has no name or no number")
            }
            return MeasuredValue(
                name, value, unit: fields["unit"]?.stringValue ?? "",
                higherIsBetter: fields["higher_is_better"]?.boolValue,
                counts: fields["count"]?.integerValue.map { [("clips", $0)] } ?? [], method: method, remarks: remarks)
        }
    }

    private var method: MeasureProtocol {
        var method = MeasureProtocol([("measure", "the verdict of a judge"), ("judge", command)])
        for word in command.split(separator: " ").map(String.init) {
            guard let content = FileManager.default.contents(atPath: word) else { continue }
            var digest = Digest()
            content.withUnsafeBytes { digest.add($0) }
            method.add("sha256 of \((word as NSString).lastPathComponent)", digest.hexadecimal)
        }
        return method
    }

    private func run(_ arguments: [String]) throws -> (output: Data, status: Int32) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        // The shell takes the command apart, and the arguments come to it untouched.
        process.arguments = ["-c", command + " \"$@\"", "judge"] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        do {
            try process.run()
            let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            return (output, process.terminationStatus)
        } catch {
            throw EvaluationError(
                .judgeFailed, "The judge '\(command)' could not be run: \(error.localizedDescription)")
        }
    }

    private func parsed(_ output: Data) throws -> [JSONObject] {
        do {
            let document = try output.withUnsafeBytes { try JSONValue.parse($0, source: "the judge's output") }
            guard let results = document["results"]?.arrayValue?.compactMap(\.objectValue), !results.isEmpty else {
                throw malformed("it holds no list of results")
            }
            return results
        } catch let error as JSONError {
            throw malformed(error.message)
        }
    }

    private func malformed(_ reason: String) -> EvaluationError {
        EvaluationError(
            .judgeFailed, "What the judge '\(command)' printed is not a JSON object with results: \(reason).")
    }
}
