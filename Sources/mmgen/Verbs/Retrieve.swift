import ArgumentParser
import Checkpoints
import Datasets
import Foundation
import JSON
import Media
import Tensors
import Understanding

/// `mmgen retrieve`
struct Retrieve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find pictures or clips by texts, texts by pictures, or what looks alike.",
        discussion: """
            A query is a text in quotes, or the path of a picture or clip. What is searched is a folder, manifest or shards, \
            or a .txt file with a text a line. With --index the embeddings are kept: the next search reads files only that \
            are new or have changed.

              mmgen retrieve "a red ball" --in photos/ --model clip/ --index photos.index
              mmgen retrieve photo.jpg --in captions.txt --model clip/
              mmgen retrieve photo.jpg --in photos/ --model clip/ --top 10
            """)

    @Argument(help: ArgumentHelp("Texts in quotes, or files of pictures or clips.", valueName: "query"))
    var queries: [String]

    @Option(
        name: .customLong("in"),
        help: ArgumentHelp(
            "What is searched: a folder, a manifest, shards, or a .txt file of texts.", valueName: "path"))
    var collection: String

    @Option(
        name: .long,
        help: ArgumentHelp("A folder that keeps the embeddings between searches.", valueName: "dir"))
    var index: String?

    @Option(name: .long, help: ArgumentHelp("How many are found for each query.", valueName: "n"))
    var top: Int = 5

    @OptionGroup(title: "Model") var embedding: EmbeddingOptions
    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top must be at least 1, but is \(top).") }
        guard !queries.isEmpty else { throw ValidationError("Give at least one query.") }
    }

    func run() throws {
        let console = printing.console
        let model = try embedding.load()
        let (index, failed, total) = try searched(model, console)
        guard !index.items.isEmpty else { throw VerbError("\(collection) holds nothing that could be read.") }
        var results: [JSONValue] = []
        for query in queries {
            let found = index.matches(try self.query(query, model, console), count: top)[0]
            if queries.count > 1 { console.result("\(query):") }
            for match in found { console.result(String(format: "%.3f  ", match.similarity) + match.item.name) }
            results.append([
                "query": .string(query),
                "found": .array(
                    found.map { ["name": .string($0.item.name), "similarity": .number($0.similarity)] }),
            ])
        }
        if console.isJSON {
            var report: JSONObject = ["searched": .integer(index.items.count), "results": .array(results)]
            if let path = self.index { report["index"] = .string(path) }
            print(JSONValue.object(report).serialized(pretty: true), terminator: "")
        }
        if failed > 0 { throw PartlyDone(failed: failed, total: total) }
    }

    /// The embedding of a query, `[1, width]`.
    private func query(_ query: String, _ model: EmbeddingModel, _ console: Console) throws -> Tensor {
        let kind = (query as NSString).pathExtension.lowercased()
        var isFolder: ObjCBool = false
        let isThere = FileManager.default.fileExists(atPath: query, isDirectory: &isFolder)
        // A text may happen to be a folder's name, or that of a file without an ending.
        if !isThere || isFolder.boolValue || kind.isEmpty {
            guard !Manifest.mediaExtensions.contains(kind) else { throw VerbError("There is no file \(query).") }
            if let note = model.noteOnLength(of: [query]) { console.note(note) }
            return try model.embed(texts: [query])
        }
        return try model.embed([model.prepare(MediaSource(URL(fileURLWithPath: query)))])
    }

    /// The embeddings of what is searched, as far as they are known; new ones are computed and kept.
    private func searched(
        _ model: EmbeddingModel, _ console: Console
    ) throws -> (index: RetrievalIndex, failed: Int, total: Int) {
        if let index, !RetrievalIndex.exists(at: index) {
            try OutputPlan.requireFolder(of: index)
            guard !FileManager.default.fileExists(atPath: index) else {
                throw VerbError(
                    "\(index) is there already and holds no index (index.json); name a folder that is not there yet.")
            }
        }
        let identity = try index == nil ? "" : model.identity()
        let known = try index.flatMap { RetrievalIndex.exists(at: $0) ? try RetrievalIndex(contentsOf: $0) : nil }
        if let index, let known, known.model != identity {
            throw VerbError(
                "\(index) holds the embeddings of another model; name another folder, or remove it to have it made anew."
            )
        }
        let places = Dictionary(
            (known?.items ?? []).enumerated().map { ($0.element, $0.offset) }, uniquingKeysWith: { first, _ in first })
        var fresh: [RetrievalIndex.Item: Tensor] = [:]
        var failed = 0
        let items: [RetrievalIndex.Item]
        if (collection as NSString).pathExtension.lowercased() == "txt" {
            items = try PromptOptions.read(collection).map { RetrievalIndex.Item(name: $0) }
            let new = items.filter { places[$0] == nil }
            if let note = model.noteOnLength(of: new.map(\.name)) { console.note(note) }
            if !new.isEmpty {
                let rows = try model.embed(texts: new.map(\.name), batch: embedding.batch)
                for (row, item) in new.enumerated() { fresh[item] = rows.sliced(0, row..<row + 1) }
            }
        } else {
            let inputs = try SightInputs([collection]).inputs
            items = inputs.map { RetrievalIndex.Item(name: $0.name, stamp: $0.stamp) }
            let new = zip(inputs, items).filter { places[$1] == nil }.map(\.0)
            failed = try SightInputs.forEachBatch(new, model, batch: embedding.batch, console) { some, rows in
                for (row, input) in some.enumerated() {
                    fresh[RetrievalIndex.Item(name: input.name, stamp: input.stamp)] = rows.sliced(0, row..<row + 1)
                }
            }
        }
        let kept = items.filter { places[$0] != nil || fresh[$0] != nil }
        let rows = kept.compactMap { item in fresh[item] ?? places[item].flatMap { known?.embedding($0) } }
        var result = RetrievalIndex(model: identity, width: rows.first?.shape[1] ?? known?.width ?? 1)
        if !rows.isEmpty { result.add(kept, embeddings: concatenated(rows)) }
        if let index, result.items != known?.items {
            try result.write(to: index)
            console.result("\(index)  \(kept.count) embeddings, \(fresh.count) of them new")
        }
        return (result, failed, items.count)
    }
}
