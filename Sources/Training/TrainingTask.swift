import NeuralNets
import Tensors

/// Numbers that a step or an evaluation reports, in the order they are shown.
public typealias Metrics = [(name: String, value: Double)]

/// A training item: its index, and the epoch it is visited in.
public typealias TrainingItem = (index: Int, epoch: Int)

/// What is trained: a model, its data and its loss. The ``Trainer`` does the rest.
public protocol TrainingTask: AnyObject {
    /// Holds every parameter that is trained and every buffer that is saved.
    var module: Module { get }
    /// The number of training items.
    var itemCount: Int { get }
    /// Describes the data, so that a run is never resumed on other data.
    var dataFingerprint: String { get }

    /// Reads what the model is given of some items.
    ///
    /// Called on another thread while the steps before are made, so it depends on nothing that training changes.
    var reader: @Sendable ([TrainingItem]) throws -> Tensor { get }
    /// In which order items are visited.
    ///
    /// - Parameters:
    ///   - key: of everything that is drawn for it.
    ///   - batch: the items of a step.
    ///   - cycle: the number of items that are repeated without shuffling; 0 for all, in shuffled epochs.
    func order(key: RandomKey, batch: Int, cycle: Int) -> any ItemSequence
    /// How many threads call ``reader``; which pass is read when, and to what bits, does not depend on it.
    var readerCount: Int { get }

    /// Called before the passes of a step, in order and in every process, for what follows from its number.
    func begin(step: Int)

    /// The loss of some items.
    ///
    /// - Parameters:
    ///   - items: which they are.
    ///   - data: what ``reader`` read of them.
    ///   - key: derived from seed, step and pass, for choices about the data.
    ///   - context: of the forward pass.
    /// - Returns: a scalar loss on the tape and what to report beside it.
    func loss(
        _ items: [TrainingItem], data: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics)

    /// The number of items that it is measured on.
    var heldOutCount: Int { get }
    /// The number of an evaluation that says which model is better; `nil` when none does.
    var quality: Quality? { get }

    /// Measures the model on held-out items.
    func evaluate() throws -> Metrics

    /// Writes pictures of what the model does now.
    ///
    /// - Parameters:
    ///   - path: without extension.
    ///   - step: the number of steps made.
    /// - Returns: the files written.
    func writeSamples(to path: String, step: Int) throws -> [String]

    /// Writes the model as a model directory.
    func writeModel(to path: String) throws
}

extension TrainingTask {
    /// One: reading is no work to speak of.
    public var readerCount: Int { 1 }
    /// All items in an order of their own in each epoch.
    public func order(key: RandomKey, batch: Int, cycle: Int) -> any ItemSequence {
        ItemOrder(count: itemCount, key: key, cycle: cycle)
    }
    public func begin(step: Int) {}
    public var heldOutCount: Int { 0 }
    public var quality: Quality? { nil }
}

/// The number of an evaluation that says which model is better.
public struct Quality: Sendable {
    /// Its name among the metrics.
    public let metric: String
    /// Whether a smaller one is better.
    public let isSmallerBetter: Bool

    /// Names a number.
    public init(_ metric: String, isSmallerBetter: Bool) {
        self.metric = metric
        self.isSmallerBetter = isSmallerBetter
    }

    /// Whether one value is better than another; one that is no number never is.
    func isBetter(_ value: Double, than other: Double) -> Bool {
        isSmallerBetter ? value < other : value > other
    }
}

/// The order in which items are visited: a pure function of the seed and the position.
public protocol ItemSequence: Sendable {
    /// The item at a position of the endless sequence; asked for in ascending order, mostly.
    mutating func item(at position: Int) -> TrainingItem
}

/// All items in shuffled epochs, or some again and again.
struct ItemOrder: ItemSequence {
    let count: Int
    let key: RandomKey
    /// The length of a cycle that is repeated without shuffling; zero for shuffled epochs.
    let cycle: Int
    private var epoch = -1
    private var order: [Int] = []

    init(count: Int, key: RandomKey, cycle: Int = 0) {
        self.count = count
        self.key = key
        self.cycle = cycle
    }

    /// The item at a position of the endless sequence of shuffled epochs, or of a cycle.
    mutating func item(at position: Int) -> TrainingItem {
        if cycle > 0 { return (position % cycle % count, 0) }
        let wanted = position / count
        if wanted != epoch {
            epoch = wanted
            order = key.derived("order", wanted).permutation(count)
        }
        return (order[position % count], wanted)
    }
}
