import Tensors
import Testing

@testable import Checkpoints

@Suite("Matching state dicts")
struct StateDictMatcherTests {
    private let found = [
        "a.weight": Tensor.zeros([2, 3]), "a.bias": Tensor.zeros([3]), "steps": Tensor.zeros([], dtype: .int64),
    ]

    @Test("equal keys and shapes match")
    func equal() throws {
        let expected: [StateDictMatcher.Entry] = [
            .init("a.weight", shape: [2, 3]), .init("a.bias", shape: [3], dtype: .float32),
            .init("steps", shape: [], dtype: .int64),
        ]
        let match = try StateDictMatcher().match(expected, with: found)
        #expect(match.tensors.count == 3)
        #expect(match.missing.isEmpty && match.unexpected.isEmpty)
    }

    @Test("one error lists everything that is wrong")
    func mismatch() {
        let expected: [StateDictMatcher.Entry] = [
            .init("a.weight", shape: [3, 2]), .init("b.weight", shape: [1]), .init("steps", shape: []),
        ]
        let error = #expect(throws: CheckpointError.self) {
            try StateDictMatcher().match(expected, with: found, source: "x.pt")
        }
        #expect(error?.code == .stateDictMismatch)
        #expect(
            error?.message == """
                The weights of x.pt do not fit the model.
                1 key is missing:
                  b.weight [1]
                1 key is unexpected:
                  a.bias [3]
                2 keys are of another shape or type:
                  a.weight: the model has [3, 2], the file [2, 3]
                  steps: the model has a floating-point type, the file int64
                """)
    }

    @Test("long lists are cut with a count")
    func longLists() {
        let expected = (0..<30).map { StateDictMatcher.Entry("k\($0)", shape: [1]) }
        let error = #expect(throws: CheckpointError.self) { try StateDictMatcher().match(expected, with: [:]) }
        #expect(error?.message.contains("30 keys are missing") == true)
        #expect(error?.message.contains("... and 10 more") == true)
    }

    @Test("what is allowed to differ is told, not refused")
    func leniency() throws {
        let matcher = StateDictMatcher(allowedMissing: ["head."], allowedUnexpected: ["steps", "a.b"])
        let expected: [StateDictMatcher.Entry] = [
            .init("a.weight", shape: [2, 3]), .init("head.weight", shape: [1]),
        ]
        let match = try matcher.match(expected, with: found)
        #expect(match.missing == ["head.weight"])
        #expect(match.unexpected == ["a.bias", "steps"])
    }

    @Test(
        "renames apply in order",
        arguments: [
            (StateDictMatcher.Rename.prefix("module.", ""), "module.a.b", "a.b"),
            (.prefix("module.", ""), "a.module.b", "a.module.b"),
            (.suffix(".gamma", ".weight"), "norm.gamma", "norm.weight"),
            (.component("attn", "attention"), "h.attn.attn_bias", "h.attention.attn_bias"),
            (.key("a", "b"), "a", "b"),
            (.pattern("h.*.attn.*", "layers.*.attention.*"), "h.12.attn.w", "layers.12.attention.w"),
            (.pattern("h.*.attn", "layers.*"), "h.1.mlp", "h.1.mlp"),
        ])
    func renames(rename: StateDictMatcher.Rename, key: String, result: String) {
        #expect(rename.applied(to: key) == result)
    }

    @Test("two keys that become one are refused")
    func clash() {
        let matcher = StateDictMatcher(renames: [.suffix("weight", "x"), .suffix("bias", "x")])
        let error = #expect(throws: CheckpointError.self) {
            try matcher.match([.init("a.x", shape: [2, 3]), .init("steps", shape: [], dtype: .int64)], with: found)
        }
        #expect(error?.message.contains("named twice") == true)
    }
}
