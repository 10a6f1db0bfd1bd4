import Checkpoints
import Datasets
import Foundation
import Media
import Models
import Tensors
import Transforms

/// Pictures, clips or pictures with depth with the numbers of their classes.
struct LabelledSights: Sendable {
    /// Which of the three.
    let kind: Omnivore.Kind
    /// In their order.
    private(set) var samples: [UnderstandingSample]
    private let preprocessing: Preprocessing
    /// What was read and is kept; `nil` for what is read whenever it is needed.
    private var held: [RawSight?]

    /// Names files; nothing is read.
    init(_ samples: [UnderstandingSample], kind: Omnivore.Kind, _ preprocessing: Preprocessing) {
        self.kind = kind
        self.samples = samples
        self.preprocessing = preprocessing
        held = [RawSight?](repeating: nil, count: samples.count)
    }

    /// The number of items.
    var count: Int { samples.count }
    /// Whether nothing has to be read any more.
    var holdsAll: Bool { held.allSatisfy { $0 != nil } }

    /// The number of an item's class.
    func label(_ place: Int) -> Int { samples[place].label ?? 0 }

    /// What an item shows, before anything is done to it.
    func raw(_ place: Int) throws -> RawSight {
        if let sight = held[place] { return sight }
        let sample = samples[place]
        func number(_ name: String) -> Double? { sample.fields[name].flatMap { Double($0) } }
        let depth = sample.depth.map {
            SightSource.Depth(
                MediaSource($0), focalLength: number("focal_length"), baseline: number("baseline"))
        }
        return try preprocessing.read(SightSource(MediaSource(sample.file), depth: depth), isVideo: kind == .video)
    }

    /// An item as evaluation sees it, `[clips, 3 or 4, frames, height, width]`.
    func prepared(_ place: Int) throws -> Tensor {
        if kind == .video, held[place] == nil, let video = preprocessing.video {
            return try video.preparedClips(of: VideoReader(MediaSource(samples[place].file)))
        }
        return try preprocessing.prepared(raw(place))
    }

    /// Reads files, and leaves out those that cannot be read.
    ///
    /// - Parameters:
    ///   - budget: how many more bytes may be kept; less afterwards.
    ///   - checksAll: whether files are read that there is no room to keep, only to see that they can be.
    ///   - shouldStop: asked before each file.
    ///   - progress: called after each file.
    /// - Returns: what cannot be used, and why.
    mutating func load(
        budget: inout Int, checksAll: Bool, shouldStop: () -> Bool, progress: () -> Void
    ) throws -> [DataProblem] {
        var problems: [DataProblem] = []
        var (sound, kept): ([UnderstandingSample], [RawSight?]) = ([], [])
        for (place, sample) in samples.enumerated() {
            var sight: RawSight?
            if budget > 0 || checksAll {
                if shouldStop() { throw CancellationError() }
                do {
                    sight = try raw(place)
                } catch {
                    problems.append(DataProblem(item: sample.file.path, reason: "\(error)"))
                    continue
                }
                progress()
            }
            if let bytes = sight?.byteCount {
                if bytes <= budget { budget -= bytes } else { (sight, budget) = (nil, 0) }
            }
            sound.append(sample)
            kept.append(sight)
        }
        (samples, held) = (sound, kept)
        return problems
    }

    /// The first so many.
    func prefix(_ count: Int) -> LabelledSights {
        LabelledSights(Array(samples.prefix(count)), kind: kind, preprocessing)
    }

    /// Names, sizes and classes; not where the files lie.
    var description: String {
        samples.map { sample in
            var status = stat()
            let size = stat(sample.file.path, &status) == 0 ? Int(status.st_size) : -1
            return "\(kind.rawValue)\t\(sample.file.lastPathComponent)\t\(size)\t\(sample.label ?? 0)\n"
        }.joined()
    }
}

extension Omnivore.Kind {
    /// The same of a data set.
    init(_ kind: SightKind) {
        switch kind {
        case .image: self = .image
        case .video: self = .video
        case .rgbd: self = .rgbd
        }
    }
}
