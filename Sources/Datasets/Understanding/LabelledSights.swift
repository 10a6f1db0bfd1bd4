import Foundation

/// What a sample is, for models that see more than one kind of thing.
public enum SightKind: String, CaseIterable, Sendable, Hashable {
    /// A picture.
    case image
    /// A clip.
    case video
    /// A picture with depth.
    case rgbd
}

extension UnderstandingSample {
    /// What the sample is: with a depth picture `rgbd`, else by the ending of its name.
    public var kind: SightKind {
        if depth != nil { return .rgbd }
        let ending = file.pathExtension.lowercased()
        return UnderstandingDataset.FolderContent.videos.extensions.contains(ending) ? .video : .image
    }
}

extension UnderstandingDataset {
    /// How the name of a depth picture ends that lies beside its picture in a folder: `x.depth.png` belongs to `x.jpg`.
    public static let depthSuffix = ".depth.png"

    /// Pictures, clips and pictures with depth that have classes, each kind with classes of its own.
    ///
    /// - Parameters:
    ///   - url: a JSONL file (``lines(_:checksFiles:)``) whose lines have `label`, or a folder with one or more of the folders
    ///     `image`, `video` and `rgbd`. These have a folder for each class, or `train` and `val` (`validation`, `valid`) with
    ///     such folders, as ImageNet and Kinetics; depth lies beside pictures (``depthSuffix``), or all is as in SUN RGB-D.
    ///   - checksFiles: whether every file that a JSONL file names has to be there.
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed`, `.missingMedia`, `.empty`.
    public static func labelledSights(
        _ url: URL, checksFiles: Bool = true
    ) throws -> [SightKind: UnderstandingDataset] {
        guard isFolder(url) else {
            guard url.pathExtension.lowercased() == "jsonl" else {
                throw DatasetError(
                    .malformed,
                    "\(url.path) is neither a folder nor a .jsonl file of pictures, clips and pictures with depth.")
            }
            return try byKind(lines(url, checksFiles: checksFiles))
        }
        var result: [SightKind: UnderstandingDataset] = [:]
        for kind in SightKind.allCases {
            let folder = url.appendingPathComponent(kind.rawValue)
            if isFolder(folder) { result[kind] = try parts(of: folder, kind) }
        }
        guard !result.isEmpty else {
            throw DatasetError(.empty, "The folder \(url.path) has none of the folders image, video and rgbd.")
        }
        return result
    }

    private static func byKind(_ dataset: UnderstandingDataset) throws -> [SightKind: UnderstandingDataset] {
        if let silent = dataset.samples.first(where: { $0.label == nil }) {
            throw DatasetError(
                .malformed,
                "\(dataset.source.path): \(silent.file.lastPathComponent) (\(silent.identity)) has no 'label'.")
        }
        var result: [SightKind: UnderstandingDataset] = [:]
        for kind in SightKind.allCases {
            let own = dataset.samples.filter { $0.kind == kind }
            guard !own.isEmpty else { continue }
            let labels = Set(own.compactMap(\.label)).sorted()
            result[kind] = try UnderstandingDataset(
                samples: own.map { sample in
                    var sample = sample
                    sample.label = sample.label.flatMap { labels.firstIndex(of: $0) }
                    return sample
                }, classes: labels.map { dataset.classes[$0] }, source: dataset.source, checksFiles: false)
        }
        return result
    }

    /// One kind's folder, with its parts if it has any.
    private static func parts(of folder: URL, _ kind: SightKind) throws -> UnderstandingDataset {
        let train = folder.appendingPathComponent("train")
        guard isFolder(train) else { return try classes(of: folder, kind) }
        var result = try classes(of: train, kind)
        for place in result.samples.indices { result.samples[place].fields["split"] = "train" }
        result.source = folder
        let names = ["validation", "val", "valid"]
        guard let held = names.map(folder.appendingPathComponent).first(where: isFolder) else { return result }
        let other = try classes(of: held, kind, allowsEmptyClasses: true)
        let numbers = try other.classes.map { name in
            guard let number = result.classes.firstIndex(of: name) else {
                throw DatasetError(.malformed, "\(held.path) has a class \(name) that \(train.path) does not have.")
            }
            return number
        }
        for var sample in other.samples {
            sample.label = sample.label.map { numbers[$0] }
            sample.fields["split"] = "validation"
            result.samples.append(sample)
        }
        return result
    }

    private static func classes(
        of folder: URL, _ kind: SightKind, allowsEmptyClasses: Bool = false
    ) throws -> UnderstandingDataset {
        guard kind == .rgbd else {
            return try classFolders(
                folder, content: kind == .video ? .videos : .pictures, allowsEmptyClasses: allowsEmptyClasses)
        }
        if try walk(folder, "").contains(where: { $0.hasSuffix("/scene.txt") }) { return try depthPairs(folder) }
        var result = try classFolders(folder, content: .pictures, allowsEmptyClasses: allowsEmptyClasses)
        result.samples = try result.samples.filter { !$0.file.path.hasSuffix(depthSuffix) }.map { sample in
            var sample = sample
            sample.depth = try depth(beside: sample.file)
            return sample
        }
        return result
    }

    private static func depth(beside file: URL) throws -> URL {
        let url = URL(fileURLWithPath: file.deletingPathExtension().path + depthSuffix)
        guard FileManager.default.fileExists(atPath: url.path) else {
            throw DatasetError(.missingMedia, "\(file.path) has no depth beside it (\(url.lastPathComponent)).")
        }
        return url
    }
}
