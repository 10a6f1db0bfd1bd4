import Foundation
import JSON
import Media
import Tensors

@testable import Training

/// Pictures of one colour each with captions that name it, on disk; they go away with what is in the folder.
final class PictureFolder {
    static let colours: [(name: String, levels: [UInt8])] = [
        ("red", [220, 20, 20]), ("green", [20, 200, 20]), ("blue", [20, 20, 220]), ("grey", [120, 120, 120]),
    ]

    let folder: URL
    var manifest: String { folder.appendingPathComponent("pictures.jsonl").path }

    /// - Parameters:
    ///   - count: of pictures with captions, of which the last four are held out.
    ///   - alone: of pictures without one.
    ///   - line: changes what is said of a picture.
    init(_ count: Int = 16, alone: Int = 0, _ line: (Int, inout JSONObject) -> Void = { _, _ in }) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("pictures-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var lines: [JSONObject] = []
        for place in 0..<count + alone {
            let colour = Self.colours[place % Self.colours.count]
            let pixels = Tensor(
                (0..<16 * 16 * 3).map { colour.levels[$0 % 3] &+ UInt8(place) }, shape: [1, 16, 16, 3])
            _ = try Clip(pixels: pixels, frameRate: 1).write(to: folder.appendingPathComponent("\(place).png"))
            var object: JSONObject = [
                "file": .string("\(place).png"),
                "split": (count - 4..<count).contains(place) || place >= count + alone - 2 && alone > 0
                    ? "validation" : "train",
            ]
            if place < count { object["caption"] = .string("a square of \(colour.name)") }
            line(place, &object)
            lines.append(object)
        }
        let text = lines.map { JSONValue.object($0).serialized() + "\n" }.joined()
        try Data(text.utf8).write(to: URL(fileURLWithPath: manifest))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// Writes a text beside the pictures and returns its path.
    func write(_ text: String, to name: String) throws -> String {
        let url = folder.appendingPathComponent(name)
        try Data(text.utf8).write(to: url)
        return url.path
    }

    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    /// The task of a recipe in a place of its own.
    func task<Task: TrainingTask>(
        _ recipe: some Recipe, as kind: Task.Type, in place: RunPlace, isBegun: Bool = false
    ) throws -> Task {
        let run = place.folder
        try FileManager.default.createDirectory(atPath: run.path, withIntermediateDirectories: true)
        let made = try recipe.prepare(TrainingPlace(folder: run, isBegun: isBegun))()
        guard let task = made as? Task else { throw CancellationError() }
        return task
    }
}
