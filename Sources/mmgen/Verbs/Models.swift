import ArgumentParser
import Checkpoints
import JSON
import Models

/// `mmgen models`
struct Models: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "List the models that can be built, by the names that configurations use.")

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func run() {
        let console = printing.console
        let rows = ModelRegistry.names.map { ($0, Self.descriptions[$0] ?? "") }
        let width = rows.map(\.0.count).max() ?? 0
        for (name, description) in rows {
            console.result(
                description.isEmpty
                    ? name : name.padding(toLength: width + 2, withPad: " ", startingAt: 0) + description)
        }
        guard console.isJSON else { return }
        let list = rows.map { JSONValue.object(["name": .string($0.0), "description": .string($0.1)]) }
        print(JSONValue.array(list).serialized(pretty: true), terminator: "")
    }

    /// One line per name; a model that is missing here is listed by its name alone.
    private static let descriptions = [
        "video_vqvae": "video to codes and back; the arguments decide which of the next two",
        "video_gpt.model.video_vqvae": "video to codes and back, one window per layer",
        "video_gpt.video_vqvae.video_vqvae": "video to codes and back, the same window in every layer",
        "video_vqvae_mugen": "video to codes and back, in MUGEN's shape (8 x 8 x 8 codes for 32 x 256 x 256 pixels)",
        "image_vqvae": "images to codes and back",
        "video_gpt": "goes on with a video",
        "text_video_gpt": "video from words, MUGEN's default",
        "text_image_gpt": "images from words",
    ]
}
