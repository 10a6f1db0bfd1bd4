import Checkpoints
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

extension CLIPViTEncoder: HasImagePositions {
    var imagePositions: (key: String, rows: Int, columns: Int, others: Int) {
        let side = configuration.imageSize / configuration.patchSize
        return ("positional_embedding", side, side, 1)
    }
}

extension AttentionPool2d: HasImagePositions {
    var imagePositions: (key: String, rows: Int, columns: Int, others: Int) { ("positional_embedding", grid, grid, 1) }
}

extension ImageEmbeddings: HasImagePositions {
    var imagePositions: (key: String, rows: Int, columns: Int, others: Int) {
        ("position_embeddings", configuration.side, configuration.side, 1)
    }
}

extension PatchEmbeddings: HasImagePositions {
    var imagePositions: (key: String, rows: Int, columns: Int, others: Int) {
        let grid = configuration.grid
        return ("position_embeddings", grid.rows, grid.columns, configuration.includesClassToken ? 1 : 0)
    }
}

/// A table of positions in a checkpoint that was made for images of another size than a model's.
struct ForeignPositions {
    /// The key in the checkpoint.
    let key: String
    /// The patches of the checkpoint's images, which are square, along one side.
    let side: Int
    let rows: Int
    let columns: Int
    private let others: Int

    /// Those of a checkpoint, for all parts of a model that have such a table: `[tokens, width]` or `[1, tokens, width]`.
    ///
    /// - Parameter renames: what makes the checkpoint's keys the model's.
    static func all(
        in weights: [String: Tensor], for module: Module, renames: [StateDictMatcher.Rename] = []
    ) -> [ForeignPositions] {
        let keys = Dictionary(
            weights.keys.map { key in (renames.reduce(key) { $1.applied(to: $0) }, key) },
            uniquingKeysWith: { first, _ in first })
        return module.modules.compactMap { place, part in
            guard let part = part as? any HasImagePositions else { return nil }
            let (name, rows, columns, others) = part.imagePositions
            guard let key = keys[place.isEmpty ? name : "\(place).\(name)"], let table = weights[key],
                table.rank == 2 || table.rank == 3 && table.shape[0] == 1
            else { return nil }
            let tokens = table.shape[table.rank - 2]
            guard tokens != rows * columns + others, tokens > others else { return nil }
            let side = Int(Double(tokens - others).squareRoot().rounded())
            return side * side == tokens - others
                ? ForeignPositions(key: key, side: side, rows: rows, columns: columns, others: others) : nil
        }
    }

    /// The table made to fit: vectors of patches are resampled (bicubic), those of other tokens stay.
    func resized(_ table: Tensor) -> Tensor {
        let whole = table.cast(to: .float32)
        let real = table.rank == 3 ? whole.selected(0, 0) : whole
        let patches = real.sliced(0, others..<others + side * side)
        let fitting = PositionInterpolation.bicubic(patches, from: (side, side), to: (rows, columns))
        let result = others == 0 ? fitting : concatenated([real.sliced(0, 0..<others), fitting])
        return table.rank == 3 ? result.unsqueezed(0) : result
    }
}
