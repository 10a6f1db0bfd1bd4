import Tensors
import TestSupport
import Testing

/// Tensors are values: whatever is done to one, no other changes. Random programs run on tensors and on plain arrays.
@Suite struct ValueSemanticsTests {
    @Test("random programs give what plain arrays give", arguments: 0..<50)
    func randomPrograms(_ batch: Int) {
        for program in 0..<40 {
            let seed = UInt64(batch * 1000 + program)
            #expect(Self.run(seed: seed) == nil, "program with seed \(seed)")
        }
    }

    /// Runs one program of twenty steps; says what differs.
    private static func run(seed: UInt64) -> String? {
        var generator = SeededGenerator(seed: seed)
        var pool: [(tensor: Tensor, model: NaiveArray)] = (0..<2).map { _ in
            let model = NaiveArray([generator.int(1..<5), generator.int(1..<5)]) { _ in generator.real(-1...1) }
            return (model.tensor(), model)
        }
        var trace: [String] = []
        for _ in 0..<20 {
            let at = generator.int(0..<pool.count)
            var (tensor, model) = pool[at]
            let (rows, columns) = (model.shape[0], model.shape[1])
            let kind = generator.int(0..<9)
            trace.append("\(kind) on \(at) \(model.shape)")
            switch kind {
            case 0:  // A copy.
                pool.append((tensor, model))
            case 1:  // A view: transpose.
                pool.append((tensor.transposed(), NaiveArray([columns, rows]) { model[$0[1], $0[0]] }))
            case 2:  // A view: some rows.
                let first = generator.int(0..<rows)
                pool.append(
                    (
                        tensor.sliced(0, first..<rows),
                        NaiveArray([rows - first, columns]) { model[$0[0] + first, $0[1]] }
                    ))
            case 3:  // A view: one row repeated.
                pool.append(
                    (
                        tensor.sliced(0, 0..<1).broadcast(to: [3, columns]),
                        NaiveArray([3, columns]) { model[0, $0[1]] }
                    ))
            case 4:  // Writing one element.
                let (row, column) = (generator.int(0..<rows), generator.int(0..<columns))
                tensor.withUnsafeMutableBytes { $0.bindMemory(to: Double.self)[row * columns + column] = 42 }
                model.values[row * columns + column] = 42
                pool[at] = (tensor, model)
            case 5:  // Replacing a row by another tensor's, perhaps its own view.
                let other = pool[generator.int(0..<pool.count)]
                guard other.model.shape[1] == columns else { continue }
                let row = generator.int(0..<rows)
                tensor.replace(axis: 0, at: row, with: other.tensor.sliced(0, 0..<1))
                for column in 0..<columns { model.values[row * columns + column] = other.model[0, column] }
                pool[at] = (tensor, model)
            case 6:  // An operation.
                pool.append((tensor * 2, model.map { $0 * 2 }))
            case 7:  // Mixing in place.
                tensor.blend(tensor * 3, weight: 0.5)
                pool[at] = (tensor, model.map { $0 * 0.5 + $0 * 3 * 0.5 })
            default:  // Forgetting one, so that its memory is taken again.
                if pool.count > 2 { pool.remove(at: at) }
            }
            for (tensor, model) in pool {
                if let text = difference(tensor, model.tensor(), within: .exact) { return "\(text) after \(trace)" }
            }
        }
        return nil
    }

    @Test("in-place writing does not copy memory that nobody shares")
    func uniqueMemoryStays() {
        var x = Tensor.zeros([1000])
        let before = x.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) }
        x.replace(axis: 0, at: 10, with: Tensor.ones([5]))
        let after = x.withUnsafeMutableBytes { UInt(bitPattern: $0.baseAddress) }
        #expect(before == after)
    }

    @Test("tensors are shared between tasks without changing")
    func sharedBetweenTasks() async {
        let x = Tensor.normal([64, 64], key: RandomKey(seed: 1))
        let expected = matmul(x, x)
        await withTaskGroup(of: String?.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var mine = x
                    mine.replace(axis: 0, at: 0, with: Tensor.ones([1, 64]))
                    return differenceInBits(matmul(x, x), expected)
                }
            }
            for await text in group { #expect(text == nil) }
        }
    }
}
