import Foundation

/// What TensorBoard shows of a run: its metrics as curves and its sample pictures.
///
/// Every process of a run writes a file of its own in the folder; one that goes on from a checkpoint says from which step
/// on its numbers count. The files repeat `metrics.jsonl` with the time of day; nothing reads them back.
final class EventLog {
    private let path: String
    private let handle: FileHandle

    /// Starts a file.
    ///
    /// - Parameters:
    ///   - folder: where to; made if it is missing.
    ///   - step: the number of steps already made.
    ///   - time: seconds since 1970, which the file is named after.
    /// - Throws: ``TrainingError`` with code `.invalidRun` when it cannot be written.
    init(folder: String, step: Int, time: Double = Date().timeIntervalSince1970) throws {
        let process = ProcessInfo.processInfo
        let name = "events.out.tfevents.\(Int(time)).\(process.hostName).\(process.processIdentifier)"
        // A process may start several within a second.
        let paths = (0...).lazy.map { (folder as NSString).appendingPathComponent("\(name).\($0)") }
        path = paths.first { !FileManager.default.fileExists(atPath: $0) } ?? name
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw TrainingError(.invalidRun, "The folder \(folder) cannot be made: \(error.localizedDescription)")
        }
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path)
        else { throw TrainingError(.invalidRun, "The log \(path) cannot be written.") }
        self.handle = handle
        try append(EventRecord(step: 0, time: time, content: .fileVersion))
        // Steps are counted from one; those from the next one on are this file's.
        if step > 0 { try append(EventRecord(step: step + 1, time: time, content: .start)) }
    }

    deinit { try? handle.close() }

    /// Writes numbers under `prefix/name`.
    func append(
        _ prefix: String, step: Int, _ metrics: Metrics, time: Double = Date().timeIntervalSince1970
    ) throws {
        for (name, value) in metrics {
            try append(EventRecord(step: step, time: time, content: .scalar(tag: "\(prefix)/\(name)", value: value)))
        }
    }

    /// Writes a picture that lies in a PNG file; other files are left out.
    func append(pictureAt path: String, step: Int, time: Double = Date().timeIntervalSince1970) throws {
        guard let png = try? Data(contentsOf: URL(fileURLWithPath: path)), let size = Self.size(png) else { return }
        try append(
            EventRecord(
                step: step, time: time,
                content: .image(tag: "samples", width: size.width, height: size.height, png: png)))
    }

    /// Width and height that a PNG file's header states; `nil` for anything else.
    private static func size(_ png: Data) -> (width: Int, height: Int)? {
        let signature: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
        guard png.count >= 24, png.starts(with: signature) else { return nil }
        func number(_ first: Int) -> Int { png[first..<first + 4].reduce(0) { $0 << 8 | Int($1) } }
        return (number(16), number(20))
    }

    private func append(_ record: EventRecord) throws {
        do {
            try handle.write(contentsOf: record.framed)
        } catch {
            throw TrainingError(.invalidRun, "The log \(path) cannot be written: \(error.localizedDescription)")
        }
    }
}
