import Foundation

/// The built `mmgen`, run as a person would.
enum CommandLineTool {
    /// What a run left behind.
    struct Result {
        let code: Int32
        let output: String
        let errors: String
        /// Whether a signal ended it.
        let wasKilled: Bool
    }

    /// The executable beside the test bundle.
    static let executable: URL = {
        let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let candidates = [
            own.deletingLastPathComponent(), Bundle.main.bundleURL, Bundle.main.bundleURL.deletingLastPathComponent(),
            repository.appendingPathComponent(".build/debug"),
        ].map { $0.appendingPathComponent("mmgen") }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0.path) } ?? candidates[3]
    }()

    /// Starts the program; its output goes to files in `folder`.
    ///
    /// - Parameters:
    ///   - limit: what `ulimit` is given before, such as `-v 8000000` (kilobytes).
    ///   - variables: of the environment, beside those of this process.
    ///   - program: what is run instead of `mmgen`.
    static func start(
        _ arguments: [String], in folder: String, limit: String? = nil, variables: [String: String] = [:],
        program: String? = nil
    ) throws -> (process: Process, finish: () throws -> Result) {
        let process = Process()
        process.executableURL =
            limit == nil ? program.map { URL(fileURLWithPath: $0) } ?? executable : URL(fileURLWithPath: "/bin/sh")
        process.arguments = arguments
        if let limit { process.arguments = ["-c", "ulimit \(limit); exec \"$0\" \"$@\"", executable.path] + arguments }
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        var environment = ProcessInfo.processInfo.environment
        environment["COLUMNS"] = "80"
        environment["SWIFT_BACKTRACE"] = "enable=no"
        process.environment = environment.merging(variables) { $1 }
        let name = NSTemporaryDirectory() + "mmgen-run-" + UUID().uuidString
        let paths = [name + ".out", name + ".err"]
        for path in paths { _ = FileManager.default.createFile(atPath: path, contents: nil) }
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: paths[0]))
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: paths[1]))
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return (
            process,
            {
                process.waitUntilExit()
                let texts = try paths.map { try String(contentsOfFile: $0, encoding: .utf8) }
                for path in paths { try FileManager.default.removeItem(atPath: path) }
                return Result(
                    code: process.terminationStatus, output: texts[0], errors: texts[1],
                    wasKilled: process.terminationReason == .uncaughtSignal)
            }
        )
    }

    /// Runs the program to its end.
    static func run(
        _ arguments: [String], in folder: String = NSTemporaryDirectory(), limit: String? = nil,
        variables: [String: String] = [:]
    ) throws -> Result {
        try start(arguments, in: folder, limit: limit, variables: variables).finish()
    }
}

/// A folder that is removed at the end of a test.
final class TemporaryFolder {
    let path: String

    /// A new folder.
    ///
    /// - Parameter inMemory: whether it lies in a file system in memory where there is one, so that the many syncs of a
    ///   training run do not wait for a disk.
    init(inMemory: Bool = false) throws {
        let memory = "/dev/shm/"
        let usesMemory = inMemory && FileManager.default.isWritableFile(atPath: memory)
        path = (usesMemory ? memory : NSTemporaryDirectory()) + "mmgen-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }
    func contents(_ name: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: file(name)).sorted()
    }
    func data(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: file(name))) }
    func write(_ text: String, to name: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: file(name)))
    }
}
