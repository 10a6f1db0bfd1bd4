import Datasets
import Foundation
import Media
import Tensors
import Transforms
import Understanding

/// Pictures and clips that a person named: files, folders, manifests and shards.
struct SightInputs {
    /// One of them.
    struct Input {
        /// What it is called in results: the path as the person would write it.
        let name: String
        let source: MediaSource
        /// What tells whether the file has changed.
        let stamp: String
        /// What a manifest says of it.
        let entry: ManifestEntry
        /// Where names in that manifest start.
        private let folder: URL?

        init(_ entry: ManifestEntry, folder: URL? = nil) {
            self.folder = folder
            name = entry.member == nil ? entry.url.relativePath : entry.name
            source = entry.source
            self.entry = entry
            var status = stat()
            stamp =
                stat(entry.url.path, &status) == 0
                ? "\(status.st_size)-\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)-\(entry.start ?? 0)" : ""
        }

        /// Whether it is the depth of another picture, as its name says.
        var isDepth: Bool { entry.url.lastPathComponent.hasSuffix(UnderstandingDataset.depthSuffix) }

        /// The depth that a manifest names, or that lies beside it.
        var depth: URL? {
            if let name = entry.fields["depth"] {
                guard !name.hasPrefix("/"), let folder else { return URL(fileURLWithPath: name) }
                return folder.appendingPathComponent(name)
            }
            let path = entry.url.deletingPathExtension().path + UnderstandingDataset.depthSuffix
            return entry.member == nil && FileManager.default.fileExists(atPath: path)
                ? URL(fileURLWithPath: path) : nil
        }
    }

    let inputs: [Input]

    /// The endings of files that name others or hold them.
    private static let listExtensions = ["jsonl", "ndjson", "json", "csv", "tar", "txt"]

    /// Everything that some paths name, in their order.
    ///
    /// - Throws: ``DatasetError`` for a path that is not there or a manifest that is wrong.
    init(_ paths: [String]) throws {
        inputs = try paths.flatMap { path -> [Input] in
            let url = URL(fileURLWithPath: path)
            var isFolder: ObjCBool = false
            let isThere = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            let isMedia = Manifest.mediaExtensions.contains(url.pathExtension.lowercased())
            // A file of a kind that data sets do not consist of may still be a picture.
            let isList = Self.listExtensions.contains(url.pathExtension.lowercased())
            if isThere, !isFolder.boolValue, isMedia || !isList { return [Input(ManifestEntry(url: url))] }
            guard isThere || !isMedia else { throw VerbError("There is no file \(path).") }
            return try Manifest(contentsOf: url).entries.map {
                Input($0, folder: isFolder.boolValue ? url : url.deletingLastPathComponent())
            }
        }
    }

    /// Those whose split in a manifest has a name; all without one.
    ///
    /// - Throws: ``VerbError`` where there are none.
    func split(_ name: String?) throws -> [Input] {
        guard let name else { return inputs }
        let chosen = inputs.filter { $0.entry.split == name }
        guard !chosen.isEmpty else {
            let names = Set(inputs.compactMap(\.entry.split)).sorted()
            throw VerbError(
                "No input has the split '\(name)'; there are: \(names.isEmpty ? "none" : names.joined(separator: ", "))."
            )
        }
        return chosen
    }

    /// Goes through inputs, several at a time; one that cannot be read is named, and the others go on.
    ///
    /// - Parameters:
    ///   - model: prepares and embeds them.
    ///   - batch: how many are embedded at once.
    ///   - body: called with some inputs and their embeddings, in order.
    /// - Returns: how many could not be read.
    static func forEachBatch(
        _ inputs: [Input], _ model: EmbeddingModel, batch: Int, _ console: Console,
        _ body: ([Input], Tensor) throws -> Void
    ) throws -> Int {
        try forEachBatch(inputs, batch: batch, console, done: "embedded") {
            try model.prepare($0.source)
        } body: {
            try body($0, model.embed($1))
        }
    }

    /// Goes through inputs that are prepared in any way; see ``forEachBatch(_:_:batch:_:_:)``.
    static func forEachBatch<Prepared>(
        _ inputs: [Input], batch: Int, _ console: Console, done: String, prepare: (Input) throws -> Prepared,
        body: ([Input], [Prepared]) throws -> Void
    ) throws -> Int {
        let progress = ProgressLine(console)
        defer { progress.clear() }
        var failed = 0
        for start in stride(from: 0, to: inputs.count, by: batch) {
            if Interruption.flag.isSet { throw CancellationError() }
            var prepared: [(input: Input, sight: Prepared)] = []
            for input in inputs[start..<min(start + batch, inputs.count)] {
                do {
                    prepared.append((input, try prepare(input)))
                } catch let error where error is MediaError || error is TransformError {
                    progress.clear()
                    console.failure(error, of: input.name)
                    failed += 1
                }
            }
            guard !prepared.isEmpty else { continue }
            try body(prepared.map(\.input), prepared.map(\.sight))
            progress.update("\(min(start + batch, inputs.count)) of \(inputs.count) \(done)")
        }
        return failed
    }
}
