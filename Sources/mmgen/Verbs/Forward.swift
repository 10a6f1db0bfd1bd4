import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Models
import Tensors

/// `mmgen forward`: one call of a model, layer, loss or function, tensors in and tensors out.
struct Forward: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Call a model, a layer, a loss or a function on tensors from a file.",
        discussion: """
            Names, keyword arguments, state-dict keys, inputs and outputs are those of TorchMultimodal. Outputs are named \
            by field, nested with dots, lists by index; a bare tensor is 'output'. With --vjp, each tensor \
            'cotangent.FIELD' among the inputs is propagated back, and 'grad.KEY' and 'grad.input.ARGUMENT' are added. \
            Buffers that a call in training mode changes come out as 'buffer.KEY'. With --repeat, nothing is written: the \
            call is made once to warm up and then as often as said, on weights packed for inference unless it trains, and \
            a line of JSON tells the seconds of each.
            """)

    @Argument(help: "What to call, such as video_vqvae_mugen, MultimodalGPT or SamePadConv3d; 'list' names them all.")
    var name: String

    @Option(help: ArgumentHelp("Keyword arguments of the factory, as a JSON object.", valueName: "file.json"))
    var config: String?

    @Option(help: ArgumentHelp("Weights: .safetensors, .pt or .pth, or a model directory.", valueName: "path"))
    var weights: String?

    @Option(
        help: ArgumentHelp("The member of the weights file that holds them, such as model_ema.", valueName: "key"))
    var stateDictKey: String?

    @Option(help: ArgumentHelp("Tensors by argument.", valueName: "file.safetensors"))
    var inputs: String?

    @Option(help: ArgumentHelp("Where the results go.", valueName: "file.safetensors"))
    var outputs: String?

    @Option(help: "The method to call.")
    var method = "forward"

    @Option(
        help: ArgumentHelp("The method's arguments that are not tensors, as a JSON object.", valueName: "file.json"))
    var args: String?

    @Option(help: "Inference or training.")
    var mode = ForwardDoor.Mode.eval

    @Flag(help: "Propagate the cotangents among the inputs back.")
    var vjp = false

    @Option(help: "Round weights to this type first; arithmetic is f32.")
    var dtype = ForwardDoor.Precision.f32

    @Option(help: "Of first values without --weights, and of what is random in training.")
    var seed: UInt64 = 0

    @Option(
        name: .customLong("repeat"), help: ArgumentHelp("Time the call this often instead.", valueName: "n"))
    var repetitions: Int?

    @Option(help: ArgumentHelp("Threads to compute on; every core if left out. Results are the same.", valueName: "n"))
    var threads: Int?

    func validate() throws {
        if name == "list" { return }
        if inputs == nil || (outputs == nil) == (repetitions == nil) {
            throw ValidationError("--inputs is needed, and either --outputs or --repeat.")
        }
        if let repetitions, !(1...100_000).contains(repetitions) {
            throw ValidationError("--repeat must be between 1 and 100000, but is \(repetitions).")
        }
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads must be between 1 and 1024, but is \(threads).")
        }
    }

    func run() throws {
        guard name != "list", let inputs else {
            print(ForwardDoor.names.joined(separator: "\n"))
            return
        }
        if let threads { Threads.count = threads }
        if let weights, ModelDirectory.isModelDirectory(weights) { try PretrainedModel.requireFloats(at: weights) }
        var request = ForwardDoor.Request(
            name: name, config: try configuration(), inputs: try CheckpointReader.open(inputs).tensors, method: method,
            args: try object(args) ?? [:], mode: mode, wantsGradients: vjp, precision: dtype, seed: seed)
        if let weights {
            request.weights = try CheckpointReader.open(
                weights, options: ReadOptions(stateDictKey: stateDictKey)
            ).tensors
            request.weightsSource = weights
        }
        if let repetitions {
            let seconds = try ForwardDoor.seconds(request, repetitions: repetitions)
            let result: JSONObject = [
                "name": .string(name), "threads": .integer(Threads.count),
                "seconds": .array(seconds.map { .number($0) }),
            ]
            print(JSONValue.object(result).serialized())
        } else if let outputs {
            try SafetensorsWriter.write(try ForwardDoor.run(request), to: outputs)
        }
    }

    /// The keyword arguments: from `--config`, or those a model directory was written with.
    private func configuration() throws -> JSONObject {
        if let config = try object(config) { return config }
        guard let weights, ModelDirectory.isModelDirectory(weights) else { return [:] }
        let path = (weights as NSString).appendingPathComponent("config.json")
        let stored = try ModelDirectory.Configuration(path: path)
        guard stored.model == name else {
            throw ModelError(
                .invalidConfiguration, "\(weights) holds the model '\(stored.model)', not '\(name)'.")
        }
        return stored.arguments
    }

    private func object(_ path: String?) throws -> JSONObject? {
        guard let path else { return nil }
        return try JSONFields(JSONValue.read(path: path), source: path).object
    }
}

extension ForwardDoor.Mode: ExpressibleByArgument {}
extension ForwardDoor.Precision: ExpressibleByArgument {}
