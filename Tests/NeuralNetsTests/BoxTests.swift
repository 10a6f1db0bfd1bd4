import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite("Boxes and assignments") struct BoxTests {
    @Test("corners become centers and sizes and back")
    func conversions() {
        let corners = Tensor([1.0, 2, 5, 10, -3, 0, -1, 0.5], shape: [2, 4])
        #expect(Boxes.centers(corners).scalars(Double.self) == [3, 6, 4, 8, -2, 0.25, 2, 0.5])
        #expect(Boxes.corners(Boxes.centers(corners)).scalars(Double.self) == corners.scalars(Double.self))
        #expect(Boxes.areas(corners).scalars(Double.self) == [32, 1])
    }

    @Test("boxes overlap wholly, by halves, at an edge and not at all")
    func overlaps() {
        let one = Tensor([0.0, 0, 2, 2], shape: [1, 4])
        let others = Tensor([0.0, 0, 2, 2, 0, 0, 2, 1, 2, 0, 4, 2, 4, 0, 6, 2], shape: [4, 4])
        #expect(Boxes.overlap(one, others).scalars(Double.self) == [1, 0.5, 0, 0])
        // Of the box around the last two, 2 of 6 columns lie between them.
        let generalized = Boxes.generalizedOverlap(one, others).scalars(Double.self)
        #expect(generalized[..<3] == [1, 0.5, 0])
        #expect(abs(generalized[3] + 1.0 / 3) < 1e-12)
    }

    @Test("overlaps have the gradients of finite differences")
    func gradients() {
        let a = Tensor([0.1, 0.2, 0.7, 0.9, 0.3, 0.1, 0.6, 0.5], shape: [2, 1, 4])
        let b = Tensor([0.2, 0.15, 0.55, 0.8, 0.8, 0.6, 0.95, 0.99], shape: [1, 2, 4])
        #expect(gradientDifference(of: [a, b]) { Boxes.generalizedOverlap($0[0], $0[1]) } == nil)
        #expect(gradientDifference(of: [a, b]) { Boxes.overlap($0[0], $0[1]) } == nil)
        #expect(gradientDifference(of: [a]) { Boxes.corners(Boxes.centers($0[0]) * 2) } == nil)
    }

    @Test("no other assignment costs less", arguments: [(1, 1), (3, 3), (2, 5), (5, 3), (6, 6)])
    func leastCost(_ rows: Int, _ columns: Int) {
        var generator = SeededGenerator(seed: UInt64(rows * 10 + columns))
        for _ in 0..<20 {
            let costs = (0..<rows * columns).map { _ in generator.real(-1...1) }
            let pairs = leastCostAssignment(costs, rows: rows, columns: columns)
            #expect(pairs.count == min(rows, columns))
            #expect(pairs.map(\.row) == pairs.map(\.row).sorted() && Set(pairs.map(\.row)).count == pairs.count)
            #expect(Set(pairs.map(\.column)).count == pairs.count)
            let cost = pairs.reduce(0) { $0 + costs[$1.row * columns + $1.column] }
            #expect(abs(cost - least(costs, rows, columns, row: 0, taken: [])) < 1e-12)
        }
    }

    @Test("costs that are no numbers are taken only where there is no choice")
    func strangeCosts() {
        let costs = [Double.nan, 5, 1, .infinity]
        let pairs = leastCostAssignment(costs, rows: 2, columns: 2)
        #expect(pairs.map(\.column) == [1, 0])
        #expect(leastCostAssignment([.nan], rows: 1, columns: 1).count == 1)
        #expect(leastCostAssignment([], rows: 0, columns: 4).isEmpty)
    }

    /// Tries everything.
    private func least(_ costs: [Double], _ rows: Int, _ columns: Int, row: Int, taken: Set<Int>) -> Double {
        guard row < rows, taken.count < min(rows, columns) else {
            return taken.count == min(rows, columns) ? 0 : .infinity
        }
        let skipped = rows > columns ? least(costs, rows, columns, row: row + 1, taken: taken) : .infinity
        return (0..<columns).filter { !taken.contains($0) }.reduce(skipped) { best, column in
            min(
                best,
                costs[row * columns + column]
                    + least(costs, rows, columns, row: row + 1, taken: taken.union([column])))
        }
    }
}
