import Foundation
import JSON

/// What a run has left in its folder so far: read only, so that a run can be looked at while it goes on.
public struct RunRecord: Sendable {
    /// A picture of what the model did at a step.
    public struct Picture: Sendable, Equatable {
        /// The step it was made after.
        public let step: Int
        /// The PNG file.
        public let path: String
    }

    /// The folder.
    public let path: String
    /// The recipe, as `config.json` has it.
    public let config: JSONObject
    /// Every metric that was logged, in the order in which names were first seen.
    public let series: [MetricSeries]
    /// What steps took, in seconds and memory; of a run that went on, the stretches one after the other.
    public let timing: [MetricSeries]
    /// How many steps were left out because something in them was no finite number.
    public let skippedSteps: Int
    /// The pictures, ascending by step.
    public let pictures: [Picture]
    /// One object per time that the run was started or went on, oldest first.
    public let sessions: [JSONObject]
    /// The steps that have a checkpoint, ascending.
    public let checkpoints: [Int]
    /// Whether the finished model is there.
    public let hasModel: Bool

    /// Reads a run's folder.
    ///
    /// A last line that is half written, as in a run that goes on, is left out.
    ///
    /// - Throws: ``ReportError`` with code `.noRun` when there is no `config.json`, `.damaged` when a file of the run cannot be
    ///   read, naming file and line.
    public init(folder path: String) throws {
        self.path = path
        let folder = path as NSString
        let configPath = folder.appendingPathComponent("config.json")
        guard let config = FileManager.default.contents(atPath: configPath) else {
            throw ReportError(.noRun, "There is no run at \(path): it has no config.json.")
        }
        self.config = try Self.object(config, source: configPath)
        let log = try Self.lines(folder.appendingPathComponent("metrics.jsonl"))
        series = MetricSeries.collected(log)
        skippedSteps = log.last { $0["kind"]?.stringValue == "skipped" }?["total"]?.integerValue ?? 0
        timing = MetricSeries.collected(Self.timing(folder.appendingPathComponent("timing.jsonl")))
        sessions = try Self.lines(folder.appendingPathComponent("sessions.jsonl"))
        pictures = Self.numbered(folder.appendingPathComponent("samples"), suffix: ".png")
            .map { Picture(step: $0.step, path: $0.path) }
        checkpoints = Self.numbered(folder.appendingPathComponent("checkpoints"), suffix: "").map(\.step)
        hasModel = FileManager.default.fileExists(atPath: folder.appendingPathComponent("model/config.json"))
    }

    /// The step of the newest line of the log.
    public var lastStep: Int { series.compactMap(\.points.last?.step).max() ?? 0 }

    /// The number of steps the recipe asks for.
    public var stepCount: Int? { config["training"]?.objectValue?["steps"]?.integerValue }

    /// The objects of a file with one JSON object a line; none when there is no file.
    private static func lines(_ path: String) throws -> [JSONObject] {
        guard let data = FileManager.default.contents(atPath: path) else { return [] }
        let lines = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true)
        let isWhole = data.last == UInt8(ascii: "\n")
        return try (isWhole ? lines : lines.dropLast()).enumerated().map { index, line in
            try object(line, source: "Line \(index + 1) of \(path)")
        }
    }

    /// The lines about time and memory, in megabytes. Nothing depends on them, so a broken one is passed over.
    private static func timing(_ path: String) -> [JSONObject] {
        guard let data = FileManager.default.contents(atPath: path) else { return [] }
        return data.split(separator: UInt8(ascii: "\n")).compactMap { line in
            guard let object = try? object(line, source: path) else { return nil }
            var result: JSONObject = ["kind": .string(MetricSeries.Origin.training.rawValue)]
            for (name, value) in object.members where name != "time" {
                if name.hasSuffix("_bytes"), let bytes = value.doubleValue {
                    result[name.dropLast(5) + "megabytes"] = .number((bytes / 1e5).rounded() / 10)
                } else {
                    result[name] = value
                }
            }
            return result
        }
    }

    private static func object(_ data: Data, source: String) throws -> JSONObject {
        do {
            let value = try data.withUnsafeBytes { try JSONValue.parse($0, source: source) }
            guard let object = value.objectValue else {
                throw ReportError(.damaged, "\(source) is not a JSON object but \(value.excerpt).")
            }
            return object
        } catch let error as JSONError {
            throw ReportError(.damaged, error.message)
        }
    }

    /// What is called `step-NUMBER` and ends with `suffix` in a folder, ascending.
    private static func numbered(_ folder: String, suffix: String) -> [(step: Int, path: String)] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.compactMap { name in
            guard name.hasPrefix("step-"), name.hasSuffix(suffix) else { return nil }
            return Int(name.dropFirst(5).dropLast(suffix.count))
                .map { ($0, (folder as NSString).appendingPathComponent(name)) }
        }
        .sorted { $0.step < $1.step }
    }
}
