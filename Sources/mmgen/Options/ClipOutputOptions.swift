import ArgumentParser

/// Where clips go.
struct ClipOutputOptions: ParsableArguments {
    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp(
            "A file (.mp4, .webm, .mkv, .mov, .gif, .apng; .png, .jpg or .webp for a sheet of all frames), or a folder.",
            valueName: "out"))
    var output: String?

    @Option(name: .long, help: ArgumentHelp("Frames per second; the model's own if left out.", valueName: "rate"))
    var fps: Double?

    @Option(
        name: .long,
        help: ArgumentHelp("The kind of files that go into a folder: mp4, gif, webm, png, ...", valueName: "kind"))
    var format: String?

    @Flag(name: .long, help: "Replace files that are already there.")
    var force = false

    func validate() throws {
        if let fps, !(fps.isFinite && fps > 0 && fps <= 1000) {
            throw ValidationError("--fps must be above 0 and at most 1000, but is \(fps).")
        }
        if let output, output.isEmpty { throw ValidationError("-o needs the name of a file or folder.") }
    }
}
