// One call made again and again on a model that is built once, to be timed.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    /// The seconds of a call, time after time.
    ///
    /// In inference the weights are packed first, as every verb that serves does. In training with gradients a call is a
    /// forward pass and the backward walk from the cotangents to every trainable parameter; what a call leaves behind
    /// (statistics, queues, momentum twins) is there for the next one.
    ///
    /// - Parameters:
    ///   - request: the call; its outputs are dropped.
    ///   - repetitions: how many calls are timed, at least 1; one more comes before them.
    /// - Throws: like ``run(_:)``.
    public static func seconds(_ request: Request, repetitions: Int) throws -> [Double] {
        let target = try build(request)
        let method = try method(of: target, request)
        let isTraining = request.mode == .train
        if !isTraining && !request.wantsGradients { target.module?.packForInference() }
        let (inputs, cotangents) = separated(request, tracksInputs: false)
        let key = RandomKey(seed: request.seed).derived("forward")
        func call(_ number: Int) throws {
            let call = ForwardCall(
                inputs: inputs, arguments: JSONFields(request.args, source: "the arguments"),
                context: isTraining ? ForwardContext(training: key.derived("call", number)) : .inference)
            try method.rejectUnknown(call)
            if request.wantsGradients {
                _ = gradients(of: try pairs(try method.body(call).flattened(), cotangents))
            } else {
                _ = try withoutGradients { try method.body(call) }
            }
        }
        try call(0)
        return try (1...max(1, repetitions)).map { number in
            let start = ContinuousClock.now
            try call(number)
            return (ContinuousClock.now - start) / .seconds(1)
        }
    }
}
