import Foundation
import JSON
import TestSupport
import Testing

/// Real runs of the built program, killed again and again.
///
/// `MMGEN_KILLS=100 swift test -Xcc -O2 --filter KillTests` is the whole of it; a plain test run kills a few times. A third
/// of the kills falls into the writing of a checkpoint, which a run here does after every step.
@Suite(.serialized) struct KillTests {
    /// A run that is killed: how it begins, and what its checkpoint is large enough for.
    struct Run: Sendable, CustomTestStringConvertible {
        let name: String
        let begin: [String]
        let steps: Int
        var testDescription: String { name }
    }

    private static let wanted = ProcessInfo.processInfo.environment["MMGEN_KILLS"].flatMap(Int.init) ?? 6
    /// Some megabytes a checkpoint, so that writing one takes as long as a step.
    private static let wide = [
        "arguments.encoder_hidden_dim=64", "arguments.decoder_hidden_dim=64", "arguments.attn_hidden_dim=64",
        "arguments.num_embeddings=64", "arguments.embedding_dim=64",
    ]
    static let runs = [
        Run(
            name: "vqvae", begin: ["train-vqvae", "clips", "--config", "video.yaml"] + sets(wide, steps: 40), steps: 40),
        Run(
            name: "gpt",
            begin: ["train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model"]
                + sets(["arguments.d_model=96", "training.non_finite=skip", "training.final=best"], steps: 40),
            steps: 40),
    ]

    private static func sets(_ values: [String], steps: Int) -> [String] {
        (values + ["training.steps=\(steps)", "training.evaluate_every=10"]).flatMap { ["--set", $0] }
    }

    private let folder: TemporaryFolder

    init() throws {
        // On a disk, where syncing takes its time, unless there is none to speak of.
        folder = try TemporaryFolder(inMemory: false)
        try TrainingData.write(to: folder)
        let tokenizer = try CommandLineTool.run(
            ["train-vqvae", "clips", "--config", "video.yaml", "-o", "tok"], in: folder.path)
        #expect(tokenizer.code == 0, "\(tokenizer.errors)")
    }

    /// Every file of a run that two equal runs have equal, by name.
    private func outcome(_ run: String) throws -> [String: Data] {
        var result: [String: Data] = [:]
        for part in ["checkpoints", "model", "samples", "metrics.jsonl", "config.json"] {
            let path = "\(run)/\(part)"
            let inside = FileManager.default.enumerator(atPath: folder.file(path))?.compactMap { $0 as? String } ?? []
            for name in inside.isEmpty ? [path] : inside.map({ "\(path)/\($0)" }) {
                var isFolder: ObjCBool = false
                _ = FileManager.default.fileExists(atPath: folder.file(name), isDirectory: &isFolder)
                if !isFolder.boolValue { result[String(name.dropFirst(run.count))] = try folder.data(name) }
            }
        }
        return result
    }

    /// The names that a writer works under before its result takes the real one.
    private func temporary(_ run: String) -> [String] {
        ((try? folder.contents("\(run)/checkpoints")) ?? []).filter { $0.hasPrefix(".") && $0.contains(".tmp-") }
    }

    @Test("killed at any moment and resumed, a run ends with the bytes of one that was left alone", arguments: runs)
    func killed(_ run: Run) throws {
        #expect(try CommandLineTool.run(run.begin + ["-o", "whole"], in: folder.path).code == 0)
        let expected = try outcome("whole")
        #expect(expected.keys.contains { $0.hasSuffix("ema.safetensors") })
        #expect(expected.keys.contains("/model/model.safetensors"))
        var random = SeededGenerator(seed: 3)
        var (kills, inWriting, inStarting, rounds, begun) = (0, 0, 0, 0, 0)
        let wanted = max(1, Self.wanted / Self.runs.count)
        while kills < wanted || inWriting * 3 < kills {
            rounds += 1
            try FileManager.default.createDirectory(atPath: folder.file("round"), withIntermediateDirectories: true)
            let path = "round/\(rounds)"
            var isOver = false
            while !isOver {
                let hasBegun = FileManager.default.fileExists(atPath: folder.file("\(path)/config.json"))
                let arguments = hasBegun ? ["train", "-o", path, "--resume"] : run.begin + ["-o", path]
                let isEnough = kills >= wanted && inWriting * 3 >= kills
                let (process, finish) = try CommandLineTool.start(arguments, in: folder.path)
                if !isEnough { try strike(process.processIdentifier, path, &random) { process.isRunning } }
                let result = try finish()
                if result.wasKilled {
                    kills += 1
                    begun += 1
                    inWriting += temporary(path).isEmpty ? 0 : 1
                    inStarting += result.errors.contains("going on") || !hasBegun ? 0 : 1
                } else {
                    isOver = result.code == 0
                    #expect(isOver, "\(result.errors)")
                    guard isOver else { return }
                }
            }
            #expect(try outcome(path) == expected, "round \(rounds)")
            let names = FileManager.default.enumerator(atPath: folder.file(path))?.compactMap { $0 as? String } ?? []
            #expect(!names.contains { $0.contains(".tmp-") || $0.contains(".partial-") }, "\(names)")
            try FileManager.default.removeItem(atPath: folder.file(path))
        }
        print(
            "\(run.name): \(kills) kills, \(inWriting) of them inside a checkpoint, \(inStarting) while resuming, "
                + "\(rounds) runs of \(run.steps) steps; every one ended with the same bytes")
    }

    /// Kills a process: inside the writing of a checkpoint, or at any time.
    private func strike(
        _ process: Int32, _ run: String, _ random: inout SeededGenerator, while isRunning: () -> Bool
    ) throws {
        if random.int(0..<4) == 0 {
            let checkpoint = random.int(0..<6)
            for _ in 0...checkpoint {
                while isRunning(), temporary(run).isEmpty { usleep(100) }
                if checkpoint > 0 { while isRunning(), !temporary(run).isEmpty { usleep(100) } }
            }
            while isRunning(), temporary(run).isEmpty { usleep(100) }
            usleep(UInt32(random.int(0..<3000)))
        } else {
            usleep(UInt32(random.int(0..<900_000)))
        }
        kill(process, SIGKILL)
    }
}
