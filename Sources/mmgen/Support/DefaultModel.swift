import Foundation

/// The model that comes with the program.
enum DefaultModel {
    /// Its name.
    static let name = "babyai"

    /// The folder of the model that was asked for: a folder, this name, or nothing, which is this model too.
    ///
    /// - Throws: ``VerbError`` as ``path()``.
    static func folder(_ model: String?) throws -> String {
        guard let model else { return try path() }
        return model == name && !FileManager.default.fileExists(atPath: model + "/config.json") ? try path() : model
    }

    /// Where it lies: in the resources beside the executable, or in `share/mmgen` of an installation.
    ///
    /// - Throws: ``VerbError`` when it is in none of these places.
    static func path() throws -> String {
        let executable = (Bundle.main.executableURL ?? URL(fileURLWithPath: CommandLine.arguments[0]))
            .resolvingSymlinksInPath()
        let folder = executable.deletingLastPathComponent()
        let places = [
            "mmgen_mmgen.resources/\(name)", "mmgen_mmgen.resources/Resources/\(name)", "../share/mmgen/\(name)",
        ]
        let paths = places.map { folder.appendingPathComponent($0).standardizedFileURL.path }
        let found = paths.first { FileManager.default.fileExists(atPath: $0 + "/config.json") }
        guard let found else {
            throw VerbError(
                "The model that comes with the program is not beside it in \(folder.path); give one with --model DIR.")
        }
        return found
    }
}
