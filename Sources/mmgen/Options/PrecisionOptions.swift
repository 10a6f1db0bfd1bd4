import ArgumentParser
import Tensors

/// What a model computes with.
struct PrecisionOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Keep the model's linear weights in fewer bits: f32, bf16, int8 or int4; as it is stored if left out.",
            valueName: "kind"))
    var weights: WeightPrecision?
}

extension WeightPrecision: ExpressibleByArgument {
    /// Takes the short name of the command line, or the full one of files.
    public init?(argument: String) {
        let short = Self.allCases.first { $0.shortName == argument }
        guard let precision = short ?? WeightPrecision(rawValue: argument) else { return nil }
        self = precision
    }

    /// None: the help of each flag names them in its sentence.
    public static var allValueStrings: [String] { [] }

    /// The name on the command line.
    var shortName: String {
        switch self {
        case .float32: "f32"
        case .bfloat16: "bf16"
        case .int8: "int8"
        case .int4: "int4"
        }
    }
}
