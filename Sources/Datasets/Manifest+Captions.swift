import Foundation

extension Manifest {
    /// The pictures and captions of documents that data sets hand out: COCO's (`captions_train2014.json`), or lists of
    /// objects with `image` and `caption`, a text or several, as those of Flickr30k for ALBEF.
    ///
    /// Pictures lie in the document's folder, in COCO's `train2014`, or in `images` or `flickr30k-images`, beside it or its
    /// folder. Every caption is an entry, and its split is `train`, `validation` or `test` by the document's name.
    ///
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed`, `.empty`.
    static func captions(_ url: URL) throws -> [ManifestEntry] {
        let (document, folder) = (AnnotationDocument(url), url.deletingLastPathComponent())
        let dataset =
            try JSONElements(url).isList
            ? try UnderstandingDataset.albef(lists: [url], images: folder, checksFiles: false)
            : try UnderstandingDataset.cocoCaptions(annotations: url, images: folder, checksFiles: false)
        return try document.located(dataset, checksFiles: false).samples.flatMap { sample in
            sample.captions.map { ManifestEntry(url: sample.file, caption: $0, split: sample.fields["split"]) }
        }
    }

    /// The documents of COCO's captions in a folder, `nil` where there are none.
    static func captionDocuments(in folder: URL) -> [URL]? {
        let documents = AnnotationDocument.all(in: folder) { $0.hasPrefix("captions_") }.filter { $0.split != nil }
        return documents.isEmpty ? nil : documents.map(\.url)
    }
}
