import Tensors

/// The measures in progress.
struct ClipWork {
    private let settings: EvaluationSettings
    private var signal: PeakSignalToNoise?
    private var structure: StructuralSimilarity?
    private var perception: PerceptualDistance?
    private var frames: FrameFeatures?
    private var clips: ClipFeatures?

    /// Whether pairs are compared.
    var isPaired: Bool { settings.measures.contains(where: \.isPaired) }
    /// Whether the reference is looked at.
    var readsReference: Bool { settings.measures.contains(where: \.needsReference) }

    /// The frames that any measure looks at.
    var readFrames: FrameProtocol {
        guard let clips, settings.measures.allSatisfy({ $0 == .fvd || $0 == .is }) else { return settings.frames }
        return clips.frames
    }

    /// - Throws: ``EvaluationError`` and ``CheckpointError`` when a network is not to be had.
    init(_ settings: EvaluationSettings, _ networks: NetworkStore?) throws {
        self.settings = settings
        let measures = settings.measures
        func weights(_ network: PublishedNetwork, for measure: String) throws -> NetworkWeights {
            guard let networks else {
                throw EvaluationError(
                    .invalidSetting,
                    "The measure \(measure) looks through the network \(network.name); the folder with the converted "
                        + "networks was not given.")
            }
            return try networks.weights(of: network)
        }
        if measures.contains(.psnr) { signal = PeakSignalToNoise() }
        if measures.contains(.ssim) { structure = StructuralSimilarity() }
        if measures.contains(.lpips) {
            let network = settings.perceptualNetwork
            perception = PerceptualDistance(
                network, try weights(network, for: "lpips"), batch: max(1, settings.batch / 2))
        }
        if measures.contains(.fid) {
            frames = FrameFeatures(try weights(.inception, for: "fid"), batch: settings.batch)
        }
        if measures.contains(.fvd) || measures.contains(.is) {
            clips = try ClipFeatures(
                weights(.i3d, for: measures.contains(.fvd) ? "fvd" : "is"), settings.frames)
        }
    }

    /// Compares a clip with its partner, both `[frames, height, width, 3]`, `uint8`, of one shape.
    mutating func compare(_ a: Tensor, _ b: Tensor) throws {
        signal?.add(a, b)
        try structure?.add(a, b)
        try perception?.add(a, b)
    }

    /// Adds a clip to one side, as far as a measure of collections wants it.
    mutating func add(_ pixels: Tensor, to side: Side, name: String) throws {
        frames?.add(pixels, to: side)
        guard side == .generated || settings.measures.contains(.fvd) else { return }
        try clips?.add(pixels, to: side, name: name)
    }

    /// The numbers, in the order in which the measures were asked for.
    func results() throws -> [MeasuredValue] {
        try settings.measures.compactMap { measure in
            switch measure {
            case .psnr: signal?.result(settings.frames)
            case .ssim: structure?.result(settings.frames)
            case .lpips: perception?.result(settings.frames)
            case .fid: try frames?.result(settings.frames)
            case .fvd: try clips?.distance()
            case .is: clips?.score()
            case .codebook, .recall, .judge: nil
            }
        }
    }
}
