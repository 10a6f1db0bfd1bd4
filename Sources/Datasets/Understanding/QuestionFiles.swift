import Foundation

extension UnderstandingDataset {
    /// Questions about pictures, from whatever holds them: lines (`.jsonl`), a document of VQA v2 or of GQA (`.json`), or a
    /// folder of such documents.
    ///
    /// VQA v2's have the name of their pictures in theirs: the annotations of `v2_OpenEnded_mscoco_val2014_questions.json`
    /// are `v2_mscoco_val2014_annotations.json`, if that is there, and the pictures `COCO_val2014_#.jpg` in `val2014`,
    /// `images/val2014`, `images` or the folder itself. Others are GQA's, `val_balanced_questions.json` with `images` beside
    /// them or their folder. The field `split` is `train`, `validation` or `test` by the name.
    ///
    /// - Parameter checksFiles: whether every picture has to be there.
    /// - Throws: ``DatasetError``, as ``lines(_:checksFiles:)``,
    ///   ``vqa(questions:annotations:images:fileName:checksFiles:)`` and ``gqa(questions:images:checksFiles:)``.
    public static func questions(_ url: URL, checksFiles: Bool = true) throws -> UnderstandingDataset {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            throw DatasetError(.notFound, "There is no file \(url.path).")
        }
        guard isFolder.boolValue else {
            return url.pathExtension.lowercased() == "json"
                ? try document(AnnotationDocument(url), checksFiles: checksFiles)
                : try lines(url, checksFiles: checksFiles)
        }
        let documents = AnnotationDocument.all(in: url) { $0.hasSuffix("_questions.json") }
        guard !documents.isEmpty else {
            throw DatasetError(
                .empty, "\(url.path) holds no questions; documents of VQA v2 and GQA end with _questions.json.")
        }
        let samples = try documents.flatMap { try document($0, checksFiles: checksFiles).samples }
        return try UnderstandingDataset(samples: samples, source: url, checksFiles: false)
    }

    private static func document(_ document: AnnotationDocument, checksFiles: Bool) throws -> UnderstandingDataset {
        let (folder, name) = (document.url.deletingLastPathComponent(), document.url.lastPathComponent)
        guard document.split != nil else {
            throw DatasetError(
                .malformed,
                "\(document.url.path) does not say of which pictures it asks; its name has to hold a word such as "
                    + "train2014 (VQA v2, as v2_OpenEnded_mscoco_val2014_questions.json) or train (GQA, as "
                    + "val_balanced_questions.json)."
            )
        }
        guard let pictures = document.part else {
            let dataset = try gqa(questions: document.url, images: folder, checksFiles: false)
            return try document.located(dataset, checksFiles: checksFiles)
        }
        let plain = document.words.filter { !["OpenEnded", "MultipleChoice"].contains($0) }.joined(separator: "_")
        let annotations = [plain + ".json", name].lazy.map { $0.replacing("questions", with: "annotations") }
            .filter { $0 != name }.compactMap(document.sibling).first
        let dataset = try vqa(
            questions: document.url, annotations: annotations, images: folder,
            fileName: { coco("COCO_\(pictures)_", $0) }, checksFiles: false)
        return try document.located(dataset, checksFiles: checksFiles)
    }
}
