import Foundation
import Media
import Tensors

/// Which measures are taken of clips, and how.
public struct EvaluationSettings: Sendable {
    /// The measures; those of clips only.
    public var measures: [Measure]
    /// The frames that are measured.
    public var frames: FrameProtocol
    /// The network of LPIPS.
    public var perceptualNetwork: PublishedNetwork
    /// Frames that go through a network together; changes memory and speed only.
    public var batch: Int

    /// Creates settings.
    public init(
        measures: [Measure], frames: FrameProtocol = FrameProtocol(),
        perceptualNetwork: PublishedNetwork = .lpipsAlexNet, batch: Int = 8
    ) {
        self.measures = measures
        self.frames = frames
        self.perceptualNetwork = perceptualNetwork
        self.batch = batch
    }
}

/// Measures clips, one at a time, so that memory does not grow with their number.
public struct ClipEvaluation {
    private let settings: EvaluationSettings
    private let generated: ClipSet
    private let reference: ClipSet?
    private let networks: NetworkStore?

    /// Prepares a comparison, refusing what cannot be measured before anything is read.
    ///
    /// - Parameters:
    ///   - generated: the clips that are judged.
    ///   - reference: what they are compared with, for measures that need it.
    ///   - networks: where the converted networks are, for measures that need one.
    /// - Throws: ``EvaluationError``: `.tooFew`, `.unpaired`, `.invalidSetting`, `.missingNetwork`.
    public init(
        _ settings: EvaluationSettings, generated: ClipSet, reference: ClipSet? = nil, networks: NetworkStore? = nil
    ) throws {
        self.settings = settings
        self.generated = generated
        self.reference = reference
        self.networks = networks
        for measure in settings.measures {
            guard measure.takesClips else {
                throw EvaluationError(.invalidSetting, "The measure \(measure.rawValue) is not taken of clips.")
            }
            try check(measure)
        }
    }

    private func check(_ measure: Measure) throws {
        guard generated.count > 0 else { throw EvaluationError(.tooFew, "\(generated.name) holds no clips.") }
        guard measure.needsReference else { return }
        guard let reference, reference.count > 0 else {
            throw EvaluationError(
                .invalidSetting,
                "The measure \(measure.rawValue) compares clips with others; none are given to compare with.")
        }
        if measure.isPaired, generated.count != reference.count {
            throw EvaluationError(
                .unpaired,
                "The measure \(measure.rawValue) compares clip by clip: \(generated.name) holds \(generated.count) clips "
                    + "and \(reference.name) \(reference.count).")
        }
        if measure == .fvd {
            for set in [generated, reference] where set.count < measure.fewest {
                throw EvaluationError(
                    .tooFew, "FVD needs at least \(measure.fewest) clips on each side; \(set.name) holds \(set.count).")
            }
        }
    }

    /// Reads all clips and measures.
    ///
    /// - Parameter progress: told how many clips of all were read; may throw to stop.
    /// - Throws: ``EvaluationError`` and ``MediaError``.
    public func run(progress: (Int, Int) throws -> Void = { _, _ in }) throws -> [MeasuredValue] {
        var work = try ClipWork(settings, networks)
        let total = max(generated.count, work.readsReference ? reference?.count ?? 0 : 0)
        let frames = work.readFrames
        for index in 0..<total {
            try progress(index, total)
            let a = index < generated.count ? try generated.frames(index, frames) : nil
            var b: Tensor?
            if work.readsReference, let reference, index < reference.count {
                b = try reference.frames(index, frames)
            }
            if let a, let b, work.isPaired { try pair(a, b, index, &work) }
            if let a { try work.add(a, to: .generated, name: generated.entries[index].source.name) }
            if let b { try work.add(b, to: .reference, name: reference?.entries[index].source.name ?? "") }
        }
        try progress(total, total)
        return try work.results()
    }

    private func pair(_ a: Tensor, _ b: Tensor, _ index: Int, _ work: inout ClipWork) throws {
        guard a.shape == b.shape else {
            func text(_ x: Tensor) -> String { "\(x.shape[0]) frames of \(x.shape[2]) x \(x.shape[1])" }
            let names = [generated.entries[index].source.name, reference?.entries[index].source.name ?? ""]
            throw EvaluationError(
                .unpaired,
                "\(names[0]) has \(text(a)) and \(names[1]) \(text(b)); paired measures need the same of both (a number "
                    + "of frames and a size can be given).")
        }
        try work.compare(a, b)
    }
}

/// The sides of a comparison.
enum Side { case generated, reference }
