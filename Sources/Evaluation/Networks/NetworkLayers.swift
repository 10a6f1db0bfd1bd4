import Tensors

extension NetworkWeights {
    /// The convolution of a unit, with its batch normalization folded in where it has one.
    ///
    /// - Parameters:
    ///   - name: the unit's; `name.weight`, and `name.bias` or `name.beta`, `.mean`, `.var`.
    ///   - padding: how much is added around the input.
    ///   - rectifies: whether negative results become 0.
    func convolution(
        _ name: String, stride: [Int]? = nil, padding: WindowPadding = .none, rectifies: Bool = true
    ) -> NetworkConvolution {
        let weight = self[name + ".weight"]
        let stride = stride ?? [Int](repeating: 1, count: weight.rank - 2)
        guard let beta = tensors[name + ".beta"] else {
            return NetworkConvolution(
                weight: weight, bias: tensors[name + ".bias"], stride: stride, padding: padding, rectifies: rectifies)
        }
        // Without a gain: (x - mean) / sqrt(var + 0.001) + beta, as both packages have it.
        let scale = (self[name + ".var"] + 1e-3).squareRoot().reciprocal()
        let shape = [weight.shape[0]] + [Int](repeating: 1, count: weight.rank - 1)
        return NetworkConvolution(
            weight: (weight * scale.reshaped(to: shape)).contiguous(), bias: beta - self[name + ".mean"] * scale,
            stride: stride, padding: padding, rectifies: rectifies)
    }
}

/// How a window is placed over the edges of its input.
enum WindowPadding: Sendable {
    /// Inside the input only.
    case none
    /// The same amount at the front and the back of each axis.
    case by([Int])
    /// As TensorFlow's and Flax's "SAME": sizes become ⌈size / stride⌉, the smaller half is in front.
    case same

    func amounts(_ size: [Int], kernel: [Int], stride: [Int]) -> (front: [Int], back: [Int]) {
        switch self {
        case .none: return (size.map { _ in 0 }, size.map { _ in 0 })
        case .by(let amounts): return (amounts, amounts)
        case .same:
            let total = size.indices.map { axis in
                max(((size[axis] + stride[axis] - 1) / stride[axis] - 1) * stride[axis] + kernel[axis] - size[axis], 0)
            }
            return (total.map { $0 / 2 }, total.map { $0 - $0 / 2 })
        }
    }
}

/// A convolution with its bias and, usually, a rectifier.
struct NetworkConvolution: Sendable {
    let weight: Tensor
    let bias: Tensor?
    let stride: [Int]
    let padding: WindowPadding
    let rectifies: Bool

    /// `[batch, inputs, space...]` to `[batch, outputs, space...]`.
    func callAsFunction(_ x: Tensor) -> Tensor {
        let kernel = Array(weight.shape[2...])
        let pads = padding.amounts(Array(x.shape[2...]), kernel: kernel, stride: stride)
        let y = x.convolved(
            weight, bias: bias,
            geometry: ConvolutionGeometry(kernel: kernel, stride: stride, padFront: pads.front, padBack: pads.back))
        return rectifies ? y.relu() : y
    }
}

/// Pooling over windows of two or three axes.
struct NetworkPool: Sendable {
    enum Kind { case largest, mean }

    let kind: Kind
    let kernel: [Int]
    let stride: [Int]
    let padding: WindowPadding

    init(_ kind: Kind, kernel: [Int], stride: [Int], padding: WindowPadding = .none) {
        self.kind = kind
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
    }

    /// `[batch, channels, space...]`; what lies outside the input counts neither for the largest nor for the mean.
    func callAsFunction(_ x: Tensor) -> Tensor {
        let pads = padding.amounts(Array(x.shape[2...]), kernel: kernel, stride: stride)
        let geometry = ConvolutionGeometry(kernel: kernel, stride: stride, padFront: pads.front, padBack: pads.back)
        switch kind {
        case .largest: return x.maxPooled(geometry)
        case .mean: return x.averagePooled(geometry, countsPadding: false)
        }
    }
}
