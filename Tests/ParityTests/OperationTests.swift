import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// One entry of `ops/index.json`: an operation, its arguments, inputs and results.
struct OperationCase: CustomTestStringConvertible, Sendable {
    let name: String
    let operation: String
    let arguments: JSONFields
    let inputNames: [String]
    let outputNames: [String]
    let gradientNames: [String]
    let afterNames: [String]
    var testDescription: String { name }

    static let tensors: [String: Tensor] = (try? fixtureTensors("ops", "ops.safetensors")) ?? [:]

    static let all: [OperationCase] = {
        guard let entries = try? fixtureJSON("ops", "index.json").arrayValue else { return [] }
        return entries.compactMap { try? OperationCase(JSONFields($0, source: "ops/index.json")) }
    }()

    init(_ fields: JSONFields) throws {
        name = try fields.string("name")
        operation = try fields.string("op")
        arguments = try fields.fields("args")
        inputNames = try fields.strings("inputs")
        outputNames = try fields.strings("outputs")
        gradientNames = try fields.strings("grads")
        afterNames = try fields.strings("after")
    }

    func tensor(_ kind: String, _ key: String) throws -> Tensor {
        try #require(Self.tensors["\(name)/\(kind)/\(key)"], "\(name) has no \(kind)/\(key)")
    }
}

/// The inputs of one operation as it is called.
struct Operands {
    let values: [Tensor]
    let arguments: JSONFields

    subscript(index: Int) -> Tensor { values[index] }
    /// An input that may be absent.
    func optional(_ index: Int) -> Tensor? { values.indices.contains(index) ? values[index] : nil }
    func integer(_ key: String) throws -> Int { try arguments.integer(key) }
    func double(_ key: String, _ fallback: Double) throws -> Double { try arguments.double(key, default: fallback) }
    func axes() throws -> [Int] { try arguments.integers("dim") }
}

/// How memory of an input is laid out.
enum Layout: String, CaseIterable, CustomTestStringConvertible {
    case dense, strided
    var testDescription: String { rawValue }

    func of(_ x: Tensor) -> Tensor {
        guard self == .strided, x.rank > 1 else { return x }
        let reversed = Array((0..<x.rank).reversed())
        return x.permuted(reversed).contiguous().permuted(reversed)
    }
}

@Suite("Operations equal PyTorch's")
struct OperationTests {
    @Test("all entries are there")
    func entriesAreThere() { #expect(OperationCase.all.count >= 141 && !OperationCase.tensors.isEmpty) }

    @Test("result and gradient of an operation equal PyTorch's", arguments: OperationCase.all, Layout.allCases)
    func equalsPyTorch(_ item: OperationCase, _ layout: Layout) throws {
        let operation = try #require(operationTable[item.operation], "no counterpart of \(item.operation)")
        let inputs = try item.inputNames.map { name -> Tensor in
            let value = layout.of(try item.tensor("in", name))
            return item.gradientNames.contains(name) ? value.tracked() : value
        }
        let results = try operation(Operands(values: inputs, arguments: item.arguments))
        var pairs: [(Tensor, Tensor)] = []
        for (index, name) in item.outputNames.enumerated() {
            let problem = difference(
                name, results[index], try item.tensor("out", name), Tolerance(relative: 2e-5, floor: 0))
            if let problem { Issue.record("\(problem)") }
            if let cotangent = OperationCase.tensors["\(item.name)/cotangent/\(name)"] {
                pairs.append((results[index], layout.of(cotangent)))
            }
        }
        for (index, name) in item.afterNames.enumerated() {
            let found = results[item.outputNames.count + index]
            let problem = difference(name, found, try item.tensor("after", name), Tolerance(relative: 2e-5, floor: 0))
            if let problem { Issue.record("\(problem)") }
        }
        let found = gradients(of: pairs)
        let expected = try item.gradientNames.map { ($0, try item.tensor("grad", $0)) }
        let largest = expected.flatMap { $0.1.scalars(Float.self) }.map { Double(abs($0)) }.max() ?? 0
        for (name, gradient) in expected {
            let leaf = inputs[item.inputNames.firstIndex(of: name) ?? 0]
            let tolerance = Tolerance(relative: 2e-5, floor: 0.01 * largest)
            if let problem = difference("grad.\(name)", found[leaf], gradient, tolerance) { Issue.record("\(problem)") }
        }
    }
}
