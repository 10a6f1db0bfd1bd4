import Tensors

/// The measures in progress.
struct ClipWork {
    private let settings: EvaluationSettings
    private var signal: PeakSignalToNoise?
    private var structure: StructuralSimilarity?

    /// Whether pairs are compared.
    var isPaired: Bool { settings.measures.contains(where: \.isPaired) }
    /// Whether the reference is looked at.
    var readsReference: Bool { settings.measures.contains(where: \.needsReference) }

    init(_ settings: EvaluationSettings, _ networks: NetworkStore?) throws {
        self.settings = settings
        let measures = settings.measures
        if measures.contains(.psnr) { signal = PeakSignalToNoise() }
        if measures.contains(.ssim) { structure = StructuralSimilarity() }
    }

    /// Compares a clip with its partner, both `[frames, height, width, 3]`, `uint8`, of one shape.
    mutating func compare(_ a: Tensor, _ b: Tensor) throws {
        signal?.add(a, b)
        try structure?.add(a, b)
    }

    /// Adds a clip to one side.
    mutating func add(_ frames: Tensor?, to side: Side) throws {}

    /// The numbers, in the order in which the measures were asked for.
    func results() throws -> [MeasuredValue] {
        try settings.measures.flatMap { measure -> [MeasuredValue] in
            switch measure {
            case .psnr: signal.map { [$0.result(settings.frames)] } ?? []
            case .ssim: structure.map { [$0.result(settings.frames)] } ?? []
            default: []
            }
        }
    }
}
