import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing

@testable import Training

/// Every way in which a checkpoint may be damaged, or fail to be written.
@Suite struct CorruptionTests {
    static let kinds = ["line", "vqvae", "gpt"]
    /// `MMGEN_FLIPS=1` flips every bit of the smallest checkpoint and a thousand of each file of the others.
    private static let isWhole = ProcessInfo.processInfo.environment["MMGEN_FLIPS"] != nil

    private func task(_ kind: String, _ place: RunPlace) throws -> any TrainingTask {
        switch kind {
        case "line": LineTask()
        case "vqvae": try TinyRuns.vqvaeTask()
        default: try TinyRuns.gptTask(in: place.path)
        }
    }

    /// A run with the checkpoints of steps 2 and 3.
    private func place(_ kind: String) throws -> RunPlace {
        let place = try RunPlace()
        let settings = TinyRuns.settings(steps: 3) { $0.checkpointEvery = 1 }
        _ = try place.train(task(kind, place), settings)
        #expect(try place.names("checkpoints") == ["step-00000002", "step-00000003"])
        return place
    }

    /// Whether the newest checkpoint is passed over with one note that names it.
    private func isDetected(_ place: RunPlace) -> Bool {
        guard let found = try? place.folder.loadLatest() else { return false }
        return found.state.step == 2 && found.notes.count == 1
            && found.notes[0].contains("step-00000003 is damaged and passed over: ")
    }

    @Test("every flipped bit of every file of a checkpoint is noticed", arguments: kinds)
    func flips(_ kind: String) throws {
        let place = try place(kind)
        var random = SeededGenerator(seed: 9)
        var flips = 0
        for file in try place.names("checkpoints/step-00000003") {
            let name = "checkpoints/step-00000003/\(file)"
            let whole = try place.bytes(name)
            // Of the manifest every bit, of the others some.
            let all = file == "trainer.json" || (kind == "line" && Self.isWhole)
            for index in 0..<(all ? whole.count * 8 : Self.isWhole ? 1000 : 100) {
                let bit = all ? index : random.int(0..<whole.count * 8)
                var damaged = whole
                damaged[bit / 8] ^= 1 << UInt8(bit % 8)
                try damaged.write(to: URL(fileURLWithPath: place.file(name)))
                #expect(throws: (any Error).self, "\(file), bit \(bit)") { try place.folder.load(step: 3) }
                if index % 100 == 0 { #expect(isDetected(place), "\(file), bit \(bit)") }
                flips += 1
            }
            try whole.write(to: URL(fileURLWithPath: place.file(name)))
        }
        #expect(flips >= 1500)
        #expect(try place.folder.loadLatest()?.state.step == 3)
        print("\(kind): \(flips) flipped bits, each noticed")
    }

    @Test("every truncation of every file of a checkpoint is noticed", arguments: kinds)
    func truncations(_ kind: String) throws {
        let place = try place(kind)
        for file in try place.names("checkpoints/step-00000003") {
            let name = "checkpoints/step-00000003/\(file)"
            let whole = try place.bytes(name)
            let step = max(1, whole.count / 20)
            for length in Array(stride(from: 0, to: whole.count, by: step)) + [whole.count - 1] {
                try whole.prefix(length).write(to: URL(fileURLWithPath: place.file(name)))
                #expect(isDetected(place), "\(file), \(length) bytes")
            }
            for tail in [Data([0]), Data("\n".utf8), Data(count: 512)] {
                try (whole + tail).write(to: URL(fileURLWithPath: place.file(name)))
                #expect(isDetected(place), "\(file) with \(tail.count) bytes more")
            }
            try whole.write(to: URL(fileURLWithPath: place.file(name)))
        }
    }

    @Test(
        "a file that is gone, a folder, a loop of links or another checkpoint's is noticed",
        arguments: ["missing", "folder", "loop", "older", "other run"])
    func replaced(_ how: String) throws {
        let place = try place("vqvae")
        let other = try RunPlace()
        _ = try other.train(
            TinyRuns.vqvaeTask(),
            TinyRuns.settings(steps: 3) {
                $0.checkpointEvery = 1; $0.seed = 6
            })
        for file in try place.names("checkpoints/step-00000003") {
            let name = "checkpoints/step-00000003/\(file)"
            let (path, whole) = (place.file(name), try place.bytes(name))
            try FileManager.default.removeItem(atPath: path)
            switch how {
            case "folder": try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            case "loop": try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path)
            case "older": try place.bytes("checkpoints/step-00000002/\(file)").write(to: URL(fileURLWithPath: path))
            case "other run": try other.bytes(name).write(to: URL(fileURLWithPath: path))
            default: break
            }
            #expect(isDetected(place), "\(file)")
            try? FileManager.default.removeItem(atPath: path)
            try whole.write(to: URL(fileURLWithPath: path))
        }
        #expect(try place.folder.loadLatest()?.state.step == 3)
    }

    @Test("a checkpoint of a newer format is refused in a sentence; one of the first format is read")
    func formats() throws {
        let place = try place("line")
        let name = "checkpoints/step-00000003/trainer.json"
        let text = String(decoding: try place.bytes(name), as: UTF8.self)
        let whole = try JSONValue.parse(text)
        try Data(text.replacingOccurrences(of: "\"format\": 2", with: "\"format\": 3").utf8)
            .write(to: URL(fileURLWithPath: place.file(name)))
        let notes = try #require(try place.folder.loadLatest()?.notes)
        #expect(notes[0].contains("has the format 3; this version reads those from 1 to 2"), "\(notes)")
        // As it was before checkpoints stated a checksum of themselves.
        var old = JSONObject()
        let first: Set = ["step", "metrics_length", "data", "files"]
        for (key, value) in whole.objectValue?.members ?? [] where first.contains(key) { old[key] = value }
        old["format"] = 1
        try Data(JSONValue.object(old).serialized(pretty: true).utf8)
            .write(to: URL(fileURLWithPath: place.file(name)))
        let found = try #require(try place.folder.loadLatest())
        #expect(found.state.step == 3 && found.notes == [], "\(found.notes)")
        #expect(found.state.progress.skipped == 0 && found.state.progress.best == nil)
    }

    @Test(
        "whichever operation of a checkpoint fails, the ones before it are whole and nothing half done is left",
        arguments: [ENOSPC, EIO, EACCES, EDQUOT, EFBIG], [true, false])
    func failures(_ number: Int32, _ once: Bool) throws {
        let place = try place("line")
        let state = try #require(try place.folder.loadLatest()).state
        var next = state
        next.progress.step = 4
        let counting = FaultyFileLayer()
        _ = try RunFolder(place.folder.path, layer: counting).save(next, keep: 5)
        try FileManager.default.removeItem(atPath: place.file("checkpoints/step-00000004"))
        #expect(counting.operations > 12)
        let old = try place.names("checkpoints")
        for failing in 1...counting.operations {
            let layer = FaultyFileLayer(failing: failing, number: number, once: once)
            let folder = RunFolder(place.folder.path, layer: layer)
            let error = #expect(throws: CheckpointError.self, "operation \(failing)") {
                try folder.save(next, keep: 5)
            }
            #expect(error?.message.contains("step-00000004 could not be written: ") == true, "\(failing)")
            let left = try place.names("checkpoints")
            // The last operation makes the name durable that is there by then.
            let isNamed = left.contains("step-00000004")
            #expect(left.filter { $0 != "step-00000004" } == old, "operation \(failing)")
            #expect(try place.folder.loadLatest()?.state.step == (isNamed ? 4 : 3))
            if isNamed { try FileManager.default.removeItem(atPath: place.file("checkpoints/step-00000004")) }
        }
    }

    @Test("a checkpoint that would fill the disk is not begun, and both sizes are named")
    func room() throws {
        let place = try place("vqvae")
        let state = try #require(try place.folder.loadLatest()).state
        var next = state
        next.progress.step = 4
        let size = try place.names("checkpoints/step-00000003").reduce(0) {
            try $0 + place.bytes("checkpoints/step-00000003/\($1)").count
        }
        let layer = FaultyFileLayer()
        layer.free = size
        let folder = RunFolder(place.folder.path, layer: layer)
        let error = #expect(throws: CheckpointError.self) { try folder.save(next, keep: 2) }
        #expect(error?.code == .writeFailed && layer.operations == 0)
        #expect(
            error?.message.contains("the disk is full; ") == true && error?.message.contains("\(size) are free") == true
        )
        layer.free = size * 2
        _ = try folder.save(next, keep: 2)
        #expect(try place.names("checkpoints") == ["step-00000003", "step-00000004"])
    }
}
