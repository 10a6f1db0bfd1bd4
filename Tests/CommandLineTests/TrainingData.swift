import Checkpoints
import Foundation
import Media
import Tensors

/// Twelve captioned clips and pictures of 16 x 16, and recipes of models that learn from them in a second.
enum TrainingData {
    private static let colours = ["red", "green", "blue"]

    /// Makes `clips/`, `pictures/`, `video.yaml`, `image.yaml`, `gpt.yaml`, `image-gpt.yaml` in a folder.
    static func write(to folder: TemporaryFolder) throws {
        for name in ["clips", "pictures"] {
            try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: true)
        }
        for index in 0..<12 {
            let pixels = square(index)
            let caption = "go to the \(colours[index % 3]) square"
            try folder.write(caption, to: "clips/\(index).txt")
            try folder.write(caption, to: "pictures/\(index).txt")
            let number = String(index)
            try Clip(pixels: pixels, frameRate: 8).write(to: URL(fileURLWithPath: folder.file("clips/\(number).gif")))
            try Clip(pixels: pixels.sliced(0, 0..<1).contiguous(), frameRate: 8)
                .write(to: URL(fileURLWithPath: folder.file("pictures/\(number).png")))
        }
        try folder.write(vqvae("video_vqvae", "[2, 4, 4]", "[1, 1, 1]", frames: 4), to: "video.yaml")
        try folder.write(vqvae("image_vqvae", "[4, 4]", "[1, 1]", frames: 1), to: "image.yaml")
        try folder.write(gpt("text_video_gpt", frames: 4), to: "gpt.yaml")
        try folder.write(gpt("text_image_gpt", frames: 1), to: "image-gpt.yaml")
    }

    private static func square(_ index: Int) -> Tensor {
        var values = [UInt8](repeating: 20, count: 4 * 16 * 16 * 3)
        for frame in 0..<4 {
            for y in 0..<6 {
                for x in 0..<6 {
                    let (row, column) = ((index % 4) * 3 + y, (index / 4 + frame) * 2 + x)
                    values[((frame * 16 + row) * 16 + column) * 3 + index % 3] = 220
                }
            }
        }
        return Tensor(values, shape: [4, 16, 16, 3])
    }

    private static let training = """
        training:
          steps: 6
          batch_size: 4
          accumulation: 2
          learning_rate: 0.003
          warmup_steps: 2
          ema_decay: 0.9
          seed: 5
          log_every: 1
          evaluate_every: 3
          checkpoint_every: 1

        """

    private static func data(_ frames: Int) -> String {
        "data:\n  frames: \(frames)\n  size: [16, 16]\n  validation_share: 0.25\n"
    }

    private static func vqvae(_ model: String, _ window: String, _ one: String, frames: Int) -> String {
        """
        model: \(model)
        arguments:
          conv_filter_sizes: [\(window)]
          conv_filter_strides: [\(window)]
          encoder_filter_size: \(one)
          encoder_filter_stride: \(one)
          encoder_hidden_dim: 8
          decoder_hidden_dim: 8
          attn_hidden_dim: 8
          n_res_layers: 1
          num_embeddings: 16
          embedding_dim: 8
          codebook_usage_threshold: 1.0
        loss:
          squared: 4.0

        """ + data(frames) + training
    }

    private static func gpt(_ model: String, frames: Int) -> String {
        """
        model: \(model)
        arguments:
          text_seq_len: 6
          d_model: 12
          n_head: 2
          num_decoder_layers: 1
          dropout: 0.1
          attn_dropout: 0.1
        text:
          vocabulary_size: 40
        prompt_dropout: 0.3

        """ + data(frames) + training
    }
}
