/// Batches that are read ahead of need by threads of their own and handed out in order.
///
/// Which batch has which number is the reader's affair, as a pure function: then the same batches come in the same order
/// with any number of threads, and a loader that starts at any number goes on exactly as one that came there by itself.
public final class DataLoader<Batch: Sendable> {
    private let queue: OrderedQueue<Result<Batch, any Error>>
    private let threads: WorkerThreads
    private var position: Int
    private let end: Int
    /// Seconds that ``next()`` has waited for batches so far: training stood still for as long.
    public private(set) var secondsWaited = 0.0

    /// Starts to read.
    ///
    /// - Parameters:
    ///   - numbers: of the batches, in order.
    ///   - workers: threads that read.
    ///   - ahead: batches held at most, those being read included.
    ///   - makeReader: called once in each thread; what it returns reads the batch of a number.
    public init(
        _ numbers: Range<Int>, workers: Int = 1, ahead: Int = 2,
        makeReader: @escaping @Sendable () -> (Int) throws -> Batch
    ) {
        position = numbers.lowerBound
        end = numbers.upperBound
        let queue = OrderedQueue<Result<Batch, any Error>>(capacity: ahead, first: numbers.lowerBound)
        self.queue = queue
        threads = WorkerThreads(count: max(1, workers)) {
            let read = makeReader()
            while let number = queue.claim(limit: numbers.upperBound) {
                queue.put(Result { try read(number) }, at: number)
            }
        }
    }

    deinit {
        queue.stop()
        threads.join()
    }

    /// The next batch; waits until it is read.
    ///
    /// - Precondition: the last batch has not been handed out.
    /// - Throws: what reading this batch threw; the next call goes on after it.
    public func next() throws -> Batch {
        let start = ContinuousClock.now
        defer { secondsWaited += (ContinuousClock.now - start) / .seconds(1) }
        guard position < end, let result = queue.take() else {
            preconditionFailure("DataLoader: there is no batch \(position); the last is \(end - 1)")
        }
        position += 1
        return try result.get()
    }
}
