import Foundation
import JSON
import Tensors

/// One stretch of a run, from its start or a resume to its end: what the bits do not depend on and a person wants to know.
struct RunSession {
    /// The steps that had been made.
    let step: Int

    private var json: JSONObject {
        [
            "started": .string(Date().ISO8601Format()), "step": .integer(step), "processor": .string(processorName),
            "processors": .integer(ProcessInfo.processInfo.activeProcessorCount), "threads": .integer(Threads.count),
            "instruction_set": .string(instructionSet), "memory_bytes": .integer(Int(MachineMemory.byteCount)),
            "system": .string(ProcessInfo.processInfo.operatingSystemVersionString),
        ]
    }

    /// Adds a line to the run's list.
    ///
    /// - Throws: ``TrainingError`` with code `.invalidRun` when the file cannot be written.
    func append(to path: String) throws {
        let line = Data((JSONValue.object(json).serialized() + "\n").utf8)
        do {
            if !FileManager.default.fileExists(atPath: path) { return try line.write(to: URL(fileURLWithPath: path)) }
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            defer { try? handle.close() }
            // A line that a killed process left unfinished is dropped.
            let whole = try handle.readToEnd() ?? Data()
            let end = whole.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            try handle.truncate(atOffset: UInt64(end))
            try handle.seek(toOffset: UInt64(end))
            try handle.write(contentsOf: line)
        } catch {
            throw TrainingError(.invalidRun, "\(path) cannot be written: \(error.localizedDescription)")
        }
    }
}
