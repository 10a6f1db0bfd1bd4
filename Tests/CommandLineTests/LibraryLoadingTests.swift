import Foundation
import Testing

/// FFmpeg's libraries are most of what the program would have to load before it can begin.
@Suite struct LibraryLoadingTests {
    private let folder: TemporaryFolder
    /// Variables with which none of FFmpeg's libraries can be loaded: an empty file is found in its place.
    private let broken: [String: String]

    init() throws {
        folder = try TemporaryFolder()
        try FileManager.default.createDirectory(
            atPath: folder.file("libraries"), withIntermediateDirectories: true)
        for version in 50..<80 { try folder.write("", to: "libraries/libavformat.so.\(version)") }
        let others = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"].map { ":" + $0 } ?? ""
        broken = ["LD_LIBRARY_PATH": folder.file("libraries") + others]
    }

    @Test("what needs no media starts without FFmpeg's libraries")
    func withoutMedia() throws {
        let model = try TinyModel.path("video")
        for arguments in [["--version"], ["inspect", model], ["tokenize", "go to the ball", "--model", model]] {
            let result = try CommandLineTool.run(arguments, in: folder.path, variables: broken)
            #expect(result.code == 0, "\(arguments): \(result.errors)")
        }
    }

    @Test("what needs them says in a sentence that they cannot be loaded, and leaves nothing behind")
    func withMedia() throws {
        let model = try TinyModel.path("video")
        try folder.write("no video", to: "a.mp4")
        for arguments in [
            ["text-to-video", "go", "--model", model, "-o", "b.mp4"],
            ["reconstruct", "a.mp4", "--model", model, "-o", "b.mp4"],
        ] {
            let result = try CommandLineTool.run(arguments, in: folder.path, variables: broken)
            #expect(result.code == 1 && !result.wasKilled)
            #expect(result.errors.contains("mmgen: FFmpeg's libraries cannot be loaded: "), "\(result.errors)")
            #expect(result.errors.contains("libavformat.so."))
            #expect(try folder.contents() == ["a.mp4", "libraries"])
        }
    }
}
