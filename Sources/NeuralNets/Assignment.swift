/// The one-to-one assignment of rows to columns that costs least, as many pairs as the smaller side has.
///
/// Rows (of the smaller side; columns where there are more rows) are placed one after another, each along the cheapest path
/// of reassignments (Jonker & Volgenant 1987, in the form of Crouse 2016, doi:10.1109/TAES.2016.140952). Sums are in double
/// precision. Ties are settled by the order in which columns are looked at: from the last to the first at the beginning of
/// each path, and whenever one is settled, the one at the end of that order takes its place; of equally cheap columns the
/// last that is free is taken, else the first. That is SciPy's order: equal costs give the assignment that its
/// `linear_sum_assignment` gives.
///
/// - Parameters:
///   - costs: row by row. A cost that is no number, or infinite, is worse than any other.
///   - rows: how many rows there are.
///   - columns: how many columns there are.
/// - Returns: pairs in ascending order of rows.
/// - Precondition: there are rows x columns costs.
/// - Complexity: O(smaller² x larger).
public func leastCostAssignment(_ costs: [Double], rows: Int, columns: Int) -> [(row: Int, column: Int)] {
    precondition(costs.count == rows * columns, "assignment: \(costs.count) costs are not \(rows) x \(columns)")
    guard rows > 0, columns > 0 else { return [] }
    let finite = costs.lazy.filter { $0.isFinite }
    let worst = (finite.map(abs).max() ?? 0) * 4 * Double(rows + columns) + 1
    let known = costs.map { $0.isFinite ? $0 : worst }
    guard rows > columns else {
        let columnOfRow = AssignmentSearch(rows: rows, columns: columns) { known[$0 * columns + $1] }.columnOfRow()
        return columnOfRow.enumerated().map { ($0.offset, $0.element) }
    }
    let rowOfColumn = AssignmentSearch(rows: columns, columns: rows) { known[$1 * columns + $0] }.columnOfRow()
    return rowOfColumn.enumerated().map { ($0.element, $0.offset) }.sorted { $0.0 < $1.0 }
}

/// A search with at most as many rows as columns.
private struct AssignmentSearch {
    let rows: Int
    let columns: Int
    let cost: (Int, Int) -> Double

    func columnOfRow() -> [Int] {
        var rowPrices = [Double](repeating: 0, count: rows)
        var columnPrices = [Double](repeating: 0, count: columns)
        var columnOfRow = [Int](repeating: -1, count: rows)
        var rowOfColumn = [Int](repeating: -1, count: columns)
        for start in 0..<rows {
            var distances = [Double](repeating: .infinity, count: columns)
            var previous = [Int](repeating: -1, count: columns)
            var open = Array((0..<columns).reversed())
            var (settled, reached): ([Int], [Int]) = ([], [start])
            var (distance, row, end) = (0.0, start, -1)
            while end < 0 {
                var (best, nearest) = (0, Double.infinity)
                for (place, column) in open.enumerated() {
                    let length = distance + cost(row, column) - rowPrices[row] - columnPrices[column]
                    if length < distances[column] { (distances[column], previous[column]) = (length, row) }
                    let isBetter = distances[column] < nearest
                    // Of equals the last that is free, else the first.
                    if isBetter || (distances[column] == nearest && rowOfColumn[column] < 0) {
                        (nearest, best) = (distances[column], place)
                    }
                }
                distance = nearest
                let column = open[best]
                settled.append(column)
                open[best] = open[open.count - 1]
                open.removeLast()
                if rowOfColumn[column] < 0 {
                    end = column
                } else {
                    row = rowOfColumn[column]
                    reached.append(row)
                }
            }
            rowPrices[start] += distance
            for row in reached.dropFirst() { rowPrices[row] += distance - distances[columnOfRow[row]] }
            for column in settled { columnPrices[column] -= distance - distances[column] }
            var column = end
            while true {
                let row = previous[column]
                rowOfColumn[column] = row
                (columnOfRow[row], column) = (column, columnOfRow[row])
                if row == start { break }
            }
        }
        return columnOfRow
    }
}
