import Checkpoints
import Foundation
import JSON
import Media

/// What a verb tells about the clips it has written, as JSON and as lines.
struct ClipReport {
    private var entries: [JSONObject] = []
    private var notes: [String] = []

    /// The number of clips.
    var count: Int { entries.count }

    /// Adds a clip and prints its line.
    ///
    /// - Parameters:
    ///   - written: what the writer says.
    ///   - file: its name as the person gave it.
    ///   - frames: how many it shows.
    ///   - frameRate: frames per second.
    ///   - details: members for the manifest and the JSON, such as the prompt.
    ///   - console: where the line goes.
    mutating func add(
        _ written: WrittenMedia, at file: URL, frames: Int, frameRate: Double, details: JSONObject, _ console: Console
    ) {
        var entry: JSONObject = ["file": .string(file.relativePath)]
        for (key, value) in details.members { entry[key] = value }
        entry["frames"] = .integer(frames)
        entry["width"] = .integer(written.width)
        entry["height"] = .integer(written.height)
        if frames > 1 { entry["frame_rate"] = .number(frameRate) }
        entries.append(entry)
        let size = "\(written.width) x \(written.height)"
        let isSheet = frames > 1 && written.format.isStill && written.files.count == 1
        let what =
            isSheet
            ? "a sheet of \(frames) frames, \(size)"
            : frames > 1 ? "\(frames) frames of \(size), \(shortNumber(frameRate)) per second" : size
        console.result(console.isQuiet ? file.relativePath : "\(file.relativePath)  (\(what))")
        for note in written.notes where !notes.contains(note) {
            notes.append(note)
            console.note(note)
        }
    }

    /// The clips as JSON, in order.
    var json: JSONValue { .array(entries.map { .object($0) }) }

    /// Writes one JSON line per clip, with file names relative to the manifest's folder.
    func writeManifest(to file: URL) throws {
        let lines = entries.map { entry -> String in
            var entry = entry
            if let name = entry["file"]?.stringValue { entry["file"] = .string((name as NSString).lastPathComponent) }
            return JSONValue.object(entry).serialized()
        }
        try AtomicFile.write(lines.map { $0 + "\n" }.joined(), to: file.path)
    }
}

/// A number without a fraction where it has none.
func shortNumber(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(format: "%.3g", value)
}
