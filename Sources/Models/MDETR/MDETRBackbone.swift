// The image side of MDETR, after torchmultimodal/models/mdetr/image_encoder.py.

import NeuralNets
import Tensors

/// Images of several sizes as one tensor, and which places of it are padding.
public struct PaddedImages {
    /// `[batch, channels, height, width]`: each image in the upper left corner, zeros elsewhere.
    public let pixels: Tensor
    /// `[batch, height, width]`, `bool`, true for padding.
    public let mask: Tensor

    /// Pads images to the largest height and width among them.
    ///
    /// - Parameter images: `[channels, height, width]` each, all with as many channels.
    /// - Precondition: there is at least one image.
    public init(_ images: [Tensor]) {
        precondition(!images.isEmpty, "PaddedImages: there is no image")
        let height = images.map { $0.shape[1] }.max() ?? 0
        let width = images.map { $0.shape[2] }.max() ?? 0
        pixels = stacked(
            images.map { $0.padded([(0, 0), (0, height - $0.shape[1]), (0, width - $0.shape[2])]) })
        var flags: [Bool] = []
        for image in images {
            for row in 0..<height {
                for column in 0..<width { flags.append(row >= image.shape[1] || column >= image.shape[2]) }
            }
        }
        mask = Tensor(flags, shape: [images.count, height, width])
    }

    /// A mask at another size, each place taken from the nearest one (as PyTorch's `interpolate` rounds).
    ///
    /// - Returns: `[batch, height, width]`, `bool`, for a mask `[batch, height, width]`.
    public static func mask(_ mask: Tensor, resizedTo height: Int, _ width: Int) -> Tensor {
        let flags = mask.scalars(Bool.self)
        let (batch, rows, columns) = (mask.shape[0], mask.shape[1], mask.shape[2])
        func sources(_ count: Int, of size: Int) -> [Int] {
            let step = Float(size) / Float(count)
            return (0..<count).map { min(Int(Float($0) * step), size - 1) }
        }
        let (down, across) = (sources(height, of: rows), sources(width, of: columns))
        var result: [Bool] = []
        result.reserveCapacity(batch * height * width)
        for image in 0..<batch {
            for row in down {
                for column in across { result.append(flags[(image * rows + row) * columns + column]) }
            }
        }
        return Tensor(result, shape: [batch, height, width])
    }
}

/// A residual network up to its last maps, and the images' mask at their size, key `body`.
public final class MaskedBackbone: Module {
    /// The network, without its classifier.
    public let body: ResNet

    /// A backbone.
    ///
    /// - Parameter isFrozenBelow: whether the first convolution and the first stage are not trained, as in the peer.
    public init(_ body: ResNet, isFrozenBelow: Bool = true) {
        self.body = body
        super.init()
        guard isFrozenBelow else { return }
        for (key, parameter) in body.parameters
        where !["layer2.", "layer3.", "layer4."].contains(where: key.hasPrefix) {
            parameter.isTrainable = false
        }
    }

    /// The maps `[batch, channels, height / 32, width / 32]` and their mask, `[batch, height / 32, width / 32]`.
    public func callAsFunction(
        _ pixels: Tensor, mask: Tensor, _ context: ForwardContext
    ) -> (maps: Tensor, mask: Tensor) {
        let maps = body.features(pixels, context)
        return (maps, PaddedImages.mask(mask, resizedTo: maps.shape[2], maps.shape[3]))
    }
}
