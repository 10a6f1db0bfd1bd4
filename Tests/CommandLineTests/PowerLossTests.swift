import Foundation
import TestSupport
import Testing

@testable import Training

/// What a run's folder is after the power fails, or the disk is full, at any moment of a real run.
///
/// `MMGEN_POWER_CUTS=5` tries five random outcomes at every operation instead of one at some; `MMGEN_FULL_DISK=100` fills
/// the disk at so many of them instead of seven; with more than there are, at every one.
@Suite(.serialized, .enabled(if: FileHistory.shim != nil, "There is no C compiler."))
struct PowerLossTests {
    private let folder: TemporaryFolder
    private static let environment = ProcessInfo.processInfo.environment
    private static let cuts = environment["MMGEN_POWER_CUTS"].flatMap(Int.init)
    private static let fillings = environment["MMGEN_FULL_DISK"].flatMap(Int.init) ?? 6
    /// Everything that a run of a GPT does: frames, ids, text tokenizer, checkpoints, samples, model.
    private static let begin = [
        "train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "--set", "training.steps=4", "--set",
        "training.evaluate_every=2", "--set", "training.final=best",
    ]

    init() throws {
        folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
        let tokenizer = try CommandLineTool.run(
            ["train-vqvae", "clips", "--config", "video.yaml", "-o", "tok"], in: folder.path)
        #expect(tokenizer.code == 0, "\(tokenizer.errors)")
    }

    private func shim(_ more: [String: String] = [:]) -> [String: String] {
        ["LD_PRELOAD": FileHistory.shim ?? "", "MMGEN_SHIM_ROOT": folder.file("disk")].merging(more) { $1 }
    }

    /// The files of a folder that two equal runs have equal.
    private func outcome(_ run: String) throws -> [String: Data] {
        var result: [String: Data] = [:]
        let names = FileManager.default.enumerator(atPath: folder.file(run))?.compactMap { $0 as? String } ?? []
        for name in names where !["events", "timing", "sessions", ".lock"].contains(where: { name.hasPrefix($0) }) {
            var isFolder: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: folder.file("\(run)/\(name)"), isDirectory: &isFolder)
            // Frames are keyed by the time of their files' last change.
            if !isFolder.boolValue, !name.hasSuffix(".frames") { result[name] = try folder.data("\(run)/\(name)") }
        }
        return result
    }

    private func goOn(_ run: String) throws -> CommandLineTool.Result {
        let hasBegun = FileManager.default.fileExists(atPath: folder.file("\(run)/config.json"))
        return try CommandLineTool.run(
            hasBegun ? ["train", "-o", run, "--resume"] : Self.begin + ["-o", run], in: folder.path)
    }

    @Test(
        "whatever a power cut leaves, the newest checkpoint that was announced is whole, and the run ends as it would have"
    )
    func powerCut() throws {
        try FileManager.default.createDirectory(atPath: folder.file("disk"), withIntermediateDirectories: true)
        let made = try CommandLineTool.run(
            Self.begin + ["-o", "disk/run"], in: folder.path, variables: shim(["MMGEN_SHIM_LOG": folder.file("log")]))
        #expect(made.code == 0, "\(made.errors)")
        let expected = try outcome("disk/run")
        let history = try FileHistory(folder.data("log"))
        let log = try folder.data("disk/run/metrics.jsonl")
        var random = SeededGenerator(seed: 5)

        // The shim has seen everything: without a cut, what it saw makes the same files.
        let disk = ForgetfulDisk()
        history.operations.forEach(disk.apply)
        try disk.write(to: folder.file("replay"), .everything, &random)
        #expect(try outcome("replay/run") == expected)
        #expect(try folder.data("replay/run/timing.jsonl") == folder.data("disk/run/timing.jsonl"))

        let tried = ForgetfulDisk()
        var (announced, states, resumed, losses) = (0, 0, 0, 0)
        for (index, operation) in history.operations.enumerated() {
            tried.apply(operation)
            // A checkpoint counts once its name is durable.
            if operation.kind == "syncfolder", operation.path == "run/checkpoints" {
                let names = history.operations[...index].compactMap { $0.kind == "rename" ? $0.other : nil }
                announced =
                    names.compactMap { Int($0.replacingOccurrences(of: "run/checkpoints/step-", with: "")) }.max() ?? 0
            }
            var cuts: [ForgetfulDisk.Cut] = [.nothing, .namesOnly]
            cuts += [ForgetfulDisk.Cut](repeating: .any, count: Self.cuts ?? 1)
            for (number, cut) in cuts.enumerated() {
                let state = "cut"
                try tried.write(to: folder.file(state), cut, &random)
                defer { try? FileManager.default.removeItem(atPath: folder.file(state)) }
                states += 1
                let run = RunFolder(folder.file("\(state)/run"))
                let found = try? run.loadLatest()
                if announced > 0 {
                    let step = found?.state.step ?? -1
                    #expect(step >= announced, "\(cut) after \(index) \(operation.kind) \(operation.path)")
                    losses += step < announced ? 1 : 0
                    // The log is there as far as the checkpoint counts on it.
                    let length = found?.state.metricsLength ?? 0
                    let left = (try? folder.data("\(state)/run/metrics.jsonl")) ?? Data()
                    #expect(left.prefix(length) == log.prefix(length) && left.count >= length, "\(cut) after \(index)")
                }
                // The program itself goes on from some of them.
                guard number == index % cuts.count, index % (Self.cuts == nil ? 24 : 3) == 0 else { continue }
                let result = try goOn("\(state)/run")
                #expect(result.code == 0, "\(cut) after \(index) \(operation.kind) \(operation.path): \(result.errors)")
                let end = try outcome("\(state)/run")
                let differing = Set(end.keys).union(expected.keys).filter { end[$0] != expected[$0] }
                #expect(
                    differing.isEmpty, "\(cut) after \(index) \(operation.kind) \(operation.path): \(result.errors)")
                resumed += 1
            }
        }
        #expect(announced == 4 && states > 300 && resumed > 5)
        print(
            "\(history.operations.count) operations, \(states) states after a power cut, \(losses) without the announced "
                + "checkpoint; \(resumed) runs went on to the same bytes")
    }

    @Test("a disk that is full from any operation on is named, and with room again the run ends as it would have")
    func fullDisk() throws {
        try FileManager.default.createDirectory(atPath: folder.file("disk"), withIntermediateDirectories: true)
        let made = try CommandLineTool.run(
            Self.begin + ["-o", "disk/run"], in: folder.path, variables: shim(["MMGEN_SHIM_LOG": folder.file("log")]))
        #expect(made.code == 0, "\(made.errors)")
        let expected = try outcome("disk/run")
        let count = try FileHistory(folder.data("log")).operations.count { $0.kind != "remove" }
        var (tried, named) = (0, 0)
        let stride = max(1, count / Self.fillings)
        for number in Swift.stride(from: 1, through: count, by: stride) {
            let run = "disk/\(number)"
            let result = try CommandLineTool.run(
                Self.begin + ["-o", run], in: folder.path,
                variables: shim(["MMGEN_SHIM_FAIL": "\(number)", "MMGEN_SHIM_ERROR": "\(ENOSPC)"]))
            tried += 1
            // Logs that nothing depends on may be left out; what is finished is finished.
            let isDone = result.code == 0 && (try? outcome(run)) == expected
            #expect(isDone || result.code == 1 && !result.wasKilled, "\(number): \(result.code) \(result.errors)")
            if result.code == 1 {
                let lines = result.errors.split(separator: "\n").filter { $0.hasPrefix("mmgen: ") }
                let last = lines.last?.lowercased() ?? ""
                let isNamed = last.contains("full") || last.contains("space")
                named += isNamed ? 1 : 0
                #expect(isNamed, "\(number): \(result.errors)")
                let steps = RunFolder(folder.file(run)).steps()
                if !steps.isEmpty { #expect(throws: Never.self) { try RunFolder(folder.file(run)).loadLatest() } }
            }
            let resumed = try goOn(run)
            #expect(resumed.code == 0, "\(number): \(resumed.errors)")
            #expect(try outcome(run) == expected, "\(number)")
            try FileManager.default.removeItem(atPath: folder.file(run))
        }
        print(
            "a full disk at \(tried) of \(count) operations: \(named) ended with its name, all went on to the same bytes"
        )
    }
}
