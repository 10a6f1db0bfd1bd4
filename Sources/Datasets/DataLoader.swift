import Foundation
import Tensors

/// Several samples at once.
public struct Batch: Sendable {
    /// Pixels, `[batch, frames, height, width, 3]`, `uint8`.
    public var pixels: Tensor
    /// One caption per sample.
    public var captions: [String]
    /// Each sample's place in the manifest.
    public var indices: [Int]
    /// Where this batch stands.
    public var position: BatchPosition
}

/// A place in the endless row of batches.
public struct BatchPosition: Sendable, Codable, Equatable {
    /// The epoch, from 0.
    public var epoch: Int
    /// The batch within the epoch, from 0.
    public var batch: Int

    /// Creates a position.
    public init(epoch: Int = 0, batch: Int = 0) {
        self.epoch = epoch
        self.batch = batch
    }
}

/// Batches in an order that depends on nothing but the seed and the epoch, made ahead of need by worker threads.
///
/// The same batches come in the same order with any number of workers, and a loader started at any position goes on
/// exactly as one that came there by itself. Epochs follow one another without end; ``next()`` waits for the batch.
public final class DataLoader {
    /// How batches are made.
    public struct Options: Sendable {
        /// Samples per batch.
        public var batchSize: Int
        /// Whether each epoch has an order of its own; otherwise the manifest's.
        public var shuffles: Bool
        /// Whether the last, smaller batch of an epoch is left out.
        public var dropsLast: Bool
        /// What the order is keyed by.
        public var seed: UInt64
        /// Threads that decode.
        public var workers: Int
        /// Batches made ahead.
        public var prefetch: Int
        /// This process's number among ``processCount``: of every batch it makes each `processCount`-th sample.
        public var process: Int
        /// Processes that share every batch.
        public var processCount: Int

        /// Creates options.
        public init(
            batchSize: Int, shuffles: Bool = true, dropsLast: Bool = true, seed: UInt64 = 0, workers: Int = 2,
            prefetch: Int = 4, process: Int = 0, processCount: Int = 1
        ) {
            self.batchSize = batchSize
            self.shuffles = shuffles
            self.dropsLast = dropsLast
            self.seed = seed
            self.workers = workers
            self.prefetch = prefetch
            self.process = process
            self.processCount = processCount
        }
    }

    /// What is loaded.
    public let dataset: VideoDataset
    /// How.
    public let options: Options
    /// The position of the batch that ``next()`` returns next: save it to go on from here later.
    public private(set) var position: BatchPosition
    private let queue: OrderedQueue<Result<Batch, any Error>>
    private let threads: WorkerThreads

    /// Starts the workers.
    ///
    /// - Parameters:
    ///   - dataset: what is loaded.
    ///   - options: how.
    ///   - position: where to go on.
    /// - Throws: ``DatasetError``: `.invalidArgument`, or `.empty` when an epoch would have no batch.
    public init(_ dataset: VideoDataset, options: Options, from position: BatchPosition = .init()) throws {
        guard options.batchSize >= 1, (1...64).contains(options.workers), options.prefetch >= 1,
            options.processCount >= 1, (0..<options.processCount).contains(options.process),
            options.batchSize % options.processCount == 0
        else {
            throw DatasetError(
                .invalidArgument,
                "Batches of \(options.batchSize) with \(options.workers) workers, \(options.prefetch) ahead, as process "
                    + "\(options.process) of \(options.processCount) are not possible: a batch has at least one sample and "
                    + "divides evenly among processes, workers number 1 to 64, and at least one batch is made ahead.")
        }
        let count = Self.batchCount(dataset.count, options)
        guard count > 0 else {
            throw DatasetError(
                .empty,
                "\(dataset.count) samples make no batch of \(options.batchSize); use smaller batches or keep the last one."
            )
        }
        guard position.epoch >= 0, (0...count).contains(position.batch) else {
            throw DatasetError(
                .invalidArgument,
                "There is no batch \(position.batch) in epoch \(position.epoch); an epoch has \(count) batches.")
        }
        self.dataset = dataset
        self.options = options
        let first = position.epoch * count + position.batch
        self.position = BatchPosition(epoch: first / count, batch: first % count)
        let queue = OrderedQueue<Result<Batch, any Error>>(capacity: options.prefetch, first: first)
        self.queue = queue
        threads = WorkerThreads(count: options.workers) {
            var order: (epoch: Int, places: [Int])?
            while let number = queue.claim(limit: .max) {
                let place = BatchPosition(epoch: number / count, batch: number % count)
                if order?.epoch != place.epoch {
                    order = (place.epoch, Self.order(dataset.count, options, epoch: place.epoch))
                }
                let places = order?.places ?? []
                queue.put(Result { try Self.make(dataset, options, place, places) }, at: number)
            }
        }
    }

    deinit {
        queue.stop()
        threads.join()
    }

    /// The number of batches in an epoch.
    public var batchesPerEpoch: Int { Self.batchCount(dataset.count, options) }

    /// The next batch; waits for it if it is not made yet.
    ///
    /// - Throws: ``DatasetError`` with code `.unreadableSample`, naming the file; the next call goes on after it.
    public func next() throws -> Batch {
        guard let result = queue.take() else {
            throw DatasetError(.invalidArgument, "The loader was stopped.")
        }
        position.batch += 1
        if position.batch == batchesPerEpoch { position = BatchPosition(epoch: position.epoch + 1) }
        return try result.get()
    }

    /// The samples of every batch of one epoch, without loading them.
    public func indices(epoch: Int) -> [[Int]] {
        let order = Self.order(dataset.count, options, epoch: epoch)
        return (0..<batchesPerEpoch).map { Self.members(order, options, batch: $0) }
    }

    // MARK: - Parts

    private static func batchCount(_ count: Int, _ options: Options) -> Int {
        options.dropsLast ? count / options.batchSize : (count + options.batchSize - 1) / options.batchSize
    }

    private static func order(_ count: Int, _ options: Options, epoch: Int) -> [Int] {
        options.shuffles ? shuffledOrder(count: count, seed: options.seed, epoch: epoch) : Array(0..<count)
    }

    /// The samples of one batch that this process makes: every `processCount`-th.
    private static func members(_ order: [Int], _ options: Options, batch: Int) -> [Int] {
        let begin = batch * options.batchSize
        let end = min(order.count, begin + options.batchSize)
        return stride(from: begin + options.process, to: end, by: options.processCount).map { order[$0] }
    }

    private static func make(
        _ dataset: VideoDataset, _ options: Options, _ position: BatchPosition, _ order: [Int]
    ) throws -> Batch {
        let members = members(order, options, batch: position.batch)
        let sampling = dataset.sampling
        let shape = [members.count, sampling.frameCount, sampling.height, sampling.width, 3]
        var pixels = Tensor.zeros(shape, dtype: .uint8)
        var captions: [String] = []
        for (row, index) in members.enumerated() {
            let sample = try dataset.sample(index, epoch: position.epoch)
            captions.append(sample.caption)
            pixels.withUnsafeMutableBytes { target in
                sample.pixels.withUnsafeBytes { source in
                    guard let to = target.baseAddress, let from = source.baseAddress else { return }
                    (to + row * sampling.clipBytes).copyMemory(from: from, byteCount: sampling.clipBytes)
                }
            }
        }
        return Batch(pixels: pixels, captions: captions, indices: members, position: position)
    }
}
