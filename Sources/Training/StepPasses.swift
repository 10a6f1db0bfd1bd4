import Datasets
import Distributed
import Models
import NeuralNets
import Tensors

/// What the passes of a step give together, the same in every process.
struct StepSums {
    /// The sums of the gradients over all passes, by state-dict key.
    var gradients: [String: Tensor]
    /// The means of what passes report.
    var metrics: Metrics
    /// The loss of each pass.
    var losses: [Double]
    /// What moves running statistics and codebooks.
    fileprivate var statistics: StepStatistics

    /// Moves running statistics and codebooks by the step.
    func moveStatistics() throws { try statistics.apply() }
}

/// What a loader reads for a pass.
typealias PassData = (items: [TrainingItem], data: Tensor)

/// Computes a step's passes: this process's share of them, joined with what the other processes compute.
///
/// A pass is computed in one process, and what passes give is joined in an order that depends on their numbers alone. So
/// the results have the same bits for any number of processes.
struct StepPasses {
    let task: any TrainingTask
    let settings: TrainingSettings
    let group: ProcessGroup
    let key: RandomKey
    /// The parameters, if each process has pieces of them only.
    var sharded: ShardedParameters?

    /// Which passes each process computes, and the order of sums. Where gradients are summed in pieces passes go round, so
    /// that neighbours can be added at once.
    var shares: PassShares {
        PassShares(PassTree(passes: settings.accumulation), among: group.size, isInterleaved: sharded != nil)
    }

    /// Whether the processes of a group can share the passes of a step.
    static func requireShare(_ settings: TrainingSettings, _ group: ProcessGroup) throws {
        guard settings.sharding == .none || settings.accumulation % group.size == 0 else {
            throw TrainingError(
                .invalidConfiguration,
                "With 'sharding: full' processes compute the same number of passes each, but there are \(group.size) for "
                    + "'accumulation: \(settings.accumulation)'; the first must divide the second.")
        }
        guard group.size > settings.accumulation else { return }
        throw TrainingError(
            .invalidConfiguration,
            "There are \(group.size) processes for 'accumulation: \(settings.accumulation)', and each computes a pass of "
                + "every step at least; start \(settings.accumulation) at most, or a run with an accumulation of "
                + "\(group.size) or more.")
    }

    /// Reads the items of each pass of this process while the model is busy with those before.
    func loader(from step: Int) -> DataLoader<PassData> {
        let own = shares.passes(of: group.rank)
        let (perPass, passes) = (settings.batchSize / settings.accumulation, settings.accumulation)
        let numbers = step * own.count..<max(step, settings.steps) * own.count
        let readers = task.readerCount
        return DataLoader(numbers, workers: readers, ahead: readers + 1) { [reader = task.reader, order] in
            var order = order
            return { number in
                let pass = number / own.count * passes + own[number % own.count]
                let items = (pass * perPass..<(pass + 1) * perPass).map { order.item(at: $0) }
                return (items, try reader(items))
            }
        }
    }

    /// In which order items are visited.
    private var order: any ItemSequence {
        task.order(key: key, batch: settings.batchSize, cycle: settings.overfitBatches * settings.batchSize)
    }

    /// The items of a step.
    func items(_ step: Int) -> [TrainingItem] {
        var order = order
        return (step * settings.batchSize..<(step + 1) * settings.batchSize).map { order.item(at: $0) }
    }

    /// Computes the passes of a step.
    func make(_ step: Int, _ loader: DataLoader<PassData>, _ clock: inout StepClock) throws -> StepSums {
        task.begin(step: step)
        // The last layers' gradients are complete first.
        let parameters = task.module.parameters.filter(\.parameter.isTrainable).reversed()
        let leaves = parameters.map(\.parameter.leaf)
        let sums = GradientSums(parameters, group, shares, sharded)
        let awaitsData = group.size > 1 ? task.module.modules.compactMap { $0.module as? any InitializedByData } : []
        var waiting = awaitsData.filter(\.awaitsData)
        if let sharded, !waiting.isEmpty {
            try goThroughFirstPass(step, &waiting)
            sharded.releaseAll()
        }
        let reports: [PassReport]
        if let task = task as? any GatheredTrainingTask {
            reports = try GatheredPasses(task: task, passes: self, step: step).make(leaves, sums) {
                try clock.wait { try loader.next() }
            } meet: { pass, isDone in
                if isDone == (pass == 0) { try share(&waiting) }
            }
        } else {
            reports = try shares.passes(of: group.rank).map { pass in
                let (items, data) = try clock.wait { try loader.next() }
                let observations = PassObservations()
                if pass > 0 { try share(&waiting) }
                let (loss, metrics) = try task.loss(
                    items, data: data, key: key.derived("data", step, pass), context(step, pass, observations))
                if pass == 0 { try share(&waiting) }
                loss.backward(to: leaves) { sums.add($1, at: $0) }
                sums.endPass()
                sharded?.releaseAll()
                let value = Double(loss.detached.cast(to: .float64).item(Double.self))
                return PassReport(loss: value, metrics: metrics, observations: observations.entries)
            }
        }
        let all = try StepReports(reports, present: sums.isPresent, group, shares)
        let byKey = try sums.finish(all.isPresent)
        let statistics = StepStatistics(
            observations: reports.map(\.observations), values: all.values, group: group, shares: shares)
        return StepSums(
            gradients: byKey, metrics: all.metrics, losses: all.losses, statistics: statistics)
    }

    /// Whether blocks are computed a second time in the backward walk.
    var checkpointsActivations: Bool { settings.checkpointsActivations || sharded != nil }

    /// What a pass is given.
    ///
    /// - Parameter purpose: what its random numbers are for.
    func context(
        _ step: Int, _ pass: Int, _ observations: PassObservations, purpose: String = "forward"
    ) -> ForwardContext {
        ForwardContext(
            training: key.derived(purpose, step, pass), checkpointsActivations: checkpointsActivations,
            precision: settings.precision, observations: observations)
    }

    /// Goes through the first pass in every process, in step, so that modules get their first values from it: none can wait
    /// for another while blocks in pieces are put together by all.
    private func goThroughFirstPass(_ step: Int, _ modules: inout [any InitializedByData]) throws {
        let before = modules.map { $0.buffers.map(\.buffer.wrappedValue) }
        let items = Array(items(step).prefix(settings.batchSize / settings.accumulation))
        _ = try task.loss(
            items, data: task.reader(items), key: key.derived("data", step, 0), context(step, 0, PassObservations()))
        // The process that computes this pass does it anew, from where it was.
        if group.isLeader {
            for (module, values) in zip(modules, before) {
                for (entry, value) in zip(module.buffers, values) { entry.buffer.wrappedValue = value }
            }
        }
        modules = []
    }

    /// Gives every process the first values that the first pass gave to modules in this one.
    private func share(_ modules: inout [any InitializedByData]) throws {
        for module in modules {
            for (_, buffer) in module.buffers { buffer.wrappedValue = try group.broadcast(buffer.wrappedValue) }
            module.stateDidChange()
        }
        modules = []
    }
}

/// The sums of gradients over the passes of a step: whole, or this process's pieces.
struct GradientSums {
    private let parameters: [(key: String, parameter: Parameter)]
    private let sharded: ShardedParameters?
    private let whole: TreeReducer?
    private let pieces: ShardReducer?

    init(
        _ parameters: some Sequence<(key: String, parameter: Parameter)>, _ group: ProcessGroup, _ shares: PassShares,
        _ sharded: ShardedParameters?
    ) {
        self.parameters = Array(parameters)
        self.sharded = sharded
        pieces = sharded?.reducer(shares.tree, self.parameters)
        whole =
            sharded == nil
            ? TreeReducer(group, shares, shapes: self.parameters.map { $0.parameter.leaf.shape }) : nil
    }

    var isPresent: [Bool] { whole?.isPresent ?? pieces?.isPresent ?? [] }

    func add(_ gradient: Tensor, at item: Int) {
        whole?.add(gradient, at: item)
        pieces?.add(gradient, at: item)
    }

    func endPass() {
        whole?.endPass()
        pieces?.endPass()
    }

    /// The sums by key.
    ///
    /// - Parameter isPresent: which parameters had a gradient in any pass.
    func finish(_ isPresent: [Bool]) throws -> [String: Tensor] {
        let present = Set(zip(parameters, isPresent).lazy.filter(\.1).map(\.0.key))
        if let sharded, let pieces { return sharded.gradients(try pieces.finish()) { present.contains($0) } }
        var byKey: [String: Tensor] = [:]
        for (entry, sum) in zip(parameters, try whole?.finish() ?? []) where present.contains(entry.key) {
            byKey[entry.key] = sum
        }
        return byKey
    }
}
