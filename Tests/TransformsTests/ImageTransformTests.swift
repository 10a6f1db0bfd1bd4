import Media
import Tensors
import Testing

@testable import Transforms

@Suite("Pictures for models")
struct ImageTransformTests {
    @Test("resizing gives Pillow's pixels exactly", arguments: Resampling.allCases)
    func pillow(_ method: Resampling) throws {
        let source = try Reference.tensor("source")
        let names = try Reference.names("resize/\(method.rawValue)/")
        #expect(names.count == 6)
        for name in names {
            let expected = try Reference.tensor(name)
            let found = try resized(source, expected.imageSize, method)
            #expect(largest(found, expected) == 0, "\(name)")
        }
    }

    @Test("planes of numbers are resized as torchvision does", arguments: [true, false])
    func planesOfNumbers(_ antialias: Bool) throws {
        let source = try Reference.tensor("float/source")
        for method in [Resampling.bilinear, .bicubic] {
            let names = try Reference.names("float/\(method.rawValue)/\(antialias ? "smooth" : "plain")/")
            #expect(names.count == 3)
            for name in names {
                let expected = try Reference.tensor(name)
                let size = ImageSize(height: expected.shape[1], width: expected.shape[2])
                let found = try resizedPlanes(source, size, method, antialias: antialias)
                #expect(largest(found, expected) < 3e-6, "\(name)")
            }
        }
    }

    @Test("CLIP's evaluation gives the peer's numbers bit for bit")
    func clip() throws {
        let source = try Reference.tensor("source")
        for (name, transform) in [
            ("square", try CLIPImageTransform(size: 24, isTraining: false)),
            ("exact", try CLIPImageTransform(exactSize: ImageSize(height: 20, width: 30), isTraining: false)),
            ("odd", try CLIPImageTransform(size: 33, isTraining: false)),
        ] {
            let expected = try Reference.tensor("clip/\(name)")
            #expect(largest(try transform(source), expected) == 0, "\(name)")
        }
    }

    @Test("a part that is resized gives torchvision's pixels")
    func crops() throws {
        let source = try Reference.tensor("source")
        for (index, crop) in [
            ImageCrop(top: 3, left: 5, height: 20, width: 25), ImageCrop(top: 0, left: 0, height: 29, width: 37),
            ImageCrop(top: 10, left: 1, height: 7, width: 30),
        ].enumerated() {
            let found = try resized(source.cropped(crop), ImageSize(24), .bicubic)
            #expect(largest(found, try Reference.tensor("crop/\(index)")) == 0)
        }
        #expect(
            largest(
                source.centerCropped(ImageSize(height: 36, width: 33)), try Reference.tensor("center/larger")) == 0)
        #expect(
            largest(
                source.centerCropped(ImageSize(height: 14, width: 20)), try Reference.tensor("center/smaller")) == 0)
    }

    @Test("the shorter side decides, and a size of two numbers is reached by stretching")
    func sizes() throws {
        let wide = Tensor.ones([300, 500, 3]).cast(to: .uint8)
        #expect(ResizeTarget.shorterSide(224).size(of: wide.imageSize) == ImageSize(height: 224, width: 373))
        #expect(
            ResizeTarget.shorterSide(800, longest: 1333).size(of: ImageSize(height: 100, width: 400))
                == ImageSize(height: 333, width: 1333))
        let exact = try CLIPImageTransform(exactSize: ImageSize(224), isTraining: false)
        #expect(try exact.pixels(wide, key: nil).shape == [224, 224, 3])
        let tall = Tensor.ones([50, 100, 3]).cast(to: .uint8)
        let batch = try CLIPImageTransform()([wide, tall], key: RandomKey(seed: 3))
        #expect(batch.shape == [2, 3, 224, 224])
    }

    @Test("random parts fit, keep to their ranges, and are the same for the same key")
    func randomParts() throws {
        let crop = try RandomResizedCrop()
        let size = ImageSize(height: 120, width: 90)
        var seen: Set<ImageCrop> = []
        for index in 0..<300 {
            let key = RandomKey(seed: 9).derived("image", index)
            let part = crop.part(of: size, key: key)
            #expect(part == crop.part(of: size, key: key))
            #expect(part.top >= 0 && part.left >= 0 && part.height > 0 && part.width > 0)
            #expect(part.top + part.height <= size.height && part.left + part.width <= size.width)
            let share = Double(part.height * part.width) / Double(size.height * size.width)
            // A side is rounded to whole pixels.
            #expect(share > 0.07 && share <= 1)
            seen.insert(part)
        }
        #expect(seen.count > 290)
        // Nothing of these proportions fits into a line: its middle is taken.
        let line = crop.part(of: ImageSize(height: 1, width: 900), key: RandomKey(seed: 1))
        #expect(line == ImageCrop(top: 0, left: 449, height: 1, width: 1))
    }

    @Test("what is no picture and what has no key is refused in one sentence")
    func refusals() throws {
        let image = try Reference.tensor("source")
        #expect(sentence { _ = try CLIPImageTransform()(image) }?.contains("needs a key") == true)
        let gray = Tensor.zeros([4, 4], dtype: .uint8)
        #expect(
            sentence { _ = try CLIPImageTransform(isTraining: false)(gray) }
                == "CLIPImageTransform takes a uint8 picture of shape [height, width, 3], not uint8 of shape [4, 4].")
        #expect(sentence { _ = try CLIPImageTransform(size: 0) } != nil)
        #expect(sentence { _ = try PixelScaling(mean: [0], deviation: [0]) } != nil)
        #expect(sentence { _ = try RandomResizedCrop(scale: 0...1) } != nil)
        // A line of pixels whose other side would be beyond all measure.
        let line = Tensor.zeros([1, 4000, 3], dtype: .uint8)
        #expect(sentence { _ = try CLIPImageTransform(isTraining: false)(line) }?.contains("cannot be resized") == true)
    }

    @Test("FLAVA's evaluation gives the peer's numbers; its mask hides what was asked for")
    func flava() throws {
        let source = try Reference.tensor("source")
        let mask = try BlockMask(grid: ImageSize(6), count: 10, smallestBlock: 2)
        let transform = try FLAVAImageTransform(isTraining: false, encoderSize: 24, codebookSize: 12, mask: mask)
        let out = try transform(source, key: RandomKey(seed: 4))
        #expect(largest(out.image, try Reference.tensor("flava/image")) == 0)
        #expect(largest(out.imageForCodebook, try Reference.tensor("flava/image_for_codebook")) < 1e-7)
        #expect(out.imagePatchesMask.shape == [6, 6])
    }

    @Test("FLAVA's training takes one part for both pictures")
    func flavaTraining() throws {
        // The peer's own test: white, three pixels a side, one patch hidden.
        let white = Tensor(repeating: 255, shape: [2, 2, 3], dtype: .uint8)
        let transform = try FLAVAImageTransform(
            encoderSize: 3, codebookSize: 3,
            mask: BlockMask(count: 1, smallestBlock: 1, largestBlock: 1))
        let out = try transform(white, key: RandomKey(seed: 1234))
        for (channel, value) in [1.9303, 2.0749, 2.1459].enumerated() {
            #expect(out.image.selected(0, channel).scalars(Float.self).allSatisfy { abs(Double($0) - value) < 1e-4 })
        }
        #expect(out.imageForCodebook.scalars(Float.self).allSatisfy { abs($0 - 0.9) < 1e-6 })
        #expect(out.imagePatchesMask.scalars(Int64.self).reduce(0, +) == 1)
        let source = try Reference.tensor("source")
        let (first, again) = try (0..<2).map { _ in try transform.pixels(source, key: RandomKey(seed: 7)) }
            .withTwo { ($0, $1) }
        #expect(largest(first.encoder, again.encoder) == 0 && largest(first.codebook, again.codebook) == 0)
    }

    @Test("masks cover about the wanted number of patches in blocks")
    func masks() throws {
        let mask = try BlockMask()
        var total = 0
        for seed in 0..<200 {
            let out = mask(key: RandomKey(seed: UInt64(seed)))
            let hidden = Int(out.scalars(Int64.self).reduce(0, +))
            #expect(hidden <= 75 && hidden > 30)
            total += hidden
            #expect(largest(out, mask(key: RandomKey(seed: UInt64(seed)))) == 0)
        }
        #expect(Double(total) / 200 > 65)
        #expect(try BlockMask(count: 0)(key: RandomKey(seed: 0)).scalars(Int64.self).reduce(0, +) == 0)
    }

    @Test("videos are sampled, resized and normalised as the peer's")
    func videos() throws {
        let levels = try Reference.tensor("video/source")
        for frames in [3, 5, 8] {
            let transform = try VideoTransform(frameCount: frames, size: ImageSize(height: 10, width: 12))
            let expected = try Reference.tensor("video/levels/\(frames)")
            let found = try transform(levels)
            // A level more or less where a sum lies between two.
            #expect(largest(found, expected) <= 0.0185)
            #expect(
                largest(try transform(levels.cast(to: .float32)), try Reference.tensor("video/numbers/\(frames)"))
                    < 1e-5)
        }
        let same = try VideoTransform(frameCount: 5, size: ImageSize(height: 14, width: 18))(levels)
        #expect(largest(same, try Reference.tensor("video/same_size")) == 0)
        #expect(sentence { _ = try VideoTransform()(.zeros([2, 6, 4, 5, 2])) }?.contains("three colours") == true)
    }
}

extension Array {
    fileprivate func withTwo<Result>(_ body: (Element, Element) -> Result) -> Result { body(self[0], self[1]) }
}
