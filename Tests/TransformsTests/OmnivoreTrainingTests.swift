import Checkpoints
import Foundation
import Tensors
import Testing

@testable import Transforms

/// What Omnivore's training makes of pictures with depth and of batches, against Tests/Parity/omnivore_training.py.
@Suite struct OmnivoreTrainingTests {
    private static let file = Result {
        try CheckpointReader.open(Reference.folder.appendingPathComponent("omnivore_training.safetensors").path)
    }

    private func tensor(_ name: String) throws -> Tensor { try #require(Self.file.get()[name], "no tensor \(name)") }

    private func names(_ prefix: String) throws -> [String] {
        try Self.file.get().names.filter { $0.hasPrefix(prefix) }.sorted()
    }

    @Test(
        "an operation changes colours and depth as the peer's RandAugment3d", arguments: RandAugment.Operation.allCases)
    func operations(_ operation: RandAugment.Operation) throws {
        let source = try tensor("source")
        let size = ImageSize(height: source.shape[1], width: source.shape[2])
        let augment = try RandAugment3D()
        let strength = augment.operations.strength(operation, size)
        for sign in operation.isSigned ? ["plus", "minus"] : ["plus"] {
            let name = operation.rawValue.prefix(1).uppercased() + operation.rawValue.dropFirst()
            let expected = try tensor("operation/\(name)/\(sign)")
            let found = augment.apply(operation, sign == "plus" ? strength : -strength, to: source)
            #expect(largest(found, expected) < 1e-5, "\(name) \(sign): \(largest(found, expected))")
            // Depth moves, but keeps its values.
            let moves = ["Shear", "Trans", "Rotat"].contains { name.hasPrefix($0) }
            #expect((largest(found.sliced(0, 3..<4), source.sliced(0, 3..<4)) > 0.01) == moves, "\(name)")
        }
    }

    @Test("hues are turned as torchvision turns those of numbers")
    func hue() throws {
        for share in [-0.1, 0.03, 0.5] {
            var planes = PlaneOperations(try tensor("source"))
            planes.hue(share)
            let difference = largest(planes.tensor, try tensor("hue/\(share)"))
            #expect(difference < 1e-5, "\(share): \(difference)")
        }
    }

    @Test("a batch is mixed with itself moved on by one, and targets by the same share")
    func mixes() throws {
        let (batch, target) = (try tensor("mix/batch"), try tensor("mix/target").scalars(Int64.self))
        let size = ImageSize(height: batch.shape[3], width: batch.shape[4])
        func targets(_ share: Double) -> Tensor {
            let others = [target[3]] + target.dropLast()
            let rows = zip(target, others).map { own, other in
                (0..<3).map { Float($0 == own ? share : 0) + Float($0 == other ? 1 - share : 0) }
            }
            return Tensor(rows.flatMap { $0 }, shape: [4, 3])
        }
        for share in [0.3, 0.85] {
            let mix = BatchMixing.Mix.mixup(share)
            #expect(largest(mix(batch), try tensor("mixup/\(share)/batch")) < 1e-6)
            #expect(largest(targets(mix.ownShare(size)), try tensor("mixup/\(share)/targets")) < 1e-6)
        }
        let cuts = try names("cutmix/").filter { $0.hasSuffix("batch") }
        #expect(cuts.count == 4)
        for name in cuts {
            let parts = name.split(separator: "/").map(String.init)
            let share = try #require(Float(parts[1]))
            let box = BatchMixing.box(
                of: size, share: Double(share), x: try #require(Int(parts[2])), y: try #require(Int(parts[3])))
            let mix = BatchMixing.Mix.cutmix(box)
            #expect(largest(mix(batch), try tensor(name)) == 0, "\(name)")
            let expected = try tensor(name.replacing("batch", with: "targets"))
            #expect(largest(targets(mix.ownShare(size)), expected) < 1e-6, "\(name)")
        }
    }

    @Test("the loss of a mixed batch is that of its mixed targets, smoothed or not")
    func mixedLoss() throws {
        let (scores, target) = (try tensor("loss/scores"), try tensor("mix/target").scalars(Int64.self))
        let others = [target[3]] + target.dropLast()
        for smoothing in [0.0, 0.1] {
            let own = scores.crossEntropy(Tensor(target), smoothing: smoothing) * 0.3
            let other = scores.crossEntropy(Tensor(others), smoothing: smoothing) * 0.7
            let expected = try tensor("loss/\(smoothing)").item(Float.self)
            #expect(abs((own + other).mean().item(Float.self) - expected) < 1e-6)
        }
    }

    @Test("mixes are drawn by key: shares of the beta distribution, boxes inside the picture")
    func draws() throws {
        let size = ImageSize(height: 12, width: 20)
        #expect(try BatchMixing().mix(size, key: RandomKey(seed: 1)) == nil)
        #expect(throws: TransformError.self) { try BatchMixing(mixup: -1) }
        // Variance of the beta distribution with both parameters alpha: 1 / (4 (2 alpha + 1)).
        for alpha in [0.2, 1.0, 4.0] {
            let mixing = try BatchMixing(mixup: alpha)
            let shares = (0..<2000).compactMap { seed -> Double? in
                guard case .mixup(let share)? = mixing.mix(size, key: RandomKey(seed: UInt64(seed))) else { return nil }
                return share
            }
            #expect(shares.count == 2000 && shares.allSatisfy { (0...1).contains($0) })
            let mean = shares.reduce(0, +) / 2000
            let variance = shares.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 2000
            #expect(abs(mean - 0.5) < 0.03, "\(alpha): \(mean)")
            #expect(abs(variance * 4 * (2 * alpha + 1) - 1) < 0.12, "\(alpha): \(variance)")
        }
        let both = try BatchMixing(mixup: 1, cutmix: 1)
        var cuts = 0
        for seed in 0..<200 {
            let key = RandomKey(seed: UInt64(seed))
            #expect(both.mix(size, key: key) == both.mix(size, key: key))
            guard case .cutmix(let box)? = both.mix(size, key: key) else { continue }
            cuts += 1
            #expect(box.top >= 0 && box.left >= 0 && box.top + box.height <= 12 && box.left + box.width <= 20)
        }
        #expect((60...140).contains(cuts))
    }

    @Test("a box is hidden as often as asked, by key, and is smaller than the picture")
    func erasing() throws {
        let ones = Tensor([Float](repeating: 1, count: 2 * 16 * 24), shape: [2, 1, 16, 24])
        var hidden = 0
        for seed in 0..<200 {
            let erasing = try RandomErasing(probability: 0.5)
            let key = RandomKey(seed: UInt64(seed))
            let found = erasing(ones, key: key)
            #expect(largest(found, erasing(ones, key: key)) == 0)
            guard let box = erasing.box(of: ImageSize(height: 16, width: 24), key: key) else { continue }
            hidden += 1
            let zeros = found.scalars(Float.self).count { $0 == 0 }
            #expect(zeros == 2 * box.width * box.height)
            #expect(zeros <= 2 * 16 * 24 * 2 / 5)
        }
        #expect((70...130).contains(hidden))
        #expect(throws: TransformError.self) { try RandomErasing(probability: 2) }
    }

    @Test("a view of training is a function of the key, for each kind of sight")
    func views() throws {
        let clips = VideoPreparation(frameCount: 3, resize: .shorterSide(14), crop: ImageSize(12), frameRate: 4)
        var augmentation = try OmnivoreAugmentation(
            cropSize: 12, resizeSize: 14, clips: clips, depth: DepthPreparation())
        augmentation.image.erasing = try RandomErasing(probability: 1)
        augmentation.depth.erasing = try RandomErasing(probability: 1)
        let pixels = (0..<7 * 15 * 18 * 3).map { UInt8(truncatingIfNeeded: $0 * 37 / 11) }
        let video = Tensor(pixels, shape: [7, 15, 18, 3])
        let sights: [(RawSight, [Int])] = [
            (.image(video.selected(0, 0)), [3, 1, 12, 12]), (.video(video), [3, 3, 12, 12]),
            (.rgbd(try tensor("source")), [4, 1, 12, 12]),
        ]
        for (sight, shape) in sights {
            let views = try (0..<6).map { try augmentation(sight, key: RandomKey(seed: UInt64($0))) }
            #expect(views.allSatisfy { $0.shape == shape })
            #expect(largest(try augmentation(sight, key: RandomKey(seed: 2)), views[2]) == 0)
            #expect(Set(views.map { $0.scalars(Float.self) }).count > 3)
        }
        // A clip that is too short ends with its last frame, and evaluation looks at even places.
        #expect(clips.clips(of: video.sliced(0, 0..<2))[0].shape == [3, 15, 18, 3])
        var three = clips
        three.clipCount = 3
        let starts = three.clips(of: video).map { $0.selected(0, 0).scalars(UInt8.self) }
        #expect(starts == [0, 2, 4].map { video.selected(0, $0).scalars(UInt8.self) })
    }
}
