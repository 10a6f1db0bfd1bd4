import JSON
import Models
import Tensors
import TestSupport
import Testing

@Suite("Where the understanding models differ from the peer's on purpose")
struct UnderstandingDefectTests {
    private func loss(_ config: JSONObject) throws -> Float {
        let a = Tensor([0.6, 0.8, 1, 0, 0, 1] as [Float], shape: [3, 2])
        let b = Tensor([0.8, 0.6, 0, 1, 1, 0] as [Float], shape: [3, 2])
        let output = try ForwardDoor.run(
            ForwardDoor.Request(
                name: "ContrastiveLossWithTemperature", config: config,
                inputs: ["embeddings_a": a, "embeddings_b": b]))["output"]
        return try #require(output).item(Float.self)
    }

    @Test("W43: a bound of zero is a bound, and the other one may be left out")
    func boundOfZero() throws {
        let plain = try loss([:])
        #expect(try loss(["logit_scale_min": 0, "logit_scale_max": nil]) == plain)
        #expect(try loss(["logit_scale_min": nil, "logit_scale_max": 0]) == loss(["logit_scale": 0]))
        let raised = try loss(["logit_scale": -1, "logit_scale_min": 0, "logit_scale_max": nil])
        #expect(try raised == loss(["logit_scale": 0]))
    }
}
