import NeuralNets
import Tensors

/// A module with a learned vector for each patch of an image, which can be made to fit images of another size.
protocol HasImagePositions: Module {
    /// The table: its key below the module, its patches in rows and columns, and how many vectors of other tokens come first.
    var imagePositions: (key: String, rows: Int, columns: Int, others: Int) { get }
}

extension TorchvisionVisionTransformer: HasImagePositions {
    var imagePositions: (key: String, rows: Int, columns: Int, others: Int) {
        let side = configuration.imageSize / configuration.patchSize
        return ("encoder.pos_embedding", side, side, 1)
    }
}

/// A table of positions in a checkpoint that was made for images of another size than a model's.
struct ForeignPositions {
    let key: String
    /// The patches of the checkpoint's images, which are square, along one side.
    let side: Int
    let rows: Int
    let columns: Int
    private let others: Int

    /// Those of a checkpoint, for all parts of a model that have such a table.
    static func all(in weights: [String: Tensor], for module: Module) -> [ForeignPositions] {
        module.modules.compactMap { key, part in
            guard let part = part as? any HasImagePositions else { return nil }
            let (name, rows, columns, others) = part.imagePositions
            let whole = key.isEmpty ? name : "\(key).\(name)"
            guard let table = weights[whole], table.rank == 3, table.shape[0] == 1,
                table.shape[1] != rows * columns + others, table.shape[1] > others
            else { return nil }
            let count = table.shape[1] - others
            let side = Int(Double(count).squareRoot().rounded())
            return side * side == count
                ? ForeignPositions(key: whole, side: side, rows: rows, columns: columns, others: others) : nil
        }
    }

    /// The table made to fit: vectors of patches are resampled (bicubic), those of other tokens stay.
    func resized(_ table: Tensor) -> Tensor {
        let real = table.cast(to: .float32)
        let patches = real.sliced(1, others..<others + side * side).reshaped(to: [side * side, table.shape[2]])
        let fitting = PositionInterpolation.bicubic(patches, from: (side, side), to: (rows, columns))
        return concatenated([real.sliced(1, 0..<others), fitting.unsqueezed(0)], axis: 1)
    }
}
