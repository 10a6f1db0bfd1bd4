import Checkpoints
import Foundation
import Media
import Models
import NeuralNets
import Tensors
import Transforms

/// A model directory whose Omnivore tells its own classes apart, ready for files.
public final class SightClassifier {
    /// The key of `config.json` under which the names of the heads' classes stand.
    public static let classesKey = "classes"

    /// A picture, clip or picture with depth as the model takes it.
    public struct Input {
        /// Whose head classifies it.
        public let kind: Omnivore.Kind
        /// `[clips, 3 or 4, frames, height, width]`.
        let pixels: Tensor
    }

    private let model: Omnivore
    private let preprocessing: Preprocessing
    private let classes: [Omnivore.Kind: [String]]
    private let path: String

    /// Takes a model that was read.
    ///
    /// - Parameters:
    ///   - pretrained: the model directory.
    ///   - names: the names of the classes of one head, for a directory that does not have them: of the head with as many.
    ///   - clips: how many parts of a video are looked at, at most; what the directory says when `nil`.
    /// - Throws: ``UnderstandingError`` for a model that has no heads, or whose preparation or names of classes are missing or
    ///   do not fit it; ``CheckpointError`` for members that are wrong.
    public init(_ pretrained: PretrainedModel, names: [String]? = nil, clips: Int? = nil) throws {
        path = pretrained.path
        guard let model = pretrained.module as? Omnivore else {
            throw UnderstandingError("\(path) holds the model \(pretrained.name), which has no classes of its own.")
        }
        guard let fields = try pretrained.extra.optionalFields("preprocessing") else {
            throw UnderstandingError(
                "The config.json of \(path) does not say how inputs are prepared (member 'preprocessing').")
        }
        preprocessing = try Preprocessing(fields).looking(atClips: clips, path)
        let stated = try pretrained.extra.optionalFields(Self.classesKey)
        try stated?.rejectUnknown(known: Omnivore.Kind.allCases.map(\.rawValue))
        var classes: [Omnivore.Kind: [String]] = [:]
        for kind in model.kinds {
            guard let own = try stated?.optionalStrings(kind.rawValue) else { continue }
            guard own.count == model.classCount(kind) else {
                throw UnderstandingError(
                    "The config.json of \(path) names \(own.count) classes of '\(kind.rawValue)', and the head has "
                        + "\(model.classCount(kind) ?? 0).")
            }
            classes[kind] = own
        }
        if let names {
            let fitting = model.kinds.filter { model.classCount($0) == names.count }
            guard !fitting.isEmpty else {
                let counts = model.kinds.map { "\(model.classCount($0) ?? 0) (\($0.rawValue))" }
                throw UnderstandingError(
                    "There are \(names.count) names of classes, and the heads of \(path) have "
                        + "\(counts.joined(separator: ", ")).")
            }
            for kind in fitting { classes[kind] = names }
        }
        (self.model, self.classes) = (model, classes)
        model.packForInference()
    }

    /// The names of a head's classes by number; the numbers themselves where nothing says what they are.
    ///
    /// - Throws: ``UnderstandingError`` when there is no such head.
    public func classes(of kind: Omnivore.Kind) throws -> [String] {
        if let own = classes[kind] { return own }
        guard let count = model.classCount(kind) else {
            let kinds = model.kinds.map { "'\($0.rawValue)'" }.joined(separator: ", ")
            throw UnderstandingError("The model of \(path) has no head for '\(kind.rawValue)'; it has \(kinds).")
        }
        return (0..<count).map { "class \($0)" }
    }

    /// Reads a picture or clip, with its depth if it has one, and prepares it.
    ///
    /// - Throws: ``MediaError`` for a file that cannot be read, ``TransformError``; ``UnderstandingError`` when the model has no
    ///   head for what it is.
    public func prepare(_ source: SightSource) throws -> Input {
        if source.depth == nil, let video = preprocessing.video {
            let reader = try VideoReader(source.file)
            if !reader.info.isStill {
                _ = try classes(of: .video)
                return Input(kind: .video, pixels: try video.preparedClips(of: reader))
            }
        }
        let sight = try preprocessing.read(source)
        let kind: Omnivore.Kind =
            switch sight {
            case .image: .image
            case .video: .video
            case .rgbd: .rgbd
            }
        _ = try classes(of: kind)
        return Input(kind: kind, pixels: try preprocessing.prepared(sight))
    }

    /// The most probable classes of each input, the best first; a clip's are the mean over its parts.
    public func guesses(_ inputs: [Input], count: Int = 5) throws -> [[ZeroShotClassifier.Guess]] {
        var result = [[ZeroShotClassifier.Guess]](repeating: [], count: inputs.count)
        for kind in Omnivore.Kind.allCases {
            let places = inputs.indices.filter { inputs[$0].kind == kind }
            guard !places.isEmpty else { continue }
            let names = try classes(of: kind)
            // The parts of one video are a batch of their own: clips are what takes memory.
            for group in kind == .video ? places.map({ [$0] }) : [places] {
                let pixels = group.map { inputs[$0].pixels }
                guard
                    let shares = model.probabilities(
                        concatenated(pixels), counts: pixels.map { $0.shape[0] }, kind: kind)
                else { continue }
                let values = shares.scalars(Float.self)
                for (row, place) in group.enumerated() {
                    let own = Array(values[row * names.count..<(row + 1) * names.count])
                    let order = own.indices.sorted { own[$0] != own[$1] ? own[$0] > own[$1] : $0 < $1 }
                    result[place] = order.prefix(count).map {
                        ZeroShotClassifier.Guess(place: $0, label: names[$0], probability: Double(own[$0]))
                    }
                }
            }
        }
        return result
    }
}

extension Preprocessing {
    /// The same with another number of parts of a video.
    fileprivate func looking(atClips count: Int?, _ path: String) throws -> Preprocessing {
        guard let count else { return self }
        var result = self
        guard let video, video.frameRate != nil || count == 1 else {
            throw UnderstandingError(
                "The config.json of \(path) does not say how long a part of a video is ('preprocessing.video.frame_rate'), so "
                    + "that only the whole of it can be looked at.")
        }
        result.video?.clipCount = count
        return result
    }
}
