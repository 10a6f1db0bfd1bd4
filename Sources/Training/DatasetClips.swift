import Checkpoints
import Datasets
import Foundation
import Tensors

/// The clips of a data set as a trainer sees them.
public struct DatasetClips: ClipSource {
    private let dataset: VideoDataset
    /// Describes entries, their sizes in bytes, captions and how clips are cut, but not where the files lie.
    public let fingerprint: String

    /// Wraps a data set.
    public init(_ dataset: VideoDataset) {
        self.dataset = dataset
        var description = "\(dataset.sampling)\n"
        for entry in dataset.manifest.entries {
            var status = stat()
            let bytes = stat(entry.url.path, &status) == 0 ? Int(status.st_size) : -1
            description += "\(entry.url.lastPathComponent)\t\(bytes)\t\(entry.caption)\t"
            description += "\(entry.start ?? 0)\t\(entry.end ?? 0)\n"
        }
        let checksum = Array(description.utf8).withUnsafeBytes { fileChecksum(of: $0) }
        fingerprint = "\(dataset.count)-\(String(checksum, radix: 16))"
    }

    public var count: Int { dataset.count }

    public func pixels(_ index: Int, epoch: Int?) throws -> Tensor {
        try dataset.sample(index, epoch: epoch ?? 0).pixels
    }

    public func caption(_ index: Int) -> String { dataset.manifest.entries[index].caption }
}

/// The training and validation clips that settings name.
public struct ClipSplits: Sendable {
    /// What is learned from.
    public let training: DatasetClips
    /// What is measured on; `nil` when nothing is held out.
    public let validation: DatasetClips?
    /// Whether it is measured on what it learns from.
    public let isOverfitting: Bool

    /// Opens the data.
    ///
    /// Splits named `train` and `validation` (or `val`) in the manifest are used; otherwise a share is held out by a hash of
    /// each entry. Decoded frames are kept in one file, so that files are decoded once.
    ///
    /// - Parameters:
    ///   - settings: path, size, frames.
    ///   - seed: of random cuts and of the split.
    ///   - cacheFolder: where decoded frames are kept; `nil`: files are decoded as they are needed.
    ///   - randomCuts: whether longer clips are cut at random places in training.
    ///   - limit: when given, so many clips are learned from, and measured on.
    ///   - shouldStop: asked before each file that is decoded.
    ///   - progress: called with the number of files decoded and their number.
    public init(
        _ settings: DataSettings, seed: UInt64, cacheFolder: URL?, randomCuts: Bool,
        limit: Int? = nil, shouldStop: () -> Bool = { false }, progress: (@Sendable (Int, Int) -> Void)? = nil
    ) throws {
        guard !settings.path.isEmpty else {
            throw TrainingError(.invalidConfiguration, "No data was named: give a folder of clips or a manifest.")
        }
        let manifest = try Manifest(contentsOf: URL(fileURLWithPath: settings.path))
        let names = Set(manifest.entries.compactMap(\.split))
        var (train, held): (Manifest, Manifest?)
        if names.contains("train") {
            train = try manifest.split(named: "train")
            let name = ["validation", "val", "valid"].first(where: names.contains)
            held = try name.map { try manifest.split(named: $0) }
        } else {
            let parts = try manifest.split(validationFraction: settings.validationShare, seed: seed)
            (train, held) = (parts.training, parts.validation.entries.isEmpty ? nil : parts.validation)
        }
        isOverfitting = limit != nil
        if let limit {
            train.entries = Array(train.entries.prefix(limit))
            held = nil
        }
        if let measured = held?.entries.prefix(settings.validationLimit) { held?.entries = Array(measured) }
        func clips(_ manifest: Manifest, _ name: String, start: ClipSampling.Start) throws -> DatasetClips {
            let sampling = ClipSampling(
                frameCount: settings.frames, width: settings.size[1], height: settings.size[0],
                frameRate: settings.frameRate, start: start)
            let cache = try cacheFolder.map {
                try PackedFrameCache.open(
                    $0.appendingPathComponent("\(name).frames"), manifest: manifest, sampling: sampling,
                    shouldStop: shouldStop, progress: progress)
            }
            return try DatasetClips(VideoDataset(manifest, sampling: sampling, seed: seed, cache: cache))
        }
        let training = try clips(train, "train", start: randomCuts ? .random : .first)
        self.training = training
        validation =
            isOverfitting
            ? training : try held.flatMap { $0.entries.isEmpty ? nil : try clips($0, "validation", start: .first) }
    }
}
