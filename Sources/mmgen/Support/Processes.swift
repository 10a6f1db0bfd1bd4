import Distributed
import Foundation
import JSON
import Synchronization
import Tensors

/// The processes that a launcher started to work on one command.
enum Processes {
    private static let met = Mutex<ProcessGroup?>(nil)

    /// The others, as far as this process has met them.
    static var group: ProcessGroup? { met.withLock { $0 } }

    /// Whether another process speaks and writes for this one.
    static var isFollower: Bool { group.map { !$0.isLeader } ?? false }

    /// Meets the others, and divides the machine's cores among those that run on it.
    ///
    /// - Parameter threads: how many this process computes on; its share if `nil`.
    static func meet(threads: Int?) throws -> ProcessGroup {
        if let group { return group }
        let group = try ProcessGroup.launched()
        if group.size > 1 || ProcessGroup.isLaunched { met.withLock { $0 = group } }
        let share = try group.threadShare(of: Threads.count)
        if threads != nil || group.size > 1 { Threads.count = threads ?? share }
        return group
    }

    /// What a message begins with.
    static var name: String { group.map { $0.size > 1 ? "mmgen: rank \($0.rank): " : "mmgen: " } ?? "mmgen: " }

    /// Lets the leader speak first: what all processes stumble over is said once.
    static func letLeaderSpeak() {
        if isFollower { Thread.sleep(forTimeInterval: 0.5) }
    }

    /// Ends the processes of the command, this one last.
    static func abort(code: Int32) { group?.abort(code: code) }

    /// Gives a recipe that does not say how many passes a step has one for each process, or as few more as divide a step's
    /// items.
    static func sharePasses(_ recipe: inout JSONObject, batchSize standard: Int) throws {
        guard let group, group.size > 1 else { return }
        var training = recipe["training"]?.objectValue ?? JSONObject()
        guard training["accumulation"] == nil else { return }
        let batch = training["batch_size"]?.integerValue ?? standard
        guard batch > 0 else { return }
        guard let passes = (group.size...max(group.size, batch)).first(where: { batch % $0 == 0 }) else {
            throw VerbError(
                "\(group.size) processes cannot share steps of \(batch) clips, of which each needs one at least; raise "
                    + "training.batch_size or start fewer.")
        }
        training["accumulation"] = .integer(passes)
        recipe["training"] = .object(training)
    }
}
