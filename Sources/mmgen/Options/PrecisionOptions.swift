import ArgumentParser
import Tensors

/// In how many bits a model computes.
struct PrecisionOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Keep the model's linear weights in fewer bits: f32, bf16, int8 or int4; as it is stored if left out.",
            valueName: "kind"),
        transform: WeightPrecision.named)
    var weights: WeightPrecision?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Keep the model's memory of a sample in fewer bits: f32, bf16 or int8; as the model says if left out.",
            valueName: "kind"),
        transform: CacheType.named)
    var kv: CacheType?
}

/// Numbers of several sizes, under the long names of files and the short ones of the command line.
protocol NumberKind: RawRepresentable, CaseIterable where RawValue == String {}

extension NumberKind {
    /// The kind of either name.
    ///
    /// - Throws: `ValidationError` that lists the short names.
    static func named(_ name: String) throws -> Self {
        if let kind = allCases.first(where: { $0.shortName == name || $0.rawValue == name }) { return kind }
        throw ValidationError("it must be one of \(allCases.map(\.shortName).joined(separator: ", ")).")
    }

    /// The name on the command line.
    var shortName: String { ["float32": "f32", "bfloat16": "bf16"][rawValue] ?? rawValue }
}

extension WeightPrecision: NumberKind {}
extension CacheType: NumberKind {}
