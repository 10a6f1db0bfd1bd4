import Foundation
import Tensors

/// A plain array of numbers with a shape: what the slow, readable references in tests compute with.
public struct NaiveArray: Sendable, Equatable {
    /// The size of each axis.
    public let shape: [Int]
    /// The elements in row-major order.
    public var values: [Double]

    /// An array of given elements.
    public init(_ shape: [Int], _ values: [Double]) {
        precondition(shape.reduce(1, *) == values.count)
        self.shape = shape
        self.values = values
    }

    /// An array whose element at each index is computed.
    public init(_ shape: [Int], _ element: ([Int]) -> Double) {
        self.shape = shape
        var index = [Int](repeating: 0, count: shape.count)
        values = (0..<shape.reduce(1, *)).map { _ in
            defer {
                for axis in stride(from: shape.count - 1, through: 0, by: -1) {
                    index[axis] += 1
                    if index[axis] < shape[axis] { break }
                    index[axis] = 0
                }
            }
            return element(index)
        }
    }

    /// The elements of a tensor.
    public init(_ tensor: Tensor) { self.init(tensor.shape, doubles(tensor)) }

    /// The element at an index, with leading axes missing here dropped and axes of size 1 repeated: broadcasting.
    public subscript(index: [Int]) -> Double {
        var place = 0
        let skipped = index.count - shape.count
        for axis in shape.indices { place = place * shape[axis] + (shape[axis] == 1 ? 0 : index[skipped + axis]) }
        return values[place]
    }

    /// One element by its coordinates.
    public subscript(index: Int...) -> Double { self[index] }

    /// A function applied to each element.
    public func map(_ function: (Double) -> Double) -> NaiveArray { NaiveArray(shape, values.map(function)) }

    /// The elements as a tensor.
    public func tensor(_ dtype: DType = .float64) -> Tensor { Tensor(values, shape: shape).cast(to: dtype) }

    /// The shape two shapes broadcast to.
    public static func broadcast(_ a: [Int], _ b: [Int]) -> [Int] {
        let rank = max(a.count, b.count)
        let (x, y) = ([a, b].map { [Int](repeating: 1, count: rank - $0.count) + $0 }).pair
        return zip(x, y).map { $0 == 1 ? $1 : $0 }
    }

    /// A function of two arrays with broadcasting.
    public static func combine(_ a: NaiveArray, _ b: NaiveArray, _ function: (Double, Double) -> Double) -> NaiveArray {
        NaiveArray(broadcast(a.shape, b.shape)) { function(a[$0], b[$0]) }
    }

    /// A function of each line along one axis, giving a line of the same length.
    public func alongAxis(_ axis: Int, _ function: ([Double]) -> [Double]) -> NaiveArray {
        let axis = axis < 0 ? axis + shape.count : axis
        return NaiveArray(shape) { index in
            var place = index
            let line = (0..<shape[axis]).map { position -> Double in
                place[axis] = position
                return self[place]
            }
            return function(line)[index[axis]]
        }
    }

    /// A function of all elements along some axes, which disappear.
    public func reduced(_ axes: [Int], _ function: ([Double]) -> Double) -> NaiveArray {
        let gone = Set(axes.map { $0 < 0 ? $0 + shape.count : $0 })
        let kept = shape.indices.filter { !gone.contains($0) }
        let inside = shape.indices.filter { gone.contains($0) }
        return NaiveArray(kept.map { shape[$0] }) { outer in
            var place = [Int](repeating: 0, count: shape.count)
            for (axis, position) in zip(kept, outer) { place[axis] = position }
            let group = NaiveArray(inside.map { shape[$0] }) { inner in
                for (axis, position) in zip(inside, inner) { place[axis] = position }
                return self[place]
            }
            return function(group.values)
        }
    }
}

extension Array {
    fileprivate var pair: (Element, Element) { (self[0], self[1]) }
}
