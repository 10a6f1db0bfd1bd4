import ArgumentParser
import Tensors

/// In how many bits a model computes.
struct PrecisionOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Keep the model's linear weights in fewer bits: f32, bf16, int8 or int4; as it is stored if left out.",
            valueName: "kind"))
    var weights: WeightPrecision?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Keep the model's memory of a sample in fewer bits: f32, bf16 or int8; as the model says if left out.",
            valueName: "kind"))
    var kv: CacheType?
}

/// Numbers of several sizes, under the long names of files and the short ones of the command line.
public protocol NumberKind: RawRepresentable, CaseIterable, ExpressibleByArgument where RawValue == String {}

extension NumberKind {
    /// Takes either name.
    public init?(argument: String) {
        guard let kind = Self.allCases.first(where: { $0.shortName == argument || $0.rawValue == argument }) else {
            return nil
        }
        self = kind
    }

    /// None: the help of each flag names them in its sentence.
    public static var allValueStrings: [String] { [] }

    /// The name on the command line.
    var shortName: String { ["float32": "f32", "bfloat16": "bf16"][rawValue] ?? rawValue }
}

extension WeightPrecision: NumberKind {}
extension CacheType: NumberKind {}
