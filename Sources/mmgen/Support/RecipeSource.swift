import Foundation
import JSON
import Training

/// A recipe as a person names it: by the name of one that comes with the program, a file, or the folder of a run.
enum RecipeSource {
    /// The configuration, with overrides applied.
    ///
    /// - Parameters:
    ///   - source: `nil` for the defaults. A file or folder goes before a recipe of the same name.
    ///   - overrides: `a.b=value`.
    /// - Throws: a sentence naming the file or the override.
    static func read(_ source: String?, overrides: [String]) throws -> JSONObject {
        var path = source
        var object = JSONObject()
        if let source {
            var isFolder: ObjCBool = false
            let exists = FileManager.default.fileExists(atPath: source, isDirectory: &isFolder)
            if !exists, let recipe = NamedRecipe.named(source) {
                (object, path) = (recipe.settings, nil)
            } else if isFolder.boolValue {
                (object, path) = (try RunFolder(source).readConfig(), nil)
            } else if !exists, !source.contains("."), !source.contains("/") {
                let names = NamedRecipe.all.map(\.name).joined(separator: ", ")
                throw VerbError("There is no recipe or file \(Console.shown(source)); recipes are \(names).")
            }
        }
        return try ConfigurationFile.read(path, over: object, overrides: overrides)
    }
}
