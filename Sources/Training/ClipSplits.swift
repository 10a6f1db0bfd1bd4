import Checkpoints
import Datasets
import Foundation
import JSON
import Tensors

/// The training and validation clips that settings name.
public struct ClipSplits: Sendable {
    /// What is learned from.
    public let training: DatasetClips
    /// What is measured on; `nil` when nothing is held out.
    public let validation: DatasetClips?
    /// Whether it is measured on what it learns from.
    public let isOverfitting: Bool
    /// What was left out, and why.
    public let skipped: [DataProblem]
    /// What a person should know about the data, a sentence each.
    public let notes: [String]

    /// The file that names what was left out, in the run's folder.
    public static let skippedName = "skipped.jsonl"

    /// Opens the data.
    ///
    /// Splits named `train` and `validation` (or `val`) in the manifest are used; otherwise a share is held out by a hash of
    /// each entry. Every file is decoded once, before anything is learned, and the frames are kept in one file. Files that
    /// cannot be decoded, or not wholly, are an error or are left out, as the settings say; what is left out is named in
    /// ``skippedName``, and what is visited when is a function of what is left.
    ///
    /// - Parameters:
    ///   - settings: path, size, frames.
    ///   - seed: of random cuts and of the split.
    ///   - cacheFolder: where decoded frames and indexes of shards are kept: the run's folder; `nil`: nothing is written, and
    ///     files are decoded as they are needed.
    ///   - randomCuts: whether longer clips are cut at random places in training.
    ///   - limit: when given, so many clips are learned from, and measured on.
    ///   - shouldStop: asked before each file that is decoded.
    ///   - progress: called with the number of files decoded and their number.
    /// - Throws: ``TrainingError`` with code `.invalidData` for files that cannot be used, ``DatasetError``.
    public init(
        _ settings: DataSettings, seed: UInt64, cacheFolder: URL?, randomCuts: Bool, limit: Int? = nil,
        shouldStop: () -> Bool = { false }, progress: (@Sendable (Int, Int) -> Void)? = nil
    ) throws {
        guard !settings.path.isEmpty else {
            throw TrainingError(.invalidConfiguration, "No data was named: give a folder of clips or a manifest.")
        }
        let shared =
            cacheFolder == nil || settings.cacheFolder.isEmpty
            ? nil : URL(fileURLWithPath: settings.cacheFolder, isDirectory: true)
        if let shared { try Self.make(shared) }
        let manifest = try Manifest(
            contentsOf: URL(fileURLWithPath: settings.path), onError: settings.errorRule,
            indexFolder: (shared ?? cacheFolder)?.appendingPathComponent("shards"))
        var parts = try Self.parts(manifest, settings, seed: seed)
        isOverfitting = limit != nil
        if let limit {
            parts.training.entries = Array(parts.training.entries.prefix(limit))
            parts.validation = nil
        }
        var problems = manifest.problems
        var notes: [String] = []
        func clips(_ manifest: Manifest, _ name: String, start: ClipSampling.Start) throws -> DatasetClips? {
            let sampling = ClipSampling(
                frameCount: settings.frames, width: settings.size[1], height: settings.size[0],
                frameRate: settings.frameRate, start: start)
            guard let place = shared ?? cacheFolder?.appendingPathComponent("\(name).frames") else {
                return try DatasetClips(VideoDataset(manifest, sampling: sampling, seed: seed))
            }
            let cache = try PackedFrameCache.open(
                place, manifest: manifest, sampling: sampling, byteLimit: settings.cacheBytes,
                workers: min(Threads.count, 16), shouldStop: shouldStop, progress: progress)
            let held = cache.held
            if held.entries + cache.problems.count < manifest.entries.count {
                notes.append(
                    "the frames of \(held.entries) of \(manifest.entries.count) \(name) clips are kept "
                        + "(\(ByteSize.text(held.bytes)), data.cache_bytes is \(ByteSize.text(settings.cacheBytes))); the "
                        + "others are decoded whenever they are needed.")
            }
            let broken = Set(cache.problems.map(\.place))
            problems += cache.problems.map { DataProblem(item: manifest.entries[$0.place].name, reason: $0.reason) }
            let sound = manifest.entries.indices.filter { !broken.contains($0) }
            var left = manifest
            left.entries = sound.map { manifest.entries[$0] }
            guard !left.entries.isEmpty else { return nil }
            return try DatasetClips(
                VideoDataset(left, sampling: sampling, seed: seed, cache: cache.restricted(to: sound)))
        }
        let training = try clips(parts.training, "train", start: randomCuts ? .random : .first)
        validation =
            isOverfitting
            ? training
            : try parts.validation.flatMap {
                $0.entries.isEmpty ? nil : try clips($0, "validation", start: .first)
            }
        skipped = problems
        self.notes = notes
        if settings.errorRule == .stop || training == nil, let error = Self.refusal(problems, of: manifest, settings) {
            throw error
        }
        guard let training else { throw TrainingError(.invalidData, "\(settings.path): there is nothing to train on.") }
        self.training = training
        if let cacheFolder {
            try Self.write(problems, to: cacheFolder.appendingPathComponent(Self.skippedName).path)
        }
    }

    /// What is learned from and what is held out.
    private static func parts(
        _ manifest: Manifest, _ settings: DataSettings, seed: UInt64
    ) throws -> (training: Manifest, validation: Manifest?) {
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
        if let measured = held?.entries.prefix(settings.validationLimit) { held?.entries = Array(measured) }
        return (train, held)
    }

    private static func refusal(
        _ problems: [DataProblem], of manifest: Manifest, _ settings: DataSettings
    ) -> TrainingError? {
        guard !problems.isEmpty else { return nil }
        let shown = problems.prefix(5).map { "\($0.item): \($0.reason)" }.joined(separator: " ")
        return TrainingError(
            .invalidData,
            "\(problems.count) of \(manifest.entries.count) clips of \(settings.path) cannot be used. \(shown)"
                + "\(problems.count > 5 ? " ..." : "") 'mmgen data check' names all; data.on_error=skip leaves them out."
        )
    }

    /// Names what was left out, a JSON object a line; no file when nothing was.
    private static func write(_ problems: [DataProblem], to path: String) throws {
        guard !problems.isEmpty else {
            unlink(path)
            return
        }
        let lines = problems.map { problem in
            JSONValue.object(["item": .string(problem.item), "reason": .string(problem.reason)]).serialized() + "\n"
        }
        try AtomicFile.write(lines.joined(), to: path)
    }

    private static func make(_ folder: URL) throws {
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        } catch {
            throw TrainingError(
                .invalidConfiguration, "data.cache_folder \(folder.path) cannot be made: \(error.localizedDescription)")
        }
    }
}
