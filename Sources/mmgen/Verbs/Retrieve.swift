import ArgumentParser
import Checkpoints
import Datasets
import Foundation
import JSON
import Media
import Tensors
import Transforms
import Understanding

/// `mmgen retrieve`
struct Retrieve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find pictures or clips by texts, texts by pictures, or what looks alike.",
        discussion: """
            A query is a text in quotes, or the path of a picture or clip. What is searched is a folder, manifest or shards, \
            or a .txt file with a text a line. With --index the embeddings are kept: the next search reads files only that \
            are new or have changed.

            A model that also reads a picture and a text together (an ALBEF, or a FLAVA with its heads) can put the nearest \
            in order by that; their files are read again for it.

              mmgen retrieve "a red ball" --in photos/ --model clip/ --index photos.index
              mmgen retrieve photo.jpg --in captions.txt --model clip/
              mmgen retrieve photo.jpg --in photos/ --model clip/ --top 10
              mmgen retrieve "a red ball" --in photos/ --model albef/ --rerank 64
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

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How many of the nearest are read together with the query and put in order by that; 0: none. Left out, 16 with "
                + "an ALBEF and 0 with others.", valueName: "n"))
    var rerank: Int?

    @OptionGroup(title: "Model") var embedding: EmbeddingOptions
    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func validate() throws {
        guard top >= 1 else { throw ValidationError("--top must be at least 1, but is \(top).") }
        guard (rerank ?? 0) >= 0 else { throw ValidationError("--rerank must be at least 0, but is \(rerank ?? 0).") }
        guard !queries.isEmpty else { throw ValidationError("Give at least one query.") }
    }

    /// What is looked for.
    private enum Query {
        case text(String)
        case sight(PreparedSight)
    }

    /// What is searched.
    private struct Collection {
        let index: RetrievalIndex
        /// Where pictures and clips are read again; `nil` for texts.
        let sources: [RetrievalIndex.Item: SightInputs.Input]?
        let failed: Int
        let total: Int
    }

    func run() throws {
        let console = printing.console
        let model = try embedding.load()
        let candidates = rerank ?? model.joint?.usualCandidates ?? 0
        if candidates > 0 { try model.requireJoint() }
        let found = try searched(model, console)
        guard !found.index.items.isEmpty else { throw VerbError("\(collection) holds nothing that could be read.") }
        var (results, unread): ([JSONValue], Set<String>) = ([], [])
        for query in queries {
            let matches = try matches(query, found, model, candidates: candidates, unread: &unread, console)
            if queries.count > 1 { console.result("\(query):") }
            for match in matches {
                console.result(
                    String(format: "%.3f  ", match.similarity) + match.item.name
                        + (match.match.map { String(format: "  match %.3f", $0) } ?? ""))
            }
            results.append([
                "query": .string(query),
                "found": .array(
                    matches.map {
                        var item: JSONObject = [
                            "name": .string($0.item.name), "similarity": .number($0.similarity),
                        ]
                        if let match = $0.match { item["match"] = .number(match) }
                        return .object(item)
                    }),
            ])
        }
        if console.isJSON {
            var report: JSONObject = ["searched": .integer(found.index.items.count), "results": .array(results)]
            if let path = self.index { report["index"] = .string(path) }
            print(JSONValue.object(report).serialized(pretty: true), terminator: "")
        }
        let failed = found.failed + unread.count
        if failed > 0 { throw PartlyDone(failed: failed, total: found.total) }
    }

    /// What is found for a query, the best first.
    ///
    /// - Parameter unread: the names of files that could not be read again.
    private func matches(
        _ text: String, _ searched: Collection, _ model: EmbeddingModel, candidates: Int, unread: inout Set<String>,
        _ console: Console
    ) throws -> [RetrievalIndex.Match] {
        let progress = ProgressLine(console)
        defer { progress.clear() }
        switch (try query(text, model, console), searched.sources) {
        case (.text(let text), let sources?):
            return try searched.index.matches(model.embed(texts: [text]), count: top, candidates: candidates) { items in
                let joint = try model.reader(of: text)
                return try items.enumerated().map { number, item in
                    if Interruption.flag.isSet { throw CancellationError() }
                    defer { progress.update("\(number + 1) of \(items.count) read together with the text") }
                    do {
                        guard let source = sources[item]?.source else { return nil }
                        return try joint(model.prepare(source))
                    } catch let error where error is MediaError || error is TransformError {
                        progress.clear()
                        if unread.insert(item.name).inserted { console.failure(error, of: item.name) }
                        return nil
                    }
                }
            }
        case (.sight(let sight), nil):
            return try searched.index.matches(model.embed([sight]), count: top, candidates: candidates) {
                try model.matches($0.map(\.name), sight: sight, batch: embedding.batch)
            }
        case (let query, let sources):
            if (rerank ?? 0) > 0 {
                console.note(
                    "\(Console.shown(text)) is sought among \(sources == nil ? "texts" : "pictures or clips"), so that "
                        + "nothing is read together; similarity alone decides.")
            }
            guard case .sight(let sight) = query else {
                return try searched.index.matches(model.embed(texts: [text]), count: top)
            }
            return try searched.index.matches(model.embed([sight]), count: top)
        }
    }

    /// A query, read.
    private func query(_ query: String, _ model: EmbeddingModel, _ console: Console) throws -> Query {
        let kind = (query as NSString).pathExtension.lowercased()
        var isFolder: ObjCBool = false
        let isThere = FileManager.default.fileExists(atPath: query, isDirectory: &isFolder)
        // A text may happen to be a folder's name, or that of a file without an ending.
        if !isThere || isFolder.boolValue || kind.isEmpty {
            guard !Manifest.mediaExtensions.contains(kind) else { throw VerbError("There is no file \(query).") }
            if let note = model.noteOnLength(of: [query]) { console.note(note) }
            return .text(query)
        }
        return .sight(try model.prepare(MediaSource(URL(fileURLWithPath: query))))
    }

    /// The embeddings of what is searched, as far as they are known; new ones are computed and kept.
    private func searched(_ model: EmbeddingModel, _ console: Console) throws -> Collection {
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
        var sources: [RetrievalIndex.Item: SightInputs.Input]?
        if (collection as NSString).pathExtension.lowercased() == "txt" {
            items = try PromptOptions.read(collection).map { RetrievalIndex.Item(name: $0) }
            let new = items.filter { places[$0] == nil }
            if let note = model.noteOnLength(of: new.map(\.name)) { console.note(note) }
            if !new.isEmpty {
                let rows = try model.embed(texts: new.map(\.name), batch: embedding.batch)
                for (row, item) in new.enumerated() { fresh[item] = rows.sliced(0, row..<row + 1) }
            }
        } else {
            // A picture of several captions is there once.
            var seen: Set<String> = []
            let inputs = try SightInputs([collection]).inputs.filter { seen.insert("\($0.name)|\($0.stamp)").inserted }
            items = inputs.map { RetrievalIndex.Item(name: $0.name, stamp: $0.stamp) }
            sources = Dictionary(zip(items, inputs), uniquingKeysWith: { first, _ in first })
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
        return Collection(index: result, sources: sources, failed: failed, total: items.count)
    }
}
