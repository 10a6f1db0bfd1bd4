import Checkpoints
import Datasets
import Evaluation
import Foundation
import Media
import Tensors
import Transforms

/// Pictures with captions, and boxes that parts of the captions speak of.
public struct GroundingPictures: Sendable {
    /// A part of a caption, and the boxes that it speaks of.
    public struct Phrase: Sendable {
        /// Its characters (Unicode scalars).
        public let spans: [Range<Int>]
        /// In pixels of the file.
        public let boxes: [PixelBox]
    }

    /// The files.
    public let files: [URL]
    /// What is to be found in each, in pixels of the file.
    public let targets: [DetectionTarget]
    /// What is asked of each.
    public let phrases: [[Phrase]]
    /// Describes captions, boxes and sizes, but not where the files lie.
    public let fingerprint: String

    /// The number of pictures.
    public var count: Int { files.count }

    /// Reads every picture once, for its size.
    ///
    /// - Parameters:
    ///   - samples: crowds and boxes that no phrase speaks of are left out, and pictures without any other.
    ///   - shouldStop: asked before each picture.
    /// - Returns: the pictures, and what cannot be used with the reason.
    /// - Throws: `CancellationError` when it was asked to stop.
    public static func read(
        _ samples: [UnderstandingSample], shouldStop: () -> Bool = { false }
    ) throws -> (pictures: GroundingPictures, problems: [DataProblem]) {
        var (files, targets, phrases): ([URL], [DetectionTarget], [[Phrase]]) = ([], [], [])
        var problems: [DataProblem] = []
        var sizes: [String: ImageSize] = [:]
        for sample in samples {
            if shouldStop() { throw CancellationError() }
            func refuse(_ reason: String) { problems.append(DataProblem(item: sample.file.path, reason: reason)) }
            let size: ImageSize
            if let known = sizes[sample.file.path] {
                size = known
            } else {
                do {
                    let shape = try readImage(MediaSource(sample.file)).shape
                    size = ImageSize(height: shape[0], width: shape[1])
                } catch {
                    refuse("\(error)")
                    continue
                }
                sizes[sample.file.path] = size
            }
            let items = sample.boxes.filter { !$0.isCrowd && $0.spans.contains { !$0.isEmpty } }.map { box in
                DetectionTarget.Item(
                    box: BoxCorners(
                        left: Float(box.x), top: Float(box.y), right: Float(box.x + box.width),
                        bottom: Float(box.y + box.height)),
                    label: box.category, area: Float(box.area), spans: box.spans)
            }
            let target = DetectionTarget(items: items, caption: sample.captions.first ?? "", size: size)
            guard !target.items.isEmpty else {
                refuse("no box in the picture has words of the caption.")
                continue
            }
            files.append(sample.file)
            targets.append(target)
            phrases.append(Self.phrases(target, stated: sample.phrases))
        }
        return (GroundingPictures(files: files, targets: targets, phrases: phrases), problems)
    }

    private init(files: [URL], targets: [DetectionTarget], phrases: [[Phrase]]) {
        self.files = files
        self.targets = targets
        self.phrases = phrases
        var description = ""
        for (file, target) in zip(files, targets) {
            description += "\(file.lastPathComponent)\t\(target.caption)\t\(target.size)\t\(target.items)\n"
        }
        let checksum = Array(description.utf8).withUnsafeBytes { fileChecksum(of: $0) }
        fingerprint = "\(files.count)-\(String(checksum, radix: 16))"
    }

    /// The first so many.
    func prefix(_ count: Int) -> GroundingPictures {
        GroundingPictures(
            files: Array(files.prefix(count)), targets: Array(targets.prefix(count)),
            phrases: Array(phrases.prefix(count)))
    }

    /// What is asked of a picture: what its file states, else every part of the caption that a box names.
    private static func phrases(_ target: DetectionTarget, stated: [[Range<Int>]]) -> [Phrase] {
        var asked = stated
        if asked.isEmpty {
            for span in target.items.flatMap(\.spans) where !asked.contains([span]) && !span.isEmpty {
                asked.append([span])
            }
        }
        return asked.compactMap { spans in
            let boxes = target.items.filter { item in
                item.spans.contains { own in spans.contains { $0.overlaps(own) } }
            }.map { PixelBox($0.box) }
            return boxes.isEmpty ? nil : Phrase(spans: spans, boxes: boxes)
        }
    }

    /// The pixels of a picture's file, `[height, width, 3]`, `uint8`.
    ///
    /// - Throws: ``TrainingError`` with code `.invalidData` for a file that has changed since; what reading throws.
    func pixels(_ index: Int) throws -> Tensor {
        let pixels = try readImage(MediaSource(files[index]))
        let size = targets[index].size
        guard pixels.shape[0] == size.height, pixels.shape[1] == size.width else {
            throw TrainingError(
                .invalidData,
                "\(files[index].path) has \(pixels.shape[1]) x \(pixels.shape[0]) pixels now, and had \(size.width) x "
                    + "\(size.height) when the run began.")
        }
        return pixels
    }
}
