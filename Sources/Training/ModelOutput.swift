import Foundation
import Media
import NeuralNets
import Tensors

/// Writes what a run produces: pictures, and the model in its directory.
///
/// Training decides what is shown; the format of files is decided by who runs it.
public struct ModelOutput {
    /// Writes clips (`uint8`, `[frames, height, width, 3]`), one row each, as one picture, and returns its path.
    public var writeGrid: (_ rows: [Tensor], _ path: String) throws -> String
    /// Writes a model directory.
    public var writeModel: (_ module: Module, _ path: String) throws -> Void

    /// Joins the two; without the first, pictures have a frame a column.
    public init(
        writeGrid: @escaping ([Tensor], String) throws -> String = Self.writePicture,
        writeModel: @escaping (Module, String) throws -> Void
    ) {
        self.writeGrid = writeGrid
        self.writeModel = writeModel
    }

    /// Writes clips as a picture: one row each, frames from left to right.
    public static func writePicture(_ rows: [Tensor], _ path: String) throws -> String {
        let clips = stacked(rows)
        let (count, frames, height, width) = (clips.shape[0], clips.shape[1], clips.shape[2], clips.shape[3])
        let picture = clips.permuted([0, 2, 1, 3, 4]).contiguous().reshaped(to: [1, count * height, frames * width, 3])
        _ = try Clip(pixels: picture, frameRate: 1).write(to: URL(fileURLWithPath: path))
        return path
    }

    func writeGrid(_ rows: [Tensor], to path: String) throws -> String { try writeGrid(rows, path) }
    func writeModel(_ module: Module, to path: String) throws { try writeModel(module, path) }
}
