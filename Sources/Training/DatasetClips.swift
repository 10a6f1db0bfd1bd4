import Checkpoints
import Datasets
import Foundation
import Tensors

/// The clips of a data set as a trainer sees them.
public struct DatasetClips: ClipSource {
    private let dataset: VideoDataset
    /// Describes entries, their sizes in bytes, captions and how clips are cut, but not where the files lie.
    public let fingerprint: String

    /// Wraps a data set.
    public init(_ dataset: VideoDataset) {
        self.dataset = dataset
        var description = "\(dataset.sampling)\n"
        for entry in dataset.manifest.entries {
            description += "\(entry.fileName)\t\(entry.byteCount ?? -1)\t\(entry.caption)\t"
            description += "\(entry.start ?? 0)\t\(entry.end ?? 0)\n"
        }
        let checksum = Array(description.utf8).withUnsafeBytes { fileChecksum(of: $0) }
        fingerprint = "\(dataset.count)-\(String(checksum, radix: 16))"
    }

    public var count: Int { dataset.count }

    /// Where frames are decoded as they are read, as many threads as compute, and four at most.
    public var readerCount: Int { dataset.decodesWhileReading ? min(4, Threads.count) : 1 }

    public func pixels(_ index: Int, epoch: Int?) throws -> Tensor {
        try dataset.sample(index, epoch: epoch ?? 0).pixels
    }

    public func caption(_ index: Int) -> String { dataset.manifest.entries[index].caption }

    public func name(_ index: Int) -> String {
        let entry = dataset.manifest.entries[index]
        return "\(entry.name)|\(entry.start ?? 0)|\(entry.end ?? 0)"
    }
}
