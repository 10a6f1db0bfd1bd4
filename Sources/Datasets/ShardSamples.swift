import Foundation

/// The name of a shard's member, taken apart as WebDataset does: what lies before the first dot of the last component is the
/// sample's key, the rest says what the member is.
struct SampleMember {
    var key: String
    /// In lower case, without the first dot.
    var suffix: String

    /// `nil` for names that belong to no sample: without a dot, hidden, or set between double underscores.
    init?(_ name: String) {
        let bytes = Array(name.utf8)
        let start = (bytes.lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1
        guard let dot = bytes[start...].firstIndex(of: UInt8(ascii: ".")), dot > start else { return nil }
        if start == 0, name.hasPrefix("__"), name.hasSuffix("__") { return nil }
        key = String(decoding: bytes[..<dot], as: UTF8.self)
        suffix = String(decoding: bytes[(dot + 1)...], as: UTF8.self).lowercased()
    }

    /// What stands behind the last dot.
    var kind: String { suffix.split(separator: ".").last.map(String.init) ?? "" }

    static let captionKinds = ["txt", "caption", "text"]
    private static let pictureKinds = ["gif", "apng", "png", "jpg", "jpeg", "webp", "bmp"]

    /// Whether this is a caption or a description.
    static func isText(_ name: String) -> Bool {
        SampleMember(name).map { captionKinds.contains($0.kind) || $0.kind == "json" } ?? false
    }

    /// How well the member serves as the sample's clip, smaller is better; `nil` when it is neither picture nor video.
    var mediaRank: Int? {
        guard Manifest.mediaExtensions.contains(kind) else { return nil }
        return Self.pictureKinds.firstIndex(of: kind).map { $0 < 2 ? 1 : 2 } ?? 0
    }
}

extension ShardIndex {
    /// The samples: members of one key that follow each other.
    ///
    /// - Parameter shard: where the members lie.
    /// - Returns: an entry for each clip, in the shard's order, and what cannot be used.
    func samples(of shard: URL) -> (entries: [ManifestEntry], problems: [DataProblem]) {
        var entries: [ManifestEntry] = []
        var problems = problems
        var place = 0
        while place < members.count {
            guard let first = SampleMember(members[place].name) else {
                place += 1
                continue
            }
            var sample = ShardSample(key: first.key)
            while place < members.count {
                guard let part = SampleMember(members[place].name) else {
                    place += 1
                    continue
                }
                guard part.key == first.key else { break }
                sample.add(part, members[place])
                place += 1
            }
            do {
                entries += try sample.entries(of: shard)
            } catch {
                problems.append(
                    DataProblem(item: "\(shard.path):\(first.key)", reason: error.localizedDescription))
            }
        }
        return (entries, problems)
    }
}

/// What belongs to one key.
private struct ShardSample {
    let key: String
    private var media: (rank: Int, member: ShardIndex.Member)?
    private var captions: [String: ShardIndex.Member] = [:]
    private var description: ShardIndex.Member?
    private var suffixes: [String] = []
    private var repeated: String?

    init(key: String) { self.key = key }

    mutating func add(_ part: SampleMember, _ member: ShardIndex.Member) {
        if suffixes.contains(part.suffix) { repeated = repeated ?? member.name }
        suffixes.append(part.suffix)
        if let rank = part.mediaRank, media.map({ rank < $0.rank }) ?? true { media = (rank, member) }
        if SampleMember.captionKinds.contains(part.kind), captions[part.kind] == nil { captions[part.kind] = member }
        if part.kind == "json", description == nil || part.suffix == "json" { description = member }
    }

    /// One entry, or one for each of the `clips` that the description lists.
    func entries(of shard: URL) throws -> [ManifestEntry] {
        if let repeated { throw fault("The member \(repeated) is there twice.") }
        guard let media = media?.member else {
            throw fault("The sample has no picture or video, only \(suffixes.joined(separator: ", ")).")
        }
        guard !media.range.isEmpty else { throw fault("The member \(media.name) is empty.") }
        let caption = try SampleMember.captionKinds.lazy.compactMap { captions[$0] }.first.map(text)
        let described = try description.flatMap { try fields(of: $0) } ?? [:]
        let member = ArchiveMember(name: media.name, range: media.range)
        func entry(_ values: [String: Any]) throws -> ManifestEntry {
            let found = try EntryDetails(
                values.mapValues(Manifest.plainText), in: "\(shard.path):\(description?.name ?? key)")
            var entry = ManifestEntry(
                url: shard, member: member, caption: caption ?? found.caption ?? "", start: found.start,
                end: found.end, split: found.split, fields: found.rest)
            entry.hasCaption = caption != nil || found.caption != nil
            return entry
        }
        guard let clips = described["clips"] as? [[String: Any]], !clips.isEmpty else { return [try entry(described)] }
        let common = described.filter { $0.key != "clips" }
        return try clips.map { try entry(common.merging($0) { $1 }) }
    }

    private func text(_ member: ShardIndex.Member) throws -> String {
        guard let bytes = member.text else {
            throw fault(
                "The member \(member.name) has \(member.range.count) bytes; a caption has at most "
                    + "\(ShardIndex.maximumTextBytes).")
        }
        let content = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
        guard let text = String(validating: content, as: UTF8.self) else {
            throw fault("The member \(member.name) is not UTF-8 text.")
        }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The description's members; none where it is something else than an object, which is nothing to us.
    private func fields(of member: ShardIndex.Member) throws -> [String: Any]? {
        let text = Data(try text(member).utf8)
        guard let value = try? JSONSerialization.jsonObject(with: text, options: .fragmentsAllowed) else {
            throw fault("The member \(member.name) is not JSON.")
        }
        return value as? [String: Any]
    }

    private func fault(_ sentence: String) -> DatasetError { DatasetError(.malformed, sentence) }
}
