import Tensors

/// FVD and the inception score of clips: the class scores of all clips of both sides.
struct ClipFeatures {
    private let network: I3DNetwork
    /// Which frames of a clip are looked at; their number is always stated.
    let frames: FrameProtocol
    private var rows = [FeatureRows(width: I3DNetwork.classCount), FeatureRows(width: I3DNetwork.classCount)]

    /// - Throws: ``EvaluationError`` with code `.invalidSetting` for fewer frames than the protocol has.
    init(_ weights: NetworkWeights, _ frames: FrameProtocol) throws {
        let count = frames.count ?? I3DNetwork.fewestFrames
        guard count >= I3DNetwork.fewestFrames else {
            throw EvaluationError(
                .invalidSetting,
                "FVD and the inception score of clips need at least \(I3DNetwork.fewestFrames) frames of each clip, not "
                    + "\(count).")
        }
        self.frames = FrameProtocol(count: count, size: frames.size)
        network = I3DNetwork(weights)
    }

    /// Adds a clip, `[frames, height, width, 3]`, `uint8`.
    ///
    /// - Throws: ``EvaluationError`` with code `.tooFew`.
    mutating func add(_ clip: Tensor, to side: Side, name: String) throws {
        let count = frames.count ?? clip.shape[0]
        guard clip.shape[0] >= count else {
            throw EvaluationError(
                .tooFew, "\(name) has \(clip.shape[0]) frames; FVD and the inception score need \(count) of each clip.")
        }
        rows[side.index].add(network.scores(clip.sliced(0, 0..<count)))
    }

    private func steps(_ measure: String) -> [(String, String)] {
        [("measure", measure)] + frames.steps + [
            PublishedNetwork.i3d.step,
            ("input", "224x224, \(FrameInput.legacyName), x / 127.5 - 1"),
            ("features", "400 class scores, mean over time, before the softmax"),
        ]
    }

    /// - Throws: ``EvaluationError`` with code `.tooFew`.
    func distance() throws -> MeasuredValue {
        let (a, b) = (rows[0], rows[1])
        var remarks: [String] = []
        if min(a.count, b.count) <= I3DNetwork.classCount {
            remarks.append(
                "FVD of \(min(a.count, b.count)) clips is biased upwards: more than 400 a side are needed for covariances "
                    + "of full rank, 2048 are usual.")
        }
        return MeasuredValue(
            "fvd", try FrechetDistance.between(a, b), higherIsBetter: false,
            counts: [("clips", a.count), ("reference_clips", b.count)],
            method: MeasureProtocol(steps("FVD") + [("covariance", "n - 1"), frechetStep]), remarks: remarks)
    }

    /// The score of the generated clips, the mean over splits.
    func score() -> MeasuredValue {
        let count = rows[0].count
        // Ten, as is usual, where each has enough clips to have classes to differ in.
        let splits = count >= 100 ? 10 : 1
        var mean = RunningMean()
        for value in InceptionScore.ofSplits(rows[0].tensor, splits: splits) { mean.add(value) }
        return MeasuredValue(
            "is", mean.mean, higherIsBetter: true, spread: mean.deviation, counts: [("clips", count)],
            method: MeasureProtocol(
                steps("inception score of clips, by I3D's classes") + [("splits", "\(splits), consecutive")]),
            remarks: [
                "This is the inception score of clips by I3D's 400 classes; it does not compare with scores of images by "
                    + "Inception's 1000, for which no weights come with the package that has FID's network."
            ])
    }
}
