import Media
import Tensors
import Testing

@testable import Transforms

@Suite("Pictures changed at random")
struct AugmentationTests {
    private static let names: [(String, RandAugment.Operation)] = [
        ("Identity", .identity), ("ShearX", .shearX), ("ShearY", .shearY), ("TranslateX", .translateX),
        ("TranslateY", .translateY), ("Rotate", .rotate), ("Brightness", .brightness), ("Color", .color),
        ("Contrast", .contrast), ("Sharpness", .sharpness), ("Posterize", .posterize), ("Solarize", .solarize),
        ("AutoContrast", .autoContrast), ("Equalize", .equalize),
    ]

    @Test("every operation gives torchvision's pixels on Pillow pictures", arguments: [7, 20])
    func operations(_ magnitude: Int) throws {
        let source = try Reference.tensor("source")
        let augment = try RandAugment(magnitude: magnitude)
        let cubic = try RandAugment(magnitude: magnitude, interpolation: .bicubic)
        for (name, operation) in Self.names {
            let strength = augment.strength(operation, source.imageSize)
            let expected = try Reference.tensor("operation/\(name)/\(magnitude)/strength").item(Double.self)
            #expect(strength == expected, "\(name)")
            for (sign, word) in [(1.0, "plus"), (-1.0, "minus")] where sign > 0 || operation.isSigned {
                let found = augment.apply(operation, sign * strength, to: source)
                let wanted = try Reference.tensor("operation/\(name)/\(magnitude)/\(word)")
                #expect(largest(found, wanted) == 0, "\(name) \(word)")
                let smooth = "operation/\(name)/\(magnitude)/cubic\(word)"
                if try Reference.names(smooth).contains(smooth) {
                    let found = cubic.apply(operation, sign * strength, to: source)
                    #expect(largest(found, try Reference.tensor(smooth)) <= 1, "\(name) cubic \(word)")
                }
            }
        }
    }

    @Test("hues turn as Pillow turns them", arguments: [-0.1, 0.03, 0.5])
    func hues(_ share: Double) throws {
        let found = PictureOperations(image: try Reference.tensor("source")).hue(share)
        #expect(largest(found, try Reference.tensor("hue/\(share)")) <= 1)
    }

    @Test("ALBEF's evaluation gives torchvision's numbers")
    func albef() throws {
        let found = try ALBEFImageTransform(size: 24, isTraining: false)(try Reference.tensor("source"))
        #expect(largest(found, try Reference.tensor("albef")) == 0)
    }

    @Test("training is the same for the same key and differs for others")
    func determinism() throws {
        let source = try Reference.tensor("source")
        let transforms: [any ImageTransform] = [
            try ALBEFImageTransform(size: 20, isTraining: true), try CLIPImageTransform(size: 20),
            try OmnivoreImageTransform(cropSize: 20, isTraining: true),
        ]
        for transform in transforms {
            var results: [Tensor] = []
            for seed in 0..<6 {
                let key = RandomKey(seed: UInt64(seed))
                let found = try transform(source, key: key)
                #expect(largest(found, try transform(source, key: key)) == 0)
                #expect(results.allSatisfy { largest($0, found) > 0 })
                results.append(found)
            }
        }
    }

    @Test("a line of pixels survives every operation")
    func line() throws {
        for shape in [[1, 1, 3], [1, 9, 3], [9, 1, 3]] {
            let image = Tensor(repeating: 7, shape: shape, dtype: .uint8)
            let augment = try RandAugment()
            for operation in RandAugment.Operation.allCases {
                let strength = augment.strength(operation, image.imageSize)
                #expect(augment.apply(operation, strength, to: image).shape == shape)
            }
        }
        #expect(sentence { _ = try RandAugment(magnitude: 31) } != nil)
        #expect(sentence { _ = try RandAugment(interpolation: .bilinear) } != nil)
        #expect(sentence { _ = try ColorJitter(brightness: 2, contrast: 0, saturation: 0, hue: 0) } != nil)
    }

    @Test("Omnivore's pictures, clips and depths give torchvision's numbers")
    func omnivore() throws {
        let source = try Reference.tensor("source")
        let image = try OmnivoreImageTransform(cropSize: 22, resizeSize: 26, isTraining: false)(source)
        #expect(largest(image, try Reference.tensor("omnivore/image")) == 0)
        let clip = try Reference.tensor("video/source").selected(0, 0)
        let video = try OmnivoreVideoTransform(
            cropSize: ImageSize(10), resize: .shorterSide(12), isTraining: false)
        #expect(largest(try video(clip), try Reference.tensor("omnivore/video")) < 1e-5)
        let rgbd = try Reference.tensor("omnivore/rgbd")
        let scaled = try DepthScaling(maximum: 75, isCutOff: true)(rgbd)
        #expect(largest(scaled, try Reference.tensor("omnivore/depth_scaled")) == 0)
        let depth = try OmnivoreDepthTransform(cropSize: 22, resizeSize: 26, isTraining: false)(rgbd)
        // Depths are divided by 0.0295, which enlarges what single precision lost.
        #expect(largest(depth, try Reference.tensor("omnivore/depth")) < 1e-4)
        #expect(
            disparity(ofDepth: Tensor([2000] as [Float]), baseline: 0.075, focalLength: 500).item(Float.self) == 18.75)
    }

    @Test("training's clips are parts of one place; depth may lose its colours")
    func omnivoreTraining() throws {
        let clip = try Reference.tensor("video/source").selected(0, 0)
        let video = try OmnivoreVideoTransform(cropSize: ImageSize(10), resize: .shorterSide(12), isTraining: true)
        let found = try video(clip, key: RandomKey(seed: 5))
        #expect(found.shape == [3, 5, 10, 10])
        #expect(largest(found, try video(clip, key: RandomKey(seed: 5))) == 0)
        #expect(sentence { _ = try video(clip) }?.contains("needs a key") == true)
        let rgbd = try Reference.tensor("omnivore/rgbd")
        let depth = try OmnivoreDepthTransform(cropSize: 16, isTraining: true)
        var dropped = 0
        for seed in 0..<40 {
            let out = try depth(rgbd, key: RandomKey(seed: UInt64(seed)))
            #expect(out.shape == [4, 1, 16, 16])
            if out.sliced(0, 0..<3).scalars(Float.self).allSatisfy({ $0 == 0 }) { dropped += 1 }
            #expect(out.selected(0, 3).scalars(Float.self).contains { $0 != 0 })
        }
        #expect((8...32).contains(dropped))
        #expect(
            sentence { _ = try depth(.zeros([3, 4, 4]), key: RandomKey(seed: 0)) }?.contains("[4, height, width]")
                == true)
        #expect(sentence { _ = try DepthScaling(maximum: 0) } != nil)
    }
}
