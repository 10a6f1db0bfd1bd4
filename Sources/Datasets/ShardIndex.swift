import Checkpoints
import Foundation

/// A thing of a data set that cannot be used, and why.
public struct DataProblem: Sendable, Hashable {
    /// The file, or the member of an archive.
    public var item: String
    /// One sentence.
    public var reason: String

    /// Names a problem.
    public init(item: String, reason: String) {
        self.item = item
        self.reason = reason
    }
}

/// What a shard, a tar archive, holds and where: made by one walk over its headers, and kept in a file if there is a folder
/// for it.
struct ShardIndex: Sendable, Equatable {
    struct Member: Sendable, Equatable {
        var name: String
        var range: Range<Int>
        /// The content of captions and descriptions; media stay where they are.
        var text: [UInt8]?
    }

    var members: [Member] = []
    var problems: [DataProblem] = []

    /// The longest caption or description, in bytes.
    static let maximumTextBytes = 1 << 20
    private static let maximumNameBytes = 4096

    /// Reads the index of a shard: from `folder` when it was made of this very file, from the shard otherwise.
    ///
    /// - Throws: ``DatasetError`` with code `.notFound` for a shard that cannot be opened; damage inside is a problem.
    static func read(_ shard: URL, keptIn folder: URL?) throws -> ShardIndex {
        let file = try PositionedFile(shard)
        let kept = folder.map { ShardIndexFile(folder: $0, shard: shard.path, stamp: file.stamp) }
        if let index = kept?.read() { return index }
        let index = walk(file)
        kept?.write(index)
        return index
    }

    private static func walk(_ file: PositionedFile) -> ShardIndex {
        var index = ShardIndex()
        do {
            var walk = TarWalk(byteCount: file.byteCount, archive: file.path) { try file.bytes($0, $1) }
            while let member = try walk.next() {
                if member.isFolder { continue }
                if let reason = fault(of: member) {
                    index.problems.append(
                        DataProblem(
                            item: "\(file.path):\(printable(member.name))",
                            reason: "The member at byte \(member.position) is \(reason)."))
                    continue
                }
                var known = Member(name: plain(member.name), range: member.range)
                if SampleMember.isText(known.name), member.range.count <= maximumTextBytes {
                    known.text = try file.bytes(member.range.lowerBound, member.range.count)
                }
                index.members.append(known)
            }
            if !walk.hasEndMark {
                index.problems.append(
                    DataProblem(
                        item: file.path,
                        reason: "The tar archive ends at byte \(file.byteCount) without an end mark: it may be cut off."
                    ))
            }
        } catch {
            index.problems.append(DataProblem(item: file.path, reason: error.localizedDescription))
        }
        return index
    }

    /// Why a member is not used, as the end of a sentence; `nil` when it is.
    private static func fault(of member: TarMember) -> String? {
        if let kind = member.unusual { return "\(kind); only plain files are read" }
        let name = member.name
        if name.utf8.count > maximumNameBytes {
            return "named in \(name.utf8.count) bytes; \(maximumNameBytes) are allowed"
        }
        if name.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) {
            return "named with control characters"
        }
        let parts = plain(name).split(separator: "/", omittingEmptySubsequences: false)
        if name.hasPrefix("/") || parts.contains("..") || parts.contains("") {
            return "named like a path that leads out of its folder; names must be plain and relative"
        }
        return nil
    }

    /// The name without the `./` that archives of a folder's content begin theirs with.
    private static func plain(_ name: String) -> String {
        name.hasPrefix("./") ? String(name.dropFirst(2)) : name
    }

    private static func printable(_ name: String) -> String {
        String(
            String.UnicodeScalarView(
                name.unicodeScalars.prefix(200).map { $0.value < 32 || $0.value == 127 ? "?" : $0 }))
    }
}
