import Distributed
import Foundation
import NeuralNets
import Tensors

// Checkpoints have one format: a state that lies in pieces is written tensor by tensor, each put together in the first
// process when its turn comes, so that it is whole nowhere.

extension ShardedParameters {
    /// Parts of a state (`model`, `optimizer`, `ema`): this process's pieces, by name.
    typealias Parts = [String: [String: Tensor]]

    /// What the whole tensors look like of which the processes have pieces, without their values; all of them call this.
    ///
    /// What belongs to no parameter is taken as it is.
    func outlines(_ parts: Parts) throws -> Parts {
        var lines: [String] = []
        for (part, tensors) in parts {
            for (name, tensor) in tensors where shape(ofName: name) != nil {
                lines.append("\(part)\t\(name)\t\(tensor.dtype.rawValue)")
            }
        }
        var result = parts.mapValues { $0.filter { shape(ofName: $0.key) == nil } }
        for own in try group.allGather(Array(lines.joined(separator: "\n").utf8)) {
            for line in String(decoding: own, as: UTF8.self).split(separator: "\n") {
                let fields = line.split(separator: "\t").map(String.init)
                guard fields.count == 3, let dtype = DType(rawValue: fields[2]), let shape = shape(ofName: fields[1])
                else { continue }
                result[fields[0], default: [:]][fields[1]] = Tensor.zeros([1], dtype: dtype)
                    .reshaped(to: shape.map { _ in 1 }).broadcast(to: shape)
            }
        }
        return result
    }

    /// In the first process: puts a tensor together from what the others, which lend it, have of it.
    func fetch(_ part: String, _ name: String, _ outline: Tensor, from parts: Parts) throws -> Tensor {
        guard shape(ofName: name) != nil else { return outline }
        _ = try group.allGather(Array("\(part)\t\(name)".utf8))
        let bytes = try Array(group.gather(piece(part, name, parts)).joined())
        return try bytes.withUnsafeBytes { try Tensor(bytes: $0, shape: outline.shape, dtype: outline.dtype) }
    }

    /// In the others: hands over pieces until the first process has written everything.
    func lend(_ parts: Parts) throws {
        while true {
            let wanted = String(decoding: try group.allGather([])[0], as: UTF8.self)
            let fields = wanted.split(separator: "\t").map(String.init)
            guard fields.count == 2 else { return }
            _ = try group.gather(piece(fields[0], fields[1], parts))
        }
    }

    /// In the first process: lets the others go on.
    func endLending() throws { _ = try group.allGather([]) }

    private func piece(_ part: String, _ name: String, _ parts: Parts) -> [UInt8] {
        parts[part]?[name].map { $0.withUnsafeBytes { Array($0) } } ?? []
    }
}
