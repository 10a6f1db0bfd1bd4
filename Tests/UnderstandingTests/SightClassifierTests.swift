import Checkpoints
import Foundation
import JSON
import Media
import Models
import Tensors
import TestSupport
import Testing
import Transforms

@testable import Understanding

/// Which parts of a video an Omnivore looks at.
@Suite("Parts of videos")
final class SightClassifierTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("parts-\(UUID().uuidString)")
    private static let arguments: JSONObject = [
        "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "stochastic_depth_prob": 0,
        "heads": ["video": 3],
    ]

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// A model with random weights whose parts have four frames, ten in a second.
    private func model(_ video: VideoPreparation) throws -> PretrainedModel {
        let path = folder.appendingPathComponent(UUID().uuidString).path
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try PretrainedModel.write(
            module: ModelRegistry.build("omnivore", arguments: Self.arguments, source: "test", seed: 3),
            name: "omnivore", arguments: Self.arguments, to: path,
            extra: ["preprocessing": Preprocessing(video: video).json])
        return try PretrainedModel(contentsOf: path)
    }

    private func video(frames: Int) throws -> SightSource {
        let url = folder.appendingPathComponent("\(frames).gif")
        let levels = (0..<frames).flatMap { frame in
            (0..<16 * 16 * 3).map { place -> UInt8 in
                let level = frame * 11 + (place % 3 + 1) * 30
                return UInt8((level + place / 16) % 256)
            }
        }
        _ = try Clip(pixels: Tensor(levels, shape: [frames, 16, 16, 3]), frameRate: 10).write(to: url)
        return SightSource(MediaSource(url))
    }

    private static let parts = VideoPreparation(
        frameCount: 4, resize: .exactly(ImageSize(16)), frameRate: 10, clipCount: 3)

    /// Probabilities by class, of some parts of a video by itself.
    private func expected(_ pretrained: PretrainedModel, _ clips: [[Int]], frames: Int) throws -> [Double] {
        let omnivore = try #require(pretrained.module as? Omnivore)
        let pixels = try VideoReader(video(frames: frames).file).readAll().pixels
        var sums = [Double](repeating: 0, count: 3)
        for clip in clips {
            let input = try Self.parts(stacked(clip.map { pixels.selected(0, $0) })).unsqueezed(0)
            let shares = try #require(omnivore(input, kind: .video, .inference)).softmax().scalars(Float.self)
            for place in 0..<3 { sums[place] += Double(shares[place]) / Double(clips.count) }
        }
        return sums
    }

    private func found(_ pretrained: PretrainedModel, frames: Int, clips: Int? = nil) throws -> [Double] {
        let classifier = try SightClassifier(pretrained, clips: clips)
        let guesses = try classifier.guesses([classifier.prepare(video(frames: frames))])[0]
        return guesses.sorted { $0.place < $1.place }.map(\.probability)
    }

    @Test("probabilities are the mean over parts at even places, as many as are asked for, and as there are")
    func average() throws {
        let pretrained = try model(Self.parts)
        func expectSame(_ found: [Double], _ clips: [[Int]], frames: Int) throws {
            let expected = try expected(pretrained, clips, frames: frames)
            #expect(difference(found, expected, within: .reduction(64)) == nil, "\(found) \(expected)")
        }
        let (first, last) = (Array(0..<4), Array(16..<20))
        try expectSame(found(pretrained, frames: 20), [first, Array(8..<12), last], frames: 20)
        try expectSame(found(pretrained, frames: 20, clips: 2), [first, last], frames: 20)
        try expectSame(found(pretrained, frames: 20, clips: 1), [first], frames: 20)
        // Two places for parts, then one, then fewer frames than a part has.
        try expectSame(found(pretrained, frames: 5), [first, [1, 2, 3, 4]], frames: 5)
        try expectSame(found(pretrained, frames: 4, clips: 1024), [first], frames: 4)
        try expectSame(found(pretrained, frames: 2), [[0, 1, 1, 1]], frames: 2)
        #expect(try found(pretrained, frames: 20) != found(pretrained, frames: 20, clips: 1))
    }

    @Test("where a directory does not say how long a part is, the whole video is one, and more are refused")
    func whole() throws {
        let pretrained = try model(VideoPreparation(frameCount: 4, resize: .exactly(ImageSize(16))))
        #expect(try found(pretrained, frames: 20) == found(pretrained, frames: 20, clips: 1))
        #expect(message { try SightClassifier(pretrained, clips: 2) }.contains("does not say how long a part"))
    }

    @Test("the published Omnivores look at four parts of two seconds")
    func published() throws {
        let video = try #require(Preprocessing.omnivore.video)
        #expect(video.frameCount == 32 && video.frameRate == 16 && video.clipCount == 4)
    }
}
