// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "mmgen",
    platforms: [.macOS(.v14)],
    products: [
        .executable(name: "mmgen", targets: ["mmgen"]),
        .library(name: "Tensors", targets: ["Tensors"]),
        .library(name: "Distributed", targets: ["Distributed"]),
        .library(name: "NeuralNets", targets: ["NeuralNets"]),
        .library(name: "JSON", targets: ["JSON"]),
        .library(name: "Checkpoints", targets: ["Checkpoints"]),
        .library(name: "Tokenizers", targets: ["Tokenizers"]),
        .library(name: "Media", targets: ["Media"]),
        .library(name: "Datasets", targets: ["Datasets"]),
        .library(name: "Models", targets: ["Models"]),
        .library(name: "Transforms", targets: ["Transforms"]),
        .library(name: "Understanding", targets: ["Understanding"]),
        .library(name: "Generation", targets: ["Generation"]),
        .library(name: "Training", targets: ["Training"]),
        .library(name: "Evaluation", targets: ["Evaluation"]),
        .library(name: "Reporting", targets: ["Reporting"]),
        .library(name: "Benchmarking", targets: ["Benchmarking"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // System libraries and the C shims their macros need.
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        // FFmpeg's libraries are loaded when they are first used: a program without them starts five times as fast.
        .target(name: "CFFmpeg", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
        // So is MPI's, by runs with several processes only.
        .target(name: "CMPI", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
        // The hot loops.
        .target(name: "CKernels", dependencies: ["COpenBLAS"]),
        // The libraries, bottom up: each may import only what stands above it here.
        .target(name: "JSON"),
        .target(name: "Tensors", dependencies: ["CKernels"]),
        .target(name: "Distributed", dependencies: ["CMPI", "Tensors"]),
        .target(name: "NeuralNets", dependencies: ["Tensors"]),
        .target(name: "Checkpoints", dependencies: ["JSON", "Tensors", "CKernels", "CZlib"]),
        .target(name: "Tokenizers", dependencies: ["JSON", "CZlib"]),
        .target(name: "Media", dependencies: ["Tensors", "CFFmpeg", "CKernels"]),
        .target(name: "Datasets", dependencies: ["Tensors", "Media", "Checkpoints", "JSON"]),
        .target(name: "Models", dependencies: ["NeuralNets", "Tokenizers", "Checkpoints", "JSON"]),
        .target(
            name: "Transforms", dependencies: ["Tensors", "Media", "Tokenizers", "Checkpoints", "CKernels", "JSON"]),
        .target(name: "Generation", dependencies: ["Models", "NeuralNets", "JSON"]),
        .target(
            name: "Understanding",
            dependencies: ["Models", "Transforms", "Tokenizers", "Media", "Checkpoints", "NeuralNets", "JSON"]),
        .target(
            name: "Training",
            dependencies: [
                "Models", "Transforms", "Tokenizers", "Distributed", "Datasets", "Evaluation", "Media", "Generation",
                "JSON",
            ]),
        .target(
            name: "Benchmarking",
            dependencies: ["Training", "Generation", "Models", "NeuralNets", "Media", "Tensors", "CKernels", "JSON"]),
        .target(
            name: "Evaluation", dependencies: ["NeuralNets", "Media", "Checkpoints", "Tensors", "CKernels", "JSON"]),
        .target(name: "Reporting", dependencies: ["JSON"]),
        .executableTarget(
            name: "mmgen",
            dependencies: [
                "Reporting", "Evaluation", "Benchmarking", "Training", "Distributed", "Generation", "Understanding",
                "Models", "Transforms", "Datasets", "Media", "Tokenizers", "Checkpoints", "JSON",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ],
            resources: [.copy("Resources/babyai")]),
        // Tests mirror the sources.
        .target(
            name: "TestSupport", dependencies: ["Tensors", "Distributed", "Checkpoints"], path: "Tests/TestSupport"),
        .testTarget(name: "TensorsTests", dependencies: ["Tensors", "CKernels", "TestSupport"]),
        .testTarget(name: "DistributedTests", dependencies: ["Distributed", "TestSupport"]),
        .testTarget(name: "NeuralNetsTests", dependencies: ["NeuralNets", "TestSupport"]),
        .testTarget(name: "JSONTests", dependencies: ["JSON", "TestSupport"]),
        .testTarget(name: "CheckpointsTests", dependencies: ["Checkpoints", "JSON", "TestSupport"]),
        .testTarget(name: "TokenizersTests", dependencies: ["Tokenizers", "TestSupport"]),
        .testTarget(name: "MediaTests", dependencies: ["Media", "TestSupport"]),
        .testTarget(name: "DatasetsTests", dependencies: ["Datasets", "Checkpoints", "TestSupport"]),
        .testTarget(name: "TransformsTests", dependencies: ["Transforms", "Checkpoints", "TestSupport"]),
        .testTarget(name: "ModelsTests", dependencies: ["Models", "Checkpoints", "NeuralNets", "TestSupport"]),
        .testTarget(name: "UnderstandingTests", dependencies: ["Understanding", "TestSupport"]),
        .testTarget(name: "GenerationTests", dependencies: ["Generation", "TestSupport"]),
        .testTarget(name: "TrainingTests", dependencies: ["Training", "Understanding", "TestSupport"]),
        .testTarget(name: "EvaluationTests", dependencies: ["Evaluation", "Checkpoints", "TestSupport"]),
        .testTarget(name: "ReportingTests", dependencies: ["Reporting", "JSON", "TestSupport"]),
        .testTarget(name: "BenchmarkingTests", dependencies: ["Benchmarking", "TestSupport"]),
        .testTarget(name: "ParityTests", dependencies: ["Models", "Training", "TestSupport"]),
        .testTarget(
            name: "CommandLineTests", dependencies: ["mmgen", "Training", "Models", "Media", "TestSupport"],
            exclude: ["Snapshots", "Shim"]),
    ],
    swiftLanguageModes: [.v6]
)
