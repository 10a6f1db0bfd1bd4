import Foundation

extension UnderstandingDataset {
    /// Questions about pictures, from whatever holds them: lines (`.jsonl`), a document of VQA v2 (`.json`), or a folder of
    /// such documents.
    ///
    /// The annotations of `v2_OpenEnded_mscoco_val2014_questions.json` are `v2_mscoco_val2014_annotations.json`, if that is
    /// there, and the pictures `COCO_val2014_#.jpg` in `val2014`, `images/val2014`, `images` or the folder itself. The field
    /// `split` is `train`, `validation` or `test` by the name.
    ///
    /// - Parameter checksFiles: whether every picture has to be there.
    /// - Throws: ``DatasetError``, as ``lines(_:checksFiles:)`` and
    ///   ``vqa(questions:annotations:images:fileName:checksFiles:)``.
    public static func questions(_ url: URL, checksFiles: Bool = true) throws -> UnderstandingDataset {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            throw DatasetError(.notFound, "There is no file \(url.path).")
        }
        guard isFolder.boolValue else {
            return url.pathExtension.lowercased() == "json"
                ? try document(url, checksFiles: checksFiles) : try lines(url, checksFiles: checksFiles)
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
        let documents = names.filter { $0.hasSuffix("_questions.json") }.sorted()
        guard !documents.isEmpty else {
            throw DatasetError(
                .empty, "\(url.path) holds no questions; documents of VQA v2 end with _questions.json.")
        }
        let samples = try documents.flatMap {
            try document(url.appendingPathComponent($0), checksFiles: checksFiles).samples
        }
        return try UnderstandingDataset(samples: samples, source: url, checksFiles: false)
    }

    /// The parts of COCO that questions are asked about, and what they are for.
    private static let splits = [
        "train2014": "train", "val2014": "validation", "test2015": "test", "test-dev2015": "test",
    ]

    private static func document(_ url: URL, checksFiles: Bool) throws -> UnderstandingDataset {
        let (folder, name) = (url.deletingLastPathComponent(), url.lastPathComponent)
        let parts = name.split(separator: "_").map(String.init)
        guard let part = parts.first(where: { splits[$0] != nil }) else {
            throw DatasetError(
                .malformed,
                "\(url.path) does not say of which pictures it asks; its name has to hold one of "
                    + "\(splits.keys.sorted().joined(separator: ", ")), as v2_OpenEnded_mscoco_val2014_questions.json does."
            )
        }
        func existing(_ paths: [String]) -> URL? {
            paths.map { $0.isEmpty ? folder : folder.appendingPathComponent($0) }.first {
                FileManager.default.fileExists(atPath: $0.path)
            }
        }
        let plain = parts.filter { !["OpenEnded", "MultipleChoice"].contains($0) }.joined(separator: "_")
        let annotations = existing(
            [plain, name].map { $0.replacing("questions", with: "annotations") }.filter { $0 != name })
        let pictures = part.replacing("-dev", with: "")
        var result = try vqa(
            questions: url, annotations: annotations,
            images: existing([pictures, "images/\(pictures)", "images", ""]) ?? folder,
            fileName: { coco("COCO_\(pictures)_", $0) }, checksFiles: checksFiles)
        for index in result.samples.indices { result.samples[index].fields["split"] = splits[part] }
        return result
    }
}
