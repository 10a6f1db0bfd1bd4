import Foundation
import TestSupport
import Testing

/// Whether there is a launcher of MPI programs.
private let launcher: String? = ["/usr/bin/mpirun", "/usr/local/bin/mpirun", "/opt/homebrew/bin/mpirun"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

/// Training verbs as `mpirun` starts them, in several processes.
@Suite(.serialized, .enabled(if: launcher != nil, "There is no mpirun on this machine."))
struct LauncherTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder(inMemory: true)
        try TrainingData.write(to: folder)
    }

    /// What mpirun is given before the program's own arguments.
    private func launch(_ size: Int, _ arguments: [String]) -> [String] {
        ["--oversubscribe", "-np", String(size), CommandLineTool.executable.path] + arguments
    }

    /// Training is allowed to a container's only user.
    private static let variables = ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]

    private func start(
        _ size: Int, _ arguments: [String]
    ) throws -> (process: Process, finish: () throws -> CommandLineTool.Result) {
        guard size > 0 else { return try CommandLineTool.start(arguments, in: folder.path) }
        return try CommandLineTool.start(
            launch(size, arguments), in: folder.path, variables: Self.variables, program: launcher)
    }

    /// Trains with `size` processes under mpirun, or with one without it when that is 0.
    @discardableResult
    private func train(_ size: Int, _ arguments: String...) throws -> CommandLineTool.Result {
        let result = try start(size, arguments).finish()
        #expect(result.code == 0, "\(result.errors)")
        return result
    }

    private static let shared = ["--set", "training.batch_size=8", "--set", "training.accumulation=4"]

    private func tokenizer(_ size: Int, _ run: String) throws -> CommandLineTool.Result {
        let result = try start(size, ["train-vqvae", "clips", "--config", "video.yaml", "-o", run] + Self.shared)
            .finish()
        #expect(result.code == 0, "\(result.errors)")
        return result
    }

    private func gpt(_ size: Int, _ run: String, _ more: String...) throws -> CommandLineTool.Result {
        let arguments = ["train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", run]
        return try start(size, arguments + more).finish()
    }

    /// What two equal runs have equal: everything that was learned, and the log.
    private func outcome(_ run: String) throws -> [String: Data] {
        var result: [String: Data] = [:]
        for name in try folder.contents("\(run)/checkpoints/step-00000006") {
            result[name] = try folder.data("\(run)/checkpoints/step-00000006/\(name)")
        }
        for name in ["metrics.jsonl", "model/model.safetensors", "samples/step-00000006.png"] {
            result[name] = try folder.data("\(run)/\(name)")
        }
        return result
    }

    private func expectEqual(_ run: String, _ other: String) throws {
        let (found, expected) = (try outcome(run), try outcome(other))
        #expect(Set(found.keys) == Set(expected.keys))
        for (name, bytes) in expected { #expect(found[name] == bytes, "\(run)/\(name)") }
    }

    @Test("2 and 4 processes train the tokenizer and the GPT of one process, and only the first of them speaks")
    func equality() throws {
        let alone = try tokenizer(0, "tok")
        for size in [1, 2, 4] {
            let result = try tokenizer(size, "tok\(size)")
            #expect(
                result.output.replacingOccurrences(of: "tok\(size)", with: "tok") == alone.output, "\(result.output)")
            #expect(size == 1 || result.errors.contains("\(size) processes of 1 thread"), "\(result.errors)")
            try expectEqual("tok\(size)", "tok")
        }
        #expect(try gpt(0, "gpt", "--set", "training.batch_size=8", "--set", "training.accumulation=4").code == 0)
        for size in [2, 4] {
            // What the recipe does not say is chosen for the processes there are, and 4 is right for both.
            let result = try gpt(
                size, "gpt\(size)", "--set", "training.batch_size=8", "--set", "training.accumulation=4")
            #expect(result.code == 0, "\(result.errors)")
            try expectEqual("gpt\(size)", "gpt")
        }
    }

    @Test("a run begun by 2 processes, continued by one and ended by 4 has the bits of one that was never stopped")
    func resuming() throws {
        _ = try tokenizer(0, "whole")
        _ = try tokenizer(2, "cut")
        for size in [0, 4] {
            // As if it had been stopped before its last steps.
            for name in ["model", "checkpoints/step-00000006"] {
                try FileManager.default.removeItem(atPath: folder.file("cut/\(name)"))
            }
            try train(size, "train-vqvae", "clips", "-o", "cut", "--resume")
            try expectEqual("cut", "whole")
        }
    }

    @Test("4 processes with a piece of the model each train the GPT of one process, and one goes on with it")
    func sharding() throws {
        _ = try tokenizer(0, "tok")
        let settings = ["--set", "training.batch_size=8", "--set", "training.accumulation=4"]
        #expect(try gpt(0, "gpt", settings[0], settings[1], settings[2], settings[3]).code == 0)
        let result = try gpt(
            4, "pieces", settings[0], settings[1], settings[2], settings[3], "--set", "training.sharding=full")
        #expect(result.code == 0, "\(result.errors)")
        for name in ["model", "optimizer", "ema"] {
            let file = "checkpoints/step-00000006/\(name).safetensors"
            #expect(try folder.data("pieces/\(file)") == folder.data("gpt/\(file)"), "\(name)")
        }
        for file in ["metrics.jsonl", "model/model.safetensors", "samples/step-00000006.png"] {
            #expect(try folder.data("pieces/\(file)") == folder.data("gpt/\(file)"), "\(file)")
        }
        for name in ["model", "checkpoints/step-00000006"] {
            try FileManager.default.removeItem(atPath: folder.file("pieces/\(name)"))
        }
        try train(0, "train-gpt", "clips", "-o", "pieces", "--resume")
        #expect(try folder.data("pieces/model/model.safetensors") == folder.data("gpt/model/model.safetensors"))
    }

    /// Starts two processes of which each first drops what mpirun has told it, and is told something else instead.
    private func underOther(_ variables: String, _ run: String) throws -> CommandLineTool.Result {
        let script = "for v in $(compgen -e | grep ^OMPI_); do unset $v; done; export \(variables); exec \"$@\""
        let program = ["bash", "-c", script, "bash", CommandLineTool.executable.path]
        return try CommandLineTool.start(
            ["--oversubscribe", "-np", "2"] + program
                + ["train-vqvae", "clips", "--config", "video.yaml", "-o", run] + Self.shared,
            in: folder.path, variables: Self.variables, program: launcher
        ).finish()
    }

    @Test("processes that know of each other by PMIx and Slurm's variables alone train the tokenizer of one process")
    func slurm() throws {
        _ = try tokenizer(0, "whole")
        // What srun --mpi=pmix sets.
        let variables =
            "SLURM_NODELIST=here SLURM_STEP_NODELIST=here SLURM_STEP_ID=0 SLURM_JOBID=7 SLURM_STEP_NUM_TASKS=2"
        let result = try underOther(variables, "slurm")
        #expect(result.code == 0 && result.errors.contains("2 processes of 1 thread"), "\(result.errors)")
        try expectEqual("slurm", "whole")
    }

    @Test("a process that is killed ends the others within seconds, with a sentence that names it")
    func killed() throws {
        let arguments =
            ["train-vqvae", "clips", "--config", "video.yaml", "-o", "killed", "--set", "training.steps=100000"]
            + ["--set", "training.evaluate_every=100000"] + Self.shared
        let (process, finish) = try start(2, arguments)
        func isRunning() -> Bool { FileManager.default.fileExists(atPath: folder.file("killed/metrics.jsonl")) }
        while process.isRunning, !isRunning() { Thread.sleep(forTimeInterval: 0.01) }
        Thread.sleep(forTimeInterval: 0.5)
        let victim = try #require(children(of: process.processIdentifier).first)
        let clock = ContinuousClock.now
        kill(victim, SIGKILL)
        let result = try finish()
        #expect(ContinuousClock.now - clock < .seconds(10))
        #expect(result.code != 0)
        #expect(
            result.errors.contains("of 2 (process \(victim) on this machine) is gone, so the run cannot go on"),
            "\(result.errors)")
    }

    /// The processes that a process started.
    private func children(of parent: Int32) throws -> [Int32] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }.filter { process in
            guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
                let name = text.lastIndex(of: ")")
            else { return false }
            return text[name...].split(separator: " ").dropFirst(2).first.flatMap { Int32($0) } == parent
        }
    }

    @Test("passes are divided among the processes by default, and what cannot be divided is refused once")
    func division() throws {
        _ = try tokenizer(0, "tok")
        let recipe = String(decoding: try folder.data("gpt.yaml"), as: UTF8.self)
        try folder.write(recipe.replacingOccurrences(of: "  accumulation: 2\n", with: ""), to: "gpt.yaml")
        let result = try gpt(3, "gpt", "--set", "training.batch_size=8")
        #expect(result.code == 0, "\(result.errors)")
        // The smallest divisor of 8 that is not below 3.
        #expect(String(decoding: try folder.data("gpt/config.json"), as: UTF8.self).contains("\"accumulation\": 4"))
        for (more, sentence) in [
            (["--set", "training.batch_size=2"], "3 processes cannot share steps of 2 clips"),
            (["--set", "training.accumulation=2"], "There are 3 processes for 'accumulation: 2'"),
        ] {
            let refused = try start(
                3,
                ["train-gpt", "clips", "--config", "gpt.yaml", "--tokenizer", "tok/model", "-o", "no"] + more
            ).finish()
            #expect(refused.code == 1)
            #expect(refused.errors.components(separatedBy: sentence).count == 2, "\(refused.errors)")
            #expect(refused.errors.contains("mmgen: rank 0: \(sentence)"), "\(refused.errors)")
        }
    }
}
