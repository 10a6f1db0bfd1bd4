import Foundation

/// A file of annotations as data sets hand them out: what its name says, and where its pictures lie.
struct AnnotationDocument {
    let url: URL
    /// What its name consists of: `v2`, `mscoco`, `val2014`, `annotations`.
    let words: [String]

    init(_ url: URL) {
        self.url = url
        words = url.deletingPathExtension().lastPathComponent.split(whereSeparator: { "_.".contains($0) })
            .map(String.init)
    }

    /// The documents of a folder that a data set's files are among, in the order of their names.
    static func all(in folder: URL, where isWanted: (String) -> Bool) -> [AnnotationDocument] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.filter { $0.lowercased().hasSuffix(".json") && isWanted($0) }.sorted().map {
            AnnotationDocument(folder.appendingPathComponent($0))
        }
    }

    private static let splits = [
        "train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test",
        "testdev": "test", "challenge": "test",
    ]

    private func letters(_ word: String) -> String { word.lowercased().prefix { $0.isLetter }.description }

    /// `train`, `validation` or `test`, if the name has a word for it.
    var split: String? { words.lazy.compactMap { Self.splits[letters($0)] }.first }

    /// The part of COCO that its pictures belong to, such as `train2014`.
    var part: String? {
        words.first { Self.splits[letters($0)] != nil && $0.contains { $0.isNumber } }?.replacing("-dev", with: "")
    }

    /// Where pictures may lie: beside the document or its folder, by COCO's name of the part or by usual ones.
    private var folders: [URL] {
        let own = url.deletingLastPathComponent()
        let names = (part.map { [$0, "images/\($0)"] } ?? []) + ["images", "flickr30k-images", "flickr30k_images"]
        return [own, own.deletingLastPathComponent()].flatMap { folder in
            names.map { folder.appendingPathComponent($0) } + [folder]
        }
    }

    /// A file beside the document.
    func sibling(_ name: String) -> URL? {
        let found = url.deletingLastPathComponent().appendingPathComponent(name)
        return FileManager.default.fileExists(atPath: found.path) ? found : nil
    }

    /// Samples whose files were named in the document's folder, with their files where the first of them is.
    ///
    /// - Throws: ``DatasetError``: `.empty`, or `.missingMedia` if every picture has to be there.
    func located(_ dataset: UnderstandingDataset, checksFiles: Bool) throws -> UnderstandingDataset {
        var samples = dataset.samples
        let own = url.deletingLastPathComponent().path + "/"
        func name(_ file: URL) -> String? { file.path.hasPrefix(own) ? String(file.path.dropFirst(own.count)) : nil }
        if let first = samples.lazy.compactMap({ name($0.file) }).first,
            let folder = folders.first(where: {
                FileManager.default.fileExists(atPath: $0.appendingPathComponent(first).path)
            })
        {
            for place in samples.indices {
                guard let name = name(samples[place].file) else { continue }
                samples[place].file = folder.appendingPathComponent(name)
            }
        }
        if let split { for place in samples.indices { samples[place].fields["split"] = split } }
        return try UnderstandingDataset(
            samples: samples, classes: dataset.classes, source: dataset.source, checksFiles: checksFiles)
    }
}

extension UnderstandingDataset {
    /// Pictures with captions and boxes, from whatever holds them: lines (`.jsonl`), a document of COCO's form with MDETR's
    /// members (`.json`), or a folder of such documents.
    ///
    /// Pictures lie in the document's folder, or in `images` or `flickr30k-images` beside it or its folder. The field `split`
    /// is `train`, `validation` or `test` by the document's name, as that of `final_flickr_separateGT_val.json`.
    ///
    /// - Parameter checksFiles: whether every picture has to be there.
    /// - Throws: ``DatasetError``, as ``lines(_:checksFiles:)`` and ``cocoBoxes(annotations:images:checksFiles:)``.
    public static func boxes(_ url: URL, checksFiles: Bool = true) throws -> UnderstandingDataset {
        func document(_ document: AnnotationDocument) throws -> UnderstandingDataset {
            let dataset = try cocoBoxes(
                annotations: document.url, images: document.url.deletingLastPathComponent(), checksFiles: false)
            return try document.located(dataset, checksFiles: checksFiles)
        }
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            throw DatasetError(.notFound, "There is no file \(url.path).")
        }
        guard isFolder.boolValue else {
            return url.pathExtension.lowercased() == "json"
                ? try document(AnnotationDocument(url)) : try lines(url, checksFiles: checksFiles)
        }
        let documents = AnnotationDocument.all(in: url) { AnnotationDocument(URL(fileURLWithPath: $0)).split != nil }
        guard !documents.isEmpty else {
            throw DatasetError(
                .empty, "\(url.path) holds no annotations: .json files whose names say train, val or test.")
        }
        return try UnderstandingDataset(
            samples: documents.flatMap { try document($0).samples }, source: url, checksFiles: false)
    }
}
