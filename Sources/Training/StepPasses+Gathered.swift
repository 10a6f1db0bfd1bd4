import Distributed
import NeuralNets
import Tensors

/// The passes of a step whose loss compares the items of all of them.
///
/// Gradients go the same way back: the loss of a pass gives a gradient to every pass's embeddings, these are summed over the
/// passes along the tree, and each pass is walked back through from its own. Only embeddings and their gradients are sent
/// beside what any step sends.
struct GatheredPasses {
    let task: any GatheredTrainingTask
    let passes: StepPasses
    let step: Int

    /// A pass of this process.
    private struct Pass {
        let number: Int
        let items: [TrainingItem]
        let data: Tensor
        /// On the tape, unless they are computed a second time.
        let embeddings: [Tensor]
        let observations: PassObservations
    }

    /// What the loss of a pass gives its own embeddings and the parameters that it reads itself.
    private struct PassGradients {
        let embeddings: [Tensor]
        let parameters: [Int: Tensor]
    }

    private var group: ProcessGroup { passes.group }

    /// Computes the passes of this process.
    ///
    /// - Parameters:
    ///   - leaves: of the trained parameters.
    ///   - sums: takes their gradients.
    ///   - next: reads a pass's items.
    ///   - meet: called before a pass and after it, for first values that come from the first one.
    func make(
        _ leaves: [Tensor], _ sums: GradientSums, next: () throws -> PassData,
        meet: (_ pass: Int, _ isDone: Bool) throws -> Void
    ) throws -> [PassReport] {
        let numbers = passes.shares.passes(of: group.rank)
        // The tape of one pass at a time, where memory is what counts.
        let repeats = numbers.count > 1 && passes.checkpointsActivations
        let own = try numbers.map { number in
            let (items, data) = try next()
            try meet(number, false)
            let observations = PassObservations()
            let embeddings = try embed(number, items, data, observations)
            try meet(number, true)
            if repeats { passes.sharded?.releaseAll() }
            return Pass(
                number: number, items: items, data: data, embeddings: repeats ? embeddings.map(\.detached) : embeddings,
                observations: observations)
        }
        let gathered = try gather(own)
        var reports: [PassReport] = []
        let gradients = try losses(own, gathered, leaves) { reports.append($0) }
        for (pass, gradients) in zip(own, gradients) {
            let embeddings =
                repeats ? try embed(pass.number, pass.items, pass.data, PassObservations()) : pass.embeddings
            var waiting = gradients.parameters
            Tensors.gradients(of: Array(zip(embeddings, gradients.embeddings)), to: leaves) { leaf, gradient in
                sums.add(waiting.removeValue(forKey: leaf).map { gradient + $0 } ?? gradient, at: leaf)
            }
            for (leaf, gradient) in waiting.sorted(by: { $0.key < $1.key }) { sums.add(gradient, at: leaf) }
            sums.endPass()
            passes.sharded?.releaseAll()
        }
        return reports
    }

    private func embed(
        _ pass: Int, _ items: [TrainingItem], _ data: Tensor, _ observations: PassObservations
    ) throws -> [Tensor] {
        try task.embed(
            items, data: data, key: passes.key.derived("data", step, pass),
            passes.context(step, pass, observations))
    }

    /// Every pass's embeddings, in their order.
    private func gather(_ own: [Pass]) throws -> [Tensor] {
        var all: [Tensor] = []
        for place in own[0].embeddings.indices {
            let shape = own[0].embeddings[place].shape
            var bytes: [UInt8] = []
            for pass in own {
                let tensor = pass.embeddings[place]
                precondition(
                    tensor.shape == shape && tensor.dtype == .float32 && !shape.isEmpty,
                    "embed: \(tensor.dtype) \(tensor.shape) after \(shape); all passes must give float32 of one shape")
                tensor.detached.contiguous().withUnsafeBytes { bytes.append(contentsOf: $0) }
            }
            let parts = try group.allGather(bytes)
            let size = shape.reduce(4, *)
            var ordered = [UInt8](repeating: 0, count: size * passes.settings.accumulation)
            for (rank, part) in parts.enumerated() {
                let numbers = passes.shares.passes(of: rank)
                guard part.count == size * numbers.count else {
                    throw DistributedError(
                        .mismatch,
                        "Rank \(rank) has embeddings of another size than rank \(group.rank): is it the same program?")
                }
                for (index, number) in numbers.enumerated() {
                    ordered.replaceSubrange(
                        number * size..<(number + 1) * size, with: part[index * size..<(index + 1) * size])
                }
            }
            let rows = shape[0] * passes.settings.accumulation
            all.append(
                try ordered.withUnsafeBytes {
                    try Tensor(bytes: $0, shape: [rows] + shape.dropFirst(), dtype: .float32)
                })
        }
        return all
    }

    /// The losses of this process's passes against all embeddings, and what they give back.
    private func losses(
        _ own: [Pass], _ gathered: [Tensor], _ leaves: [Tensor], report: (PassReport) -> Void
    ) throws -> [PassGradients] {
        let flow = task.gatheredGradients
        let exchanged = TreeReducer(group, passes.shares, shapes: flow == .global ? gathered.map(\.shape) : [])
        var results: [PassGradients] = []
        for pass in own {
            let observations = pass.observations
            let start = pass.embeddings.map { $0.detached.tracked() }
            let rows = rows(pass.number, of: start)
            let all = flow == .none ? gathered : gathered.map { $0.tracked() }
            let context = passes.context(step, pass.number, observations, purpose: "loss")
            let (loss, metrics) = try task.loss(start, gathered: all, rows: rows, context)
            let found = loss.backward()
            results.append(
                PassGradients(
                    embeddings: zip(start, all).map { start, all in
                        let direct = found[start] ?? Tensor.zeros(start.shape)
                        guard flow == .local, let through = found[all] else { return direct }
                        return direct + through.sliced(0, rows)
                    },
                    parameters: Dictionary(
                        uniqueKeysWithValues: leaves.enumerated().compactMap { place, leaf in
                            found[leaf].map { (place, $0) }
                        })))
            if flow == .global {
                for (place, all) in all.enumerated() { found[all].map { exchanged.add($0, at: place) } }
            }
            exchanged.endPass()
            passes.sharded?.releaseAll()
            report(
                PassReport(
                    loss: Double(loss.detached.cast(to: .float64).item(Double.self)), metrics: metrics,
                    observations: observations.entries))
        }
        let sums = try exchanged.finish()
        guard flow == .global else { return results }
        return zip(own, results).map { pass, result in
            PassGradients(
                embeddings: zip(result.embeddings, sums).map { direct, sum in
                    direct + (sum?.sliced(0, rows(pass.number, of: [direct])) ?? Tensor.zeros(direct.shape))
                },
                parameters: result.parameters)
        }
    }

    /// Where the embeddings of a pass are among all.
    private func rows(_ pass: Int, of own: [Tensor]) -> Range<Int> {
        let count = own.first?.shape[0] ?? 0
        return pass * count..<(pass + 1) * count
    }
}
