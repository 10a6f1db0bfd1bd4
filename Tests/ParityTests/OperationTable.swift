import Checkpoints
import NeuralNets
import Tensors

/// What runs an operation: its results, then the buffers it changed.
typealias OperationRunner = @Sendable (Operands) throws -> [Tensor]

/// Every operation of the fixtures by PyTorch's name, either as the engine's own primitive or composed of them.
let operationTable: [String: OperationRunner] = [
    convolutionOperations, normalizationOperations, elementwiseOperations, lossOperations, productOperations,
    reductionOperations, indexingOperations, optimizerOperations, poolingOperations,
].reduce(into: [:]) { table, part in table.merge(part) { first, _ in first } }

private let convolutionOperations: [String: OperationRunner] = {
    @Sendable func geometry(_ x: Operands) throws -> ConvolutionGeometry {
        ConvolutionGeometry(
            kernel: Array(x[1].shape[2...]), stride: try x.arguments.optionalIntegers("stride"),
            dilation: try x.arguments.optionalIntegers("dilation"),
            padFront: try x.arguments.optionalIntegers("padding"))
    }
    let forward: OperationRunner = { x in
        let groups = try x.arguments.integer("groups", default: 1)
        guard groups > 1 else { return [x[0].convolved(x[1], bias: x.optional(2), geometry: try geometry(x))] }
        let (inputs, weights) = (x[0].split(1, into: groups), x[1].split(0, into: groups))
        let biases = x[2].split(0, into: groups)
        return [
            concatenated(
                try (0..<groups).map { inputs[$0].convolved(weights[$0], bias: biases[$0], geometry: try geometry(x)) },
                axis: 1)
        ]
    }
    let transposed: OperationRunner = { x in
        [
            x[0].convolvedTransposed(
                x[1], bias: x.optional(2), geometry: try geometry(x),
                outputPadding: try x.arguments.optionalIntegers("output_padding"))
        ]
    }
    return ["conv2d": forward, "conv3d": forward, "conv_transpose2d": transposed, "conv_transpose3d": transposed]
}()

private let poolingOperations: [String: OperationRunner] = {
    @Sendable func geometry(_ x: Operands) throws -> ConvolutionGeometry {
        ConvolutionGeometry(
            kernel: try x.arguments.integers("kernel_size"), stride: try x.arguments.integers("stride"),
            padFront: try x.arguments.integers("padding"))
    }
    return [
        "max_pool": { [$0[0].maxPooled(try geometry($0))] },
        "avg_pool": { x in
            let countsPadding = try x.arguments.bool("count_include_pad", default: true)
            return [x[0].averagePooled(try geometry(x), countsPadding: countsPadding)]
        },
        "adaptive_avg_pool": { [$0[0].mean(axes: Array(2..<$0[0].rank), keepsAxes: true)] },
    ]
}()

private let normalizationOperations: [String: OperationRunner] = [
    "layer_norm": { x in
        let axes = try x.arguments.integers("normalized_shape").count
        let flat = x[0].reshaped(to: Array(x[0].shape.dropLast(axes)) + [x[1].count])
        return [
            flat.layerNorm(gain: x[1].flattened(), offset: x[2].flattened(), epsilon: try x.double("eps", 1e-5))
                .reshaped(to: x[0].shape)
        ]
    },
    "group_norm": { x in
        [
            x[0].groupNorm(
                groups: try x.integer("num_groups"), gain: x[1], offset: x[2], epsilon: try x.double("eps", 1e-5))
        ]
    },
    "batch_norm": { x in
        let epsilon = try x.double("eps", 1e-5)
        guard try x.arguments.bool("training") else {
            return [x[0].batchNorm(mean: x[1], variance: x[2], gain: x[3], offset: x[4], epsilon: epsilon), x[1], x[2]]
        }
        let result = x[0].batchNorm(gain: x[3], offset: x[4], epsilon: epsilon)
        let count = Double(x[0].count / x[0].shape[1])
        var (mean, variance) = (x[1], x[2])
        mean.blend(result.mean, weight: try x.double("momentum", 0.1))
        variance.blend(result.variance * (count / (count - 1)), weight: try x.double("momentum", 0.1))
        return [result.output, mean, variance]
    },
]

private let elementwiseOperations: [String: OperationRunner] = [
    "relu": { [$0[0].relu()] },
    "gelu": { [$0[0].gelu()] },
    "gelu_tanh": { x in
        let inner = (x[0] + x[0] * x[0] * x[0] * 0.044715) * (2 / Double.pi).squareRoot()
        return [x[0] * 0.5 * (inner.tanh() + 1)]
    },
    "quick_gelu": { [$0[0].quickGELU()] },
    "silu": { [$0[0].silu()] },
    "sigmoid": { [$0[0].sigmoid()] },
    "tanh": { [$0[0].tanh()] },
    "exp": { [$0[0].exp()] },
    "softplus": { [($0[0].exp() + 1).log()] },
    "leaky_relu": { [$0[0] * 0.2 + $0[0].relu() * 0.8] },
    "abs": { [$0[0].abs()] },
    "neg": { [-$0[0]] },
    "square": { [$0[0].squared()] },
    "sin": { [$0[0].sin()] },
    "cos": { [$0[0].cos()] },
    "log": { [$0[0].log()] },
    "sqrt": { [$0[0].squareRoot()] },
    "rsqrt": { [$0[0].reciprocalSquareRoot()] },
    "reciprocal": { [$0[0].reciprocal()] },
    "pow": { [$0[0].power(try $0.double("exponent", 1))] },
    "clamp": { [$0[0].clamped(try $0.double("min", 0), try $0.double("max", 0))] },
    "add": { [$0[0] + $0[1]] },
    "sub": { [$0[0] - $0[1]] },
    "mul": { [$0[0] * $0[1]] },
    "div": { [$0[0] / $0[1]] },
    "maximum": { [Tensor.maximum($0[0], $0[1])] },
    "minimum": { [Tensor.minimum($0[0], $0[1])] },
    "where": { x in
        let chosen = x[0].cast(to: .float32)
        return [x[1] * chosen + x[2] * (1 - chosen)]
    },
    "masked_fill": { [$0[0].filled(where: $0[1], with: try $0.double("value", 0))] },
    "softmax": { x in
        let axis = try x.integer("dim")
        return [x[0].movingAxis(axis, to: -1).softmax().movingAxis(-1, to: axis)]
    },
    "log_softmax": { x in
        let axis = try x.integer("dim")
        return [x[0].movingAxis(axis, to: -1).logSoftmax().movingAxis(-1, to: axis)]
    },
    "logsumexp": { x in
        let axis = try x.integer("dim")
        let highest = x[0].detached.maximum(along: axis).values
        return [(x[0] - highest.unsqueezed(axis)).exp().sum(axes: [axis]).log() + highest]
    },
]

private let lossOperations: [String: OperationRunner] = [
    "cross_entropy": { x in
        let ignored = try x.arguments.integer("ignore_index", default: -100)
        let smoothing = try x.double("label_smoothing", 0)
        switch try x.arguments.string("reduction", default: "mean") {
        case "none": return [x[0].crossEntropy(x[1], ignored: ignored, smoothing: smoothing)]
        case "sum": return [x[0].crossEntropy(x[1], ignored: ignored, smoothing: smoothing).sum()]
        default: return [meanCrossEntropy(x[0], x[1], ignored: ignored, smoothing: smoothing)]
        }
    },
    "mse_loss": { [meanSquaredError($0[0], $0[1])] },
    "l1_loss": { [meanAbsoluteError($0[0], $0[1])] },
    "smooth_l1_loss": { x in
        let size = (x[0] - x[1]).abs()
        let inside = size.clamped(0, 1)
        return [(inside.squared() * 0.5 + size - inside).mean()]
    },
    "bce_with_logits": { x in
        let softplus = x[0].relu() + ((-x[0].abs()).exp() + 1).log()
        return [(softplus - x[0] * x[1]).mean()]
    },
    "kl_div": { x in [((x[1].log() - x[0]) * x[1]).sum() / Double(x[0].shape[0])] },
]

private let productOperations: [String: OperationRunner] = [
    "linear": { [$0[0].linear($0[1], bias: $0.optional(2))] },
    "matmul": { [matmul($0[0], $0[1])] },
    "matmul_transposed": { [matmul($0[0], $0[1].transposed())] },
    "attention": { x in
        let mask = AttentionMask(isCausal: try x.arguments.bool("is_causal", default: false), keep: x.optional(3))
        return [scaledDotProductAttention(x[0], x[1], x[2], mask: mask)]
    },
    "cdist_squared": { x in [(x[0].unsqueezed(1) - x[1].unsqueezed(0)).squared().sum(axes: [-1])] },
]

private let optimizerOperations: [String: OperationRunner] = {
    /// The parameter after each of the five steps.
    @Sendable func steps(_ x: Operands, _ update: (Linear, [String: Tensor]) -> Void, _ module: Linear) -> [Tensor] {
        module.weight = x[0]
        return x.values.dropFirst().map { gradient in
            update(module, ["weight": gradient])
            return module.weight.detached
        }
    }
    @Sendable func adam(_ x: Operands, isCoupled: Bool) throws -> [Tensor] {
        let decay = try x.double("weight_decay", 0)
        let module = Linear(x[0].shape[1], x[0].shape[0], bias: false, key: RandomKey(seed: 0))
        let betas = try x.arguments.doubles("betas")
        let optimizer = AdamW(
            module, betas: (betas[0], betas[1]), epsilon: try x.double("eps", 1e-8), weightDecay: decay,
            couplesDecay: isCoupled)
        let rate = try x.double("lr", 0)
        return steps(x, { optimizer.update($1, rate: rate) }, module)
    }
    return [
        "optimizer.AdamW": { try adam($0, isCoupled: false) },
        "optimizer.Adam": { try adam($0, isCoupled: true) },
        "optimizer.AnyPrecisionAdamW": { x in
            let module = Linear(x[0].shape[1], x[0].shape[0], bias: false, key: RandomKey(seed: 0))
            let betas = try x.arguments.doubles("betas")
            let momentum = try x.arguments.string("momentum_dtype", default: "float32")
            let optimizer = AnyPrecisionAdamW(
                module, betas: (betas[0], betas[1]), epsilon: try x.double("eps", 1e-8),
                weightDecay: try x.double("weight_decay", 0),
                usesKahanSummation: try x.arguments.bool("use_kahan_summation", default: false),
                momentum: momentum == "bfloat16" ? .bfloat16 : .float32)
            let rate = try x.double("lr", 0)
            return steps(x, { optimizer.update($1, rate: rate) }, module)
        },
        "optimizer.SGD": { x in
            let module = Linear(x[0].shape[1], x[0].shape[0], bias: false, key: RandomKey(seed: 0))
            let optimizer = SGD(
                module, momentum: try x.double("momentum", 0),
                isNesterov: try x.arguments.bool("nesterov", default: false),
                weightDecay: try x.double("weight_decay", 0))
            let rate = try x.double("lr", 0)
            return steps(x, { optimizer.update($1, rate: rate) }, module)
        },
    ]
}()
