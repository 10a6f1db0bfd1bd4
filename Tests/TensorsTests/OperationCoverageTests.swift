import Foundation
import Testing

/// Declarations of `Sources/Tensors` that compute nothing the table could check, each with where it is tested instead.
private let declarationsOutsideTheTable: [String: String] = [
    "size(_:)": "shape query, used by every operation",
    "zeros(_:dtype:)": "constructor, ValueTests",
    "ones(_:dtype:)": "constructor, ValueTests",
    "range(_:)": "constructor, ValueTests",
    "scalars(_:)": "reads values, used by every test",
    "item(_:)": "reads values, ValueTests",
    "withUnsafeBytes(_:)": "reads values, used by every test",
    "withUnsafeMutableBytes(_:)": "writes values, ValueSemanticsTests",
    "withoutGradients(_:)": "TapeTests",
    "tracked()": "TapeTests",
    "backward()": "TapeTests",
    "gradients(of:)": "TapeTests",
    "gradients(of:to:_:)": "GatheredTests",
    "backward(to:_:)": "TapeTests",
    "holding(_:)": "another value in a leaf, ProcessesTests",
    "sumsOfSquares()": "the parts of sumOfSquares(), ValueTests",
    "checkpointed(_:_:)": "ParityTests, defect W13",
    "measuring(_:)": "counts memory, ParityTests, defects W13 to W25",
    "derived(_:_:)": "RandomTests",
    "words(_:from:)": "RandomTests",
    "integer(below:index:)": "RandomTests",
    "permutation(_:)": "RandomTests",
    "uniform(_:key:from:)": "RandomTests",
    "normal(_:key:deviation:)": "RandomTests",
    "sumOfSquares()": "gives a number, ValueTests",
    "stepAdamW(gradient:first:second:numbers:)": "changes in place, OptimizerTests",
    "blend(_:weight:)": "changes in place, ValueTests",
    "fillUniform(_:from:)": "SamplingTests",
    "length(of:)": "inference only, KeyValueCacheTests",
    "sharedLength(of:)": "inference only, KeyValueCacheTests",
    "capacity(of:)": "inference only, KeyValueCacheTests",
    "start(_:after:room:)": "inference only, KeyValueCacheTests",
    "prefix(of:)": "inference only, KeyValueCacheTests",
    "truncate(_:to:)": "inference only, KeyValueCacheTests",
    "attended(layer:_:query:key:value:)": "inference only, KeyValueCacheTests",
    "advance(_:)": "inference only, KeyValueCacheTests",
    "contents(of:layer:)": "inference only, KeyValueCacheTests",
    "address(of:)": "inference only, KeyValueCacheTests",
    "floats(_:)": "inference only, KernelWeightsTests",
    "linear(_:bias:activation:)": "inference only, KernelWeightsTests",
    "outputs(_:)": "inference only, KernelWeightsTests",
    "joined(_:)": "inference only, KernelWeightsTests",
    "outputSize(_:)": "shape arithmetic, WindowShapeTests",
    "require(_:for:)": "refuses sizes, MachineMemoryTests",
    "positionsTogether(channels:)": "a number, DefectTests+Slabs",
    "append(_:from:_:weight:bias:geometry:activation:)": "inference only, MapWindowTests",
    "drop(before:)": "inference only, MapWindowTests",
    "holds(_:)": "inference only, MapWindowTests",
    "maps(_:)": "inference only, MapWindowTests",
    "releaseUnused()": "gives memory back, StoragePoolTests",
    "repeatPositions(of:to:)": "for measurements, BenchmarkingTests",
    "roundedOperand()": "rounds, MixedPrecisionTests",
    "rounded(_:)": "rounds, MixedPrecisionTests",
    "linearOfRounded(_:bias:after:)": "rounds, MixedPrecisionTests",
    "whenExhausted(_:)": "how the process ends, StoragePoolTests",
]

/// The sources of a target, by file name.
private func sources(_ target: String) throws -> [(name: String, text: String)] {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Sources/\(target)")
    return try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".swift") }.sorted()
        .map {
            ($0, try String(contentsOf: folder.appendingPathComponent($0), encoding: .utf8))
        }
}

/// The public functions and operators that a source declares: functions as `name(label:_:)`, operators with types.
func publicFunctions(in text: String) -> [String] {
    var found: [String] = []
    let pattern = /public (?:static )?(?:mutating )?(?:prefix )?func ([^\s(<]+|<=?)\s*(?:<[A-Z][^()]*>)?\(/
    for match in text.matches(of: pattern) {
        let name = String(match.1)
        var depth = 1
        var parameters: [String] = [""]
        for character in text[match.range.upperBound...] {
            if "([{<".contains(character) { depth += 1 }
            if ")]}>".contains(character) { depth -= 1 }
            if depth == 0 { break }
            if character == "," && depth == 1 {
                parameters.append("")
            } else {
                parameters[parameters.count - 1].append(character)
            }
        }
        parameters = parameters.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }.filter { !$0.isEmpty }
        if name.first?.isLetter == true {
            let labels = parameters.map { String($0.prefix { !" :".contains($0) }) + ":" }
            found.append("\(name)(\(labels.joined()))")
        } else {
            let types = parameters.map { $0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces) }
            found.append("\(name)(\(types.joined(separator: ",")))")
        }
    }
    return found
}

@Suite struct OperationCoverageTests {
    @Test("every public function of Tensors has a row or a stated reason")
    func everyPublicFunctionHasARow() throws {
        let covered = Set(operationCases.flatMap(\.covers))
        var declared: Set<String> = []
        for (file, text) in try sources("Tensors") {
            for function in publicFunctions(in: text) {
                declared.insert(function)
                #expect(
                    covered.contains(function) || declarationsOutsideTheTable[function] != nil,
                    "\(file) declares \(function), which has no row in operationCases")
            }
        }
        #expect(declared.count > 90, "the scan found only \(declared.count) declarations")
        for name in covered { #expect(declared.contains(name), "operationCases covers \(name), which is not declared") }
        for name in declarationsOutsideTheTable.keys {
            #expect(declared.contains(name), "\(name) is listed but not declared")
        }
    }

    @Test("the scan reads declarations as they are written")
    func theScanReadsDeclarations() {
        let text = """
            public func exp() -> Tensor
            public static func + (a: Tensor, b: Double) -> Tensor { a }
            public static prefix func - (x: Tensor) -> Tensor { x }
            public static func < (a: Tensor, b: Tensor) -> Tensor { a }
            public static func <= (a: Tensor, b: Tensor) -> Tensor { a }
            public mutating func replace(
                axis: Int, at position: (Int, Int), with part: Tensor) {}
            public func item<Scalar: TensorScalar>(_ type: Scalar.Type = Scalar.self) -> Scalar {
            func hidden() {}
            """
        #expect(
            publicFunctions(in: text) == [
                "exp()", "+(Tensor,Double)", "-(Tensor)", "<(Tensor,Tensor)", "<=(Tensor,Tensor)",
                "replace(axis:at:with:)",
                "item(_:)",
            ])
    }

    @Test("names of rows are unique, so that a failure names one")
    func namesAreUnique() {
        #expect(Set(operationCases.map(\.name)).count == operationCases.count)
        let inputs = operationCases.reduce(0) { $0 + $1.shapes.count + ($1.large == nil ? 0 : 1) }
        let differentiable = operationCases.filter(\.isDifferentiable)
        let checks = differentiable.reduce(0) { $0 + $1.shapes.reduce(0) { $0 + $1.count } }
        print("operations: \(operationCases.count) rows, \(inputs) inputs, \(checks) gradients against differences")
    }
}
