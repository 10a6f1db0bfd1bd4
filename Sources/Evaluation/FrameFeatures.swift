import Tensors

/// FID: the features of all frames of both sides.
struct FrameFeatures {
    private let network: InceptionNetwork
    private let batch: Int
    private var rows = [
        FeatureRows(width: InceptionNetwork.featureCount), FeatureRows(width: InceptionNetwork.featureCount),
    ]

    init(_ weights: NetworkWeights, batch: Int) {
        network = InceptionNetwork(weights)
        self.batch = batch
    }

    /// Adds frames, `[frames, height, width, 3]`, `uint8`.
    mutating func add(_ frames: Tensor, to side: Side) {
        for start in stride(from: 0, to: frames.shape[0], by: batch) {
            let part = frames.sliced(0, start..<min(start + batch, frames.shape[0]))
            rows[side.index].add(network.features(part))
        }
    }

    /// - Throws: ``EvaluationError`` with code `.tooFew`.
    func result(_ frames: FrameProtocol) throws -> MeasuredValue {
        let (a, b) = (rows[0], rows[1])
        for (name, side) in [("generated", a), ("reference", b)] where side.count < Measure.fid.fewest {
            throw EvaluationError(
                .tooFew, "FID needs at least \(Measure.fid.fewest) frames on each side; there is \(side.count) \(name)."
            )
        }
        var remarks: [String] = []
        if min(a.count, b.count) <= InceptionNetwork.featureCount {
            remarks.append(
                "FID of \(min(a.count, b.count)) frames is biased upwards: more than 2048 a side are needed for "
                    + "covariances of full rank, 10000 and more are usual.")
        }
        let method = MeasureProtocol(
            [("measure", "FID")] + frames.steps + [
                PublishedNetwork.inception.step,
                ("input", "every frame, 299x299, \(FrameInput.legacyName), x / 128 - 1"),
                ("features", "2048, last pool"), ("covariance", "n - 1"), frechetStep,
            ])
        return MeasuredValue(
            "fid", try FrechetDistance.between(a, b), higherIsBetter: false,
            counts: [("frames", a.count), ("reference_frames", b.count)], method: method, remarks: remarks)
    }
}

/// How both Fréchet distances are computed.
let frechetStep = ("distance", "Fréchet of normal distributions, double precision, nothing added to the covariances")

extension Side {
    /// Its place in a pair.
    var index: Int { self == .generated ? 0 : 1 }
}
