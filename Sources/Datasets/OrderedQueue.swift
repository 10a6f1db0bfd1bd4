import Foundation

/// Hands out numbered jobs and gives their results back in order, holding at most `capacity` of them.
///
/// The one place of this library with a lock and a condition; everything else is a value or confined to a thread.
final class OrderedQueue<Value: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private let capacity: Int
    private var results: [Int: Value] = [:]
    private var nextClaim: Int
    private var nextTake: Int
    private var isStopped = false

    /// Creates a queue whose first job has the number `first`.
    init(capacity: Int, first: Int = 0) {
        self.capacity = max(1, capacity)
        nextClaim = first
        nextTake = first
    }

    /// The next job's number; waits while the queue is full; `nil` when stopped or `limit` is reached.
    func claim(limit: Int) -> Int? {
        condition.lock()
        defer { condition.unlock() }
        while !isStopped, nextClaim < limit, nextClaim - nextTake >= capacity { condition.wait() }
        guard !isStopped, nextClaim < limit else { return nil }
        nextClaim += 1
        return nextClaim - 1
    }

    /// Delivers a job's result.
    func put(_ value: Value, at number: Int) {
        condition.lock()
        results[number] = value
        condition.broadcast()
        condition.unlock()
    }

    /// The next result in order; waits for it; `nil` when stopped.
    func take() -> Value? {
        condition.lock()
        defer { condition.unlock() }
        while !isStopped, results[nextTake] == nil { condition.wait() }
        guard !isStopped, let value = results.removeValue(forKey: nextTake) else { return nil }
        nextTake += 1
        condition.broadcast()
        return value
    }

    /// Ends all waiting.
    func stop() {
        condition.lock()
        isStopped = true
        results.removeAll()
        condition.broadcast()
        condition.unlock()
    }
}

/// Threads that run one closure each and can be waited for.
///
/// Plain threads and not tasks: decoding blocks, and must not take the threads that concurrency runs on.
final class WorkerThreads: Sendable {
    private let group = DispatchGroup()

    init(count: Int, _ body: @escaping @Sendable () -> Void) {
        for _ in 0..<count {
            group.enter()
            let thread = Thread { [group] in
                body()
                group.leave()
            }
            thread.stackSize = 4 << 20
            thread.start()
        }
    }

    /// Waits until all have ended.
    func join() { group.wait() }
}
