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

    /// Which passes each process computes, and the order of sums.
    private var shares: PassShares { PassShares(PassTree(passes: settings.accumulation), among: group.size) }

    /// Whether the processes of a group can share the passes of a step.
    static func requireShare(_ settings: TrainingSettings, _ group: ProcessGroup) throws {
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
    private var order: ItemOrder {
        ItemOrder(count: task.itemCount, key: key, cycle: settings.overfitBatches * settings.batchSize)
    }

    /// The items of a step.
    func items(_ step: Int) -> [TrainingItem] {
        var order = order
        return (step * settings.batchSize..<(step + 1) * settings.batchSize).map { order.item(at: $0) }
    }

    /// Computes the passes of a step.
    func make(_ step: Int, _ loader: DataLoader<PassData>, _ clock: inout StepClock) throws -> StepSums {
        // The last layers' gradients are complete first.
        let parameters = task.module.parameters.filter(\.parameter.isTrainable).reversed()
        let leaves = parameters.map(\.parameter.wrappedValue)
        let sums = TreeReducer(group, shares, shapes: leaves.map(\.shape))
        let awaitsData = group.size > 1 ? task.module.modules.compactMap { $0.module as? any InitializedByData } : []
        var waiting = awaitsData.filter(\.awaitsData)
        var reports: [PassReport] = []
        for pass in shares.passes(of: group.rank) {
            let (items, data) = try clock.wait { try loader.next() }
            let observations = PassObservations()
            let context = ForwardContext(
                training: key.derived("forward", step, pass), checkpointsActivations: settings.checkpointsActivations,
                precision: settings.precision, observations: observations)
            if pass > 0 { try share(&waiting) }
            let (loss, metrics) = try task.loss(items, data: data, key: key.derived("data", step, pass), context)
            if pass == 0 { try share(&waiting) }
            loss.backward(to: leaves) { sums.add($1, at: $0) }
            sums.endPass()
            let value = Double(loss.detached.cast(to: .float64).item(Double.self))
            reports.append(PassReport(loss: value, metrics: metrics, observations: observations.entries))
        }
        let all = try StepReports(reports, present: sums.isPresent, group, shares)
        let gradients = try sums.finish()
        var byKey: [String: Tensor] = [:]
        for (item, entry) in parameters.enumerated() where all.isPresent[item] { byKey[entry.key] = gradients[item] }
        let statistics = StepStatistics(
            observations: reports.map(\.observations), values: all.values, group: group, shares: shares)
        return StepSums(gradients: byKey, metrics: all.metrics, losses: all.losses, statistics: statistics)
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
