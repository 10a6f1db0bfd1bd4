import Foundation
import JSON
import Testing

/// `mmgen config`, and the samples' recipes.
@Suite(.serialized) struct ConfigVerbTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder(inMemory: true) }

    private func config(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(["config"] + arguments, in: folder.path)
    }

    @Test("recipes are listed by name with a sentence each, copied with every key explained, and read back as they are")
    func copies() throws {
        let list = try JSONValue.parse(config("list", "--json").output)
        let names = list.arrayValue?.compactMap { $0["name"]?.stringValue } ?? []
        #expect(names.count >= 6)
        let plain = try config("list").output
        for name in names {
            #expect(plain.contains(name + " "))
            let copied = try config("copy", name)
            #expect(copied.code == 0 && copied.output == "\(name).yaml\n", "\(copied.errors)")
            let valid = try config("validate", "\(name).yaml")
            #expect(
                valid.code == 0 && valid.output == "\(name).yaml is a recipe that can be trained.\n", "\(valid.errors)")
            let effective = try config("show", name, "--json")
            #expect(effective.code == 0, "\(effective.errors)")
            #expect(try config("show", "\(name).yaml", "--json").output == effective.output)
            // Every line that states something has a comment somewhere above it, under its section.
            let lines = try String(decoding: folder.data("\(name).yaml"), as: UTF8.self).split(separator: "\n")
            for (above, line) in zip(lines, lines.dropFirst()) where !line.contains("#") {
                #expect(above.contains("# "), "\(line)")
            }
            // What is shown is a recipe too.
            try folder.write(config("show", name).output, to: "shown.yaml")
            #expect(try config("show", "shown.yaml", "--json").output == effective.output)
        }
        #expect(try folder.contents().sorted() == (names.map { "\($0).yaml" } + ["shown.yaml"]).sorted())
    }

    @Test("a copy replaces no file unless it is forced to, and takes overrides")
    func force() throws {
        try folder.write("mine", to: "a.yaml")
        let refused = try config("copy", "video-vqvae", "-o", "a.yaml")
        #expect(
            refused.code == 1 && refused.errors.contains("a.yaml exists already; give --force"), "\(refused.errors)")
        #expect(try folder.data("a.yaml") == Data("mine".utf8))
        #expect(try config("copy", "video-vqvae", "-o", "a.json").code == 1)
        let forced = try config("copy", "video-vqvae", "-o", "a.yaml", "--force", "--set", "training.steps=77")
        #expect(forced.code == 0, "\(forced.errors)")
        let shown = try JSONValue.parse(config("show", "a.yaml", "--json").output)
        #expect(shown["training"]?["steps"] == 77)
        #expect(shown["arguments"]?["num_embeddings"] == 512)
        let set = try JSONValue.parse(config("show", "a.yaml", "--json", "--set", "data.frames=4").output)
        #expect(set["data"]?["frames"] == 4)
        #expect(try folder.contents() == ["a.yaml"])
    }

    @Test("validate names every mistake in a sentence of its own and ends with 1; wrong usage with 64")
    func mistakes() throws {
        try folder.write("model: image_vqvae\ndata: {size: 3}\ntraining: {steps: 0, stepz: 1}\n", to: "a.yaml")
        let result = try config("validate", "a.yaml", "--set", "loss.focus=9")
        #expect(result.code == 1 && result.output == "")
        let lines = result.errors.split(separator: "\n").map(String.init)
        #expect(lines.count == 4 && lines.allSatisfy { $0.hasPrefix("mmgen: ") }, "\(lines)")
        for start in [
            "a.yaml: 'data.size'", "a.yaml: 'training.steps'", "a.yaml: 'training.stepz'", "--set: 'loss.focus'",
        ] {
            #expect(lines.contains { $0.hasPrefix("mmgen: \(start) ") }, "\(lines)")
        }
        let json = try config("validate", "a.yaml", "--json")
        #expect(json.code == 1)
        #expect(try JSONValue.parse(json.output)["mistakes"]?.arrayValue?.count == 3)
        let unknown = try config("validate", "nowhere")
        #expect(unknown.code == 1 && unknown.errors.contains("There is no recipe or file 'nowhere'"))
        #expect(try config("validate").code == 64)
        #expect(try config("validate", "a.yaml", "--what").code == 64)
    }

    @Test("the samples' recipes can be trained")
    func samples() throws {
        let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let samples = repository.appendingPathComponent("samples").path
        let files = (FileManager.default.enumerator(atPath: samples)?.compactMap { $0 as? String } ?? [])
            .filter { $0.hasSuffix(".yaml") || $0.hasSuffix(".yml") }
        #expect(files.count >= 5)
        for file in files {
            let result = try config("validate", "\(samples)/\(file)")
            #expect(result.code == 0, "\(file): \(result.errors)")
        }
    }
}
