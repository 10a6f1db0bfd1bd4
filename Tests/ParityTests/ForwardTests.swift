import Checkpoints
import Foundation
import Models
import Tensors
import TestSupport
import Testing

/// One call that the peer has answered.
struct ForwardCase: CustomTestStringConvertible, Sendable {
    let label: String
    var testDescription: String { label }

    static let all: [ForwardCase] = {
        let folder = fixturesFolder.appendingPathComponent("forward").path
        return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted().map(ForwardCase.init)
    }()

    func request() throws -> (request: ForwardDoor.Request, tolerance: Tolerance) {
        let fields = try JSONFields(fixtureJSON("forward", label, "case.json"), source: label)
        let weights = try fixtureTensors("forward", label, "weights.safetensors")
        let tolerance = try fields.fields("tolerance")
        let request = ForwardDoor.Request(
            name: try fields.string("name"), config: try fields.fields("config").object,
            weights: weights.isEmpty ? nil : weights,
            inputs: try fixtureTensors("forward", label, "inputs.safetensors"), method: try fields.string("method"),
            args: try fields.fields("args").object,
            mode: try #require(ForwardDoor.Mode(rawValue: try fields.string("mode"))),
            wantsGradients: try fields.bool("vjp"), weightsSource: label)
        return (
            request, Tolerance(relative: try tolerance.double("relative"), floor: try tolerance.double("floor"))
        )
    }
}

@Suite("The door answers like the peer")
struct ForwardTests {
    @Test("all fixtures are there")
    func fixturesAreThere() { #expect(ForwardCase.all.count >= 177) }

    @Test("outputs, gradients and buffers of a call equal the peer's", arguments: ForwardCase.all)
    func equalsThePeer(_ item: ForwardCase) throws {
        let (request, tolerance) = try item.request()
        let found = try ForwardDoor.run(request)
        let repaired = try fixtureTensors("forward", item.label, "repaired.safetensors")
        let expected = try fixtureTensors("forward", item.label, "expected.safetensors").merging(repaired) { $1 }
        for (name, tensor) in expected.sorted(by: { $0.key < $1.key }) {
            if let problem = difference(name, found[name], tensor, tolerance) { Issue.record("\(problem)") }
        }
        // Nothing beyond what the peer returns, except gradients that are zero there.
        for name in found.keys where expected[name] == nil && !name.hasPrefix("grad.") {
            Issue.record("\(name) is not among the peer's outputs")
        }
        for (name, tensor) in found where expected[name] == nil && name.hasPrefix("grad.") {
            let largest = tensor.scalars(Float.self).map(abs).max() ?? 0
            #expect(Double(largest) <= tolerance.relative * max(tolerance.floor, 1e-6), "\(name) is not zero")
        }
    }

    @Test("a call is repeated as often as asked, with and without its backward walk", arguments: [false, true])
    func repeats(_ trains: Bool) throws {
        let inputs = ["x": Tensor.ones([2, 3]), "cotangent.output": Tensor.ones([2, 2])]
        let call = ForwardDoor.Request(
            name: "MLP", config: ["in_dim": 3, "out_dim": 2], inputs: trains ? inputs : inputs.filter { $0.key == "x" },
            mode: trains ? .train : .eval, wantsGradients: trains)
        let seconds = try ForwardDoor.seconds(call, repetitions: 3)
        #expect(seconds.count == 3 && seconds.allSatisfy { $0 >= 0 })
        var stranger = call
        stranger.inputs["cotangent.y"] = Tensor.ones([2, 2])
        stranger.wantsGradients = true
        #expect(throws: ModelError.self) { try ForwardDoor.seconds(stranger, repetitions: 1) }
    }
}
