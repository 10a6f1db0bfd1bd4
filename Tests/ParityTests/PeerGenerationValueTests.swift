import Models
import Tensors
import TestSupport
import Testing

@Suite("Numbers that the peer's own tests of generation state")
struct PeerGenerationValueTests {
    private static let rising = Tensor((0..<10).map { Float($0) }, shape: [1, 10])
    /// The numbers of ``rising`` from one on, and `fill` before it.
    private static func risen(from first: Int, fill: Float = 0) -> Tensor {
        Tensor((0..<10).map { $0 < first ? fill : Float($0) }, shape: [1, 10])
    }
    private static func mask(_ rows: [Int]) -> Tensor {
        Tensor(rows.flatMap { row in (0..<10).map { Float(($0 < 4) == (row == 0) ? 1 : 0) } }, shape: [rows.count, 10])
    }

    static let all: [StatedCase] = [
        StatedCase(
            "ids that may stand where", "get_logits_mask", inputs: [:],
            args: ["in_seq_len": 3, "out_seq_len": 4, "num_in_tokens": 4, "num_out_tokens": 6],
            expected: ["output": mask([0, 0, 0, 1, 1, 1, 1])]),
        StatedCase(
            "ids of what goes in alone", "get_logits_mask", inputs: [:],
            args: ["in_seq_len": 1, "out_seq_len": 0, "num_in_tokens": 4, "num_out_tokens": 6],
            expected: ["output": mask([0])]),
        StatedCase(
            "ids of what comes out alone", "get_logits_mask", inputs: [:],
            args: ["in_seq_len": 0, "out_seq_len": 1, "num_in_tokens": 4, "num_out_tokens": 6],
            expected: ["output": mask([1])]),
        StatedCase(
            "no ids at all", "get_logits_mask", inputs: [:],
            args: ["in_seq_len": 0, "out_seq_len": 0, "num_in_tokens": 0, "num_out_tokens": 0],
            expected: ["output": Tensor.zeros([0, 0])]),
        StatedCase(
            "the best id of which two stay", "LogitsFilterTopK",
            ["top_k": 1, "filter_value": 0, "min_tokens_to_keep": 2], inputs: ["logits": rising],
            expected: ["output": risen(from: 8)]),
        StatedCase(
            "no limit to the best ids", "LogitsFilterTopK",
            ["top_k": 0, "filter_value": 0, "min_tokens_to_keep": 1], inputs: ["logits": rising],
            expected: ["output": rising]),
        StatedCase(
            "the best five ids", "LogitsFilterTopK", ["top_k": 5, "filter_value": 0, "min_tokens_to_keep": 1],
            inputs: ["logits": rising], expected: ["output": risen(from: 5)]),
        StatedCase(
            "no mass of which two ids stay", "LogitsFilterTopP",
            ["top_p": 0, "filter_value": 0, "min_tokens_to_keep": 2], inputs: ["logits": rising],
            expected: ["output": risen(from: 8)]),
        StatedCase(
            "all of the mass", "LogitsFilterTopP", ["top_p": 1, "filter_value": 0, "min_tokens_to_keep": 1],
            inputs: ["logits": rising], expected: ["output": rising]),
        StatedCase(
            "nine tenths of ids that are alike", "LogitsFilterTopP",
            ["top_p": 0.9, "filter_value": 0, "min_tokens_to_keep": 1], inputs: ["logits": Tensor.ones([1, 10])],
            expected: ["output": Tensor([1, 1, 1, 1, 1, 1, 1, 1, 1, 0] as [Float], shape: [1, 10])]),
        // What the peer's filter of the five best leaves of the rising numbers.
        StatedCase(
            "seven tenths of the five best", "LogitsFilterTopP", ["top_p": 0.7],
            inputs: ["logits": risen(from: 5, fill: -.infinity)],
            expected: ["output": risen(from: 8, fill: -.infinity)]),
    ]

    @Test("stated scores are masked and filtered as stated", arguments: all)
    func stated(_ item: StatedCase) throws {
        let output = try #require(try item.run()["output"])
        let problem = differenceInBits(output.cast(to: .float32), try #require(item.expected["output"]))
        #expect(problem == nil, "\(problem ?? "")")
    }
}
