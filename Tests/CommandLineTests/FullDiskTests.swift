import Foundation
import Models
import Testing

/// A file system of a few kilobytes, in memory, that is unmounted at the end of a test.
final class SmallDisk {
    let path: String

    /// Whether this process may mount: it is root, and the container lets it.
    static let isPossible: Bool = {
        guard getuid() == 0, let disk = try? SmallDisk(kibibytes: 64) else { return false }
        return withExtendedLifetime(disk) { true }
    }()

    /// Mounts a disk of some size.
    ///
    /// - Parameter kibibytes: its size, a multiple of 4.
    init(kibibytes: Int) throws {
        path = NSTemporaryDirectory() + "mmgen-disk-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        guard try Self.run("/bin/mount", "-t", "tmpfs", "-o", "size=\(kibibytes)k", "tmpfs", path) == 0 else {
            rmdir(path)
            throw CocoaError(.fileWriteNoPermission)
        }
    }

    deinit {
        _ = try? Self.run("/bin/umount", path)
        rmdir(path)
    }

    private static func run(_ tool: String, _ arguments: String...) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: tool)
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// Takes all but some of the room.
    func fill(leaving kibibytes: Int) throws {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { throw CocoaError(.fileReadUnknown) }
        let room = Int(status.f_bavail) * Int(status.f_frsize) - kibibytes << 10
        guard room > 0 else { return }
        try Data(count: room).write(to: URL(fileURLWithPath: path + "/filler"))
    }

    /// Everything on it but the filler, folders included, hidden or not.
    var contents: [String] {
        let all = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
        return all.filter { $0 != "filler" }.sorted()
    }
}

@Suite(
    .serialized,
    .enabled(if: SmallDisk.isPossible, "A file system can be mounted by root only, where the container allows it."))
struct FullDiskTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// One sentence about a full disk, the exit code of a failure, and nothing printed as a result.
    private func check(_ result: CommandLineTool.Result, _ what: String, at path: String) {
        #expect(result.code == 1 && !result.wasKilled, "\(what): \(result.errors)")
        let complaints = result.errors.split(separator: "\n").filter { $0.hasPrefix("mmgen: ") && $0.contains(path) }
        #expect(complaints.count == 1, "\(what): \(result.errors)")
        let words = ["no space left on device", "the disk is full"]
        #expect(words.contains { result.errors.lowercased().contains($0) }, "\(what): \(result.errors)")
        #expect(result.output == "", "\(what)")
    }

    @Test("a clip that does not fit leaves nothing", arguments: ["mp4", "webm", "mkv", "gif", "apng", "png"], [0, 4])
    func clip(_ kind: String, _ kibibytes: Int) throws {
        let disk = try SmallDisk(kibibytes: 64)
        try disk.fill(leaving: kibibytes)
        let file = "\(disk.path)/a.\(kind)"
        let model = try TinyModel.path("video")
        let small = try CommandLineTool.run(
            ["text-to-video", "go", "--model", model, "--seed", "1", "-o", "a.\(kind)"], in: folder.path)
        #expect(small.code == 0, "\(small.errors)")
        let bytes = try folder.data("a.\(kind)").count
        let result = try CommandLineTool.run(
            ["text-to-video", "go", "--model", model, "--seed", "1", "-o", file], in: folder.path)
        if bytes > kibibytes << 10 {
            check(result, kind, at: "a.\(kind)")
            #expect(disk.contents == [], "\(disk.contents)")
        } else {
            #expect(result.code == 0, "\(result.errors)")
            #expect(disk.contents == ["a.\(kind)"])
            #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == folder.data("a.\(kind)"))
        }
    }

    @Test("of several clips those that fit stay, and a manifest says which they are, or there is none")
    func clips() throws {
        let disk = try SmallDisk(kibibytes: 64)
        let result = try CommandLineTool.run(
            [
                "text-to-video", "go to the red ball", "--model", TinyModel.path("video"), "--seed", "1", "--samples",
                "40", "-o", "\(disk.path)/clips",
            ], in: folder.path)
        #expect(result.code == 1 && !result.wasKilled, "\(result.errors)")
        #expect(result.errors.lowercased().contains("no space left on device"), "\(result.errors)")
        let left = disk.contents
        #expect(!left.contains { ($0 as NSString).lastPathComponent.hasPrefix(".") }, "\(left)")
        let videos = left.filter { $0.hasSuffix(".mp4") }
        #expect(!videos.isEmpty && videos.count < 40)
        #expect(result.output.split(separator: "\n").count == videos.count)
    }

    @Test("when not even the first of several clips fits, their folder goes too")
    func noClips() throws {
        let disk = try SmallDisk(kibibytes: 64)
        try disk.fill(leaving: 0)
        let result = try CommandLineTool.run(
            [
                "text-to-video", "go to the red ball", "--model", TinyModel.path("video"), "--seed", "1", "--samples",
                "3", "-o", "\(disk.path)/clips",
            ], in: folder.path)
        check(result, "clips", at: "\(disk.path)/clips")
        #expect(disk.contents == [])
    }

    @Test("the ids of clips that do not fit leave nothing of theirs")
    func tokens() throws {
        let disk = try SmallDisk(kibibytes: 64)
        try disk.fill(leaving: 0)
        let result = try CommandLineTool.run(
            [
                "text-to-video", "go", "--model", TinyModel.path("video"), "--seed", "1", "-o", "a.mp4", "--tokens-out",
                "\(disk.path)/ids.safetensors",
            ], in: folder.path)
        #expect(result.code == 1 && result.errors.contains("ids.safetensors"), "\(result.errors)")
        #expect(disk.contents == [])
        // The clip was whole before.
        #expect(try folder.contents() == ["a.mp4"])
    }

    @Test("a converted model that does not fit leaves nothing", arguments: [0, 4, 16, 60])
    func convert(_ kibibytes: Int) throws {
        let disk = try SmallDisk(kibibytes: 64)
        try disk.fill(leaving: kibibytes)
        let result = try CommandLineTool.run(
            ["convert", "--weights", TinyModel.path("video"), "-o", "\(disk.path)/model"], in: folder.path)
        check(result, "convert", at: "\(disk.path)/model")
        #expect(disk.contents == [], "\(disk.contents)")
    }

    @Test("a converted model that does not fit leaves the one it was to replace as it was")
    func replacement() throws {
        let disk = try SmallDisk(kibibytes: 1024)
        let model = "\(disk.path)/model"
        let vqvae = try TinyModel.path("vqvae")
        #expect(try CommandLineTool.run(["convert", "--weights", vqvae, "-o", model], in: folder.path).code == 0)
        let weights = try Data(contentsOf: URL(fileURLWithPath: "\(model)/model.safetensors"))
        let before = disk.contents
        try disk.fill(leaving: 60)
        let result = try CommandLineTool.run(
            ["convert", "--weights", TinyModel.path("video"), "-o", model, "--force"], in: folder.path)
        check(result, "convert", at: model)
        #expect(disk.contents == before)
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(model)/model.safetensors")) == weights)
    }

    @Test("a checkpoint that does not fit ends the run; those before it are whole and the run goes on from them")
    func checkpoint() throws {
        try TrainingData.write(to: folder)
        let arguments = ["train-vqvae", "clips", "--config", "video.yaml", "-o"]
        #expect(try CommandLineTool.run(arguments + ["whole"], in: folder.path).code == 0)
        let disk = try SmallDisk(kibibytes: 2048)
        // Room for the frames and for a checkpoint or two, but not for all that a run writes.
        let step = try size(of: "whole/checkpoints/step-00000006")
        let data = try size(of: "whole/train.frames") + size(of: "whole/validation.frames")
        try disk.fill(leaving: (data + 2 * step + step / 2) / 1024 + 24)
        let run = "\(disk.path)/run"
        let result = try CommandLineTool.run(arguments + [run], in: folder.path)
        #expect(result.code == 1 && !result.wasKilled, "\(result.errors)")
        #expect(result.errors.contains("disk is full") || result.errors.lowercased().contains("no space left"))
        let left = disk.contents
        #expect(!left.contains { $0.contains(".tmp-") || $0.contains(".partial-") }, "\(left)")
        #expect(left.contains { $0.hasSuffix("trainer.json") }, "\(left)")
        #expect(!left.contains("run/model"))
        // With room again, the run ends as one that never met a full disk.
        try FileManager.default.removeItem(atPath: disk.path + "/filler")
        let resumed = try CommandLineTool.run(["train-vqvae", "-o", run, "--resume"], in: folder.path)
        #expect(resumed.code == 0, "\(resumed.errors)")
        for name in ["model/model.safetensors", "metrics.jsonl"] {
            #expect(try Data(contentsOf: URL(fileURLWithPath: "\(run)/\(name)")) == folder.data("whole/\(name)"))
        }
    }

    @Test("a run that does not even get a folder for its settings leaves nothing")
    func begin() throws {
        try TrainingData.write(to: folder)
        let disk = try SmallDisk(kibibytes: 64)
        try disk.fill(leaving: 0)
        let result = try CommandLineTool.run(
            ["train-vqvae", "clips", "--config", "video.yaml", "-o", "\(disk.path)/run"], in: folder.path)
        #expect(result.code == 1 && !result.wasKilled, "\(result.errors)")
        #expect(disk.contents == [], "\(disk.contents)")
    }

    private func size(of name: String) throws -> Int {
        let path = folder.file(name)
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        let names = isFolder.boolValue ? try folder.contents(name).map { "\(name)/\($0)" } : [name]
        return try names.reduce(0) { try $0 + (folder.data($1).count + 4095) / 4096 * 4096 }
    }
}

/// What is no file, such as a pipe, is not written to, and nothing takes its place, whoever asks.
@Suite struct SpecialFileTests {
    @Test("a pipe or a device is no destination, forced or not, and stays what it is", arguments: [false, true])
    func pipe(isForced: Bool) throws {
        let folder = try TemporaryFolder()
        let model = try TinyModel.path("video")
        #expect(mkfifo(folder.file("pipe.mp4"), 0o600) == 0)
        #expect(mkfifo(folder.file("pipe.safetensors"), 0o600) == 0)
        let made = try CommandLineTool.run(
            ["text-to-video", "go", "--model", model, "--seed", "1", "-o", "real.mp4"], in: folder.path)
        #expect(made.code == 0, "\(made.errors)")
        for arguments in [
            ["text-to-video", "go", "--model", model, "-o", "pipe.mp4"],
            ["encode", "real.mp4", "--model", model, "-o", "pipe.safetensors"],
        ] {
            let result = try CommandLineTool.run(arguments + (isForced ? ["--force"] : []), in: folder.path)
            #expect(result.code == 1 && !result.wasKilled, "\(result.errors)")
            #expect(result.errors.contains(isForced ? "it is a device, a pipe or a socket" : "exists already"))
            for name in ["pipe.mp4", "pipe.safetensors"] {
                var status = stat()
                #expect(stat(folder.file(name), &status) == 0 && status.st_mode & S_IFMT == S_IFIFO)
            }
        }
        #expect(try folder.contents() == ["pipe.mp4", "pipe.safetensors", "real.mp4"])
    }

    @Test(
        "results that cannot be printed are an error, with and without --json",
        .enabled(if: access("/dev/full", W_OK) == 0, "This system has no /dev/full."),
        arguments: [["tokenize", "go"], ["models"], ["models", "--json"], ["inspect", "{model}"]])
    func fullOutput(_ arguments: [String]) throws {
        let model = try TinyModel.path("video")
        let process = Process()
        process.executableURL = CommandLineTool.executable
        process.arguments = arguments.map { $0 == "{model}" ? model : $0 }
        if arguments[0] == "tokenize" { process.arguments?.append(contentsOf: ["--model", model]) }
        process.standardOutput = FileHandle(forWritingAtPath: "/dev/full")
        let errors = Pipe()
        process.standardError = errors
        try process.run()
        let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 1, "\(text)")
        #expect(text == "mmgen: The results could not be printed: No space left on device.\n")
    }
}
