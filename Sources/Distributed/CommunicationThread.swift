import Foundation

/// The one thread that exchanges data: it does so while others compute, and MPI is spared a lock.
final class CommunicationThread: @unchecked Sendable {
    private let condition = NSCondition()
    private var jobs: [(any Transport) -> Void] = []
    private var isClosed = false
    private var abortCode: Int32?
    private var failure: (any Error)?
    private let ended = DispatchSemaphore(value: 0)

    /// Starts the thread; `open` is called in it.
    ///
    /// - Throws: what `open` throws.
    static func start(
        _ open: @escaping @Sendable () throws -> any Transport
    ) throws -> (thread: CommunicationThread, rank: Int, size: Int) {
        let result = CommunicationThread()
        let opened = Pending<(Int, Int)>()
        let thread = Thread {
            do {
                let transport = try open()
                transport.shouldAbort = { result.condition.withLock { result.abortCode } }
                opened.resolve(.success((transport.rank, transport.size)))
                result.serve(transport)
            } catch {
                opened.resolve(.failure(error))
            }
            result.ended.signal()
        }
        thread.stackSize = 8 << 20
        thread.name = "communication"
        thread.start()
        let (rank, size) = try opened.wait()
        return (result, rank, size)
    }

    private func serve(_ transport: any Transport) {
        while true {
            condition.lock()
            while jobs.isEmpty, !isClosed, abortCode == nil { condition.wait() }
            let (code, job) = (abortCode, jobs.isEmpty ? nil : jobs.removeFirst())
            condition.unlock()
            if let code { transport.abort(code: code) }
            guard let job else { return }
            job(transport)
        }
    }

    /// Exchanges something, after what was asked for before.
    ///
    /// - Returns: what to wait for; after a failure everything else fails in the same way.
    func run<Result>(_ body: @escaping (any Transport) throws -> Result) -> Pending<Result> {
        let pending = Pending<Result>()
        condition.withLock {
            jobs.append { [self] transport in
                pending.resolve(
                    Swift.Result {
                        if let failure { throw failure }
                        do {
                            return try body(transport)
                        } catch {
                            failure = error
                            throw error
                        }
                    })
            }
            condition.signal()
        }
        return pending
    }

    /// Ends all processes of the group; gives the launcher a few seconds to end this one.
    func abort(code: Int32) {
        condition.withLock {
            abortCode = code
            condition.signal()
        }
        _ = ended.wait(timeout: .now() + 3)
    }

    /// Ends the thread when all is done.
    func close() {
        condition.withLock {
            isClosed = true
            condition.signal()
        }
        ended.wait()
    }
}

/// A result that another thread is at work on.
public final class Pending<Value>: @unchecked Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    private var result: Result<Value, any Error>?

    func resolve(_ result: Result<Value, any Error>) {
        self.result = result
        semaphore.signal()
    }

    /// Waits for it; once.
    public func wait() throws -> Value {
        semaphore.wait()
        guard let result else { preconditionFailure("Pending: signalled without a result") }
        return try result.get()
    }
}
