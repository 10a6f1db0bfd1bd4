import Foundation
import Media
import Models
import NeuralNets
import Tensors

extension Benchmark {
    /// Frames to codes, codes to frames, frames to a file.
    func measureCoding() throws {
        let stages: [BenchmarkStage] = [.encodeFrames, .decodeFrames, .mux]
        guard stages.contains(where: { settings.stages.contains($0) }) else { return }
        let module = try subject.module()
        guard let vqvae = module as? VQVAE ?? (module as? MultimodalGPT)?.vqvae else { throw missing(stages, "VQVAE") }
        let shape = clipShape(vqvae, (module as? MultimodalGPT)?.latentShape)
        let latent = vqvae.latentShape(shape)
        let frames = Double(vqvae.dimensions == 3 ? shape[0] : 1)
        let work = VQVAEWork(vqvae.configuration)
        let channels = vqvae.configuration.encoder.inputChannels[0]
        let clip = Tensor.uniform([1, channels] + shape, key: RandomKey(seed: 0).derived("clip")) - 0.5
        for count in settings.threads {
            use(threads: count)
            if wants(.encodeFrames) {
                try measure(.init(stage: .encodeFrames), amount: frames, floor: { [work.encoding(shape)] }) {
                    _ = vqvae.encode(clip)
                }
            }
            if wants(.decodeFrames) {
                let ids = randomIDs(latent, below: vqvae.codebook.count)
                try measure(.init(stage: .decodeFrames), amount: frames, floor: { [work.decoding(latent)] }) {
                    guard vqvae.dimensions == 3 else { return _ = withoutGradients { vqvae.decode(ids) } }
                    vqvae.decode(ids) { _, _ in }
                }
            }
            if wants(.mux) {
                let folder = try ScratchFolder()
                let picture = Self.movingPicture(vqvae.dimensions == 3 ? shape : [1] + shape)
                let name = vqvae.dimensions == 3 ? "clip.mp4" : "picture.png"
                try measure(.init(stage: .mux), amount: frames, floor: { [] }) {
                    try folder.write(name, subject.media.frameRate) { try $0.append(picture) }
                }
            }
        }
    }

    /// The size of a clip without batch and channels: what a GPT's codes stand for, or the setting.
    func clipShape(_ vqvae: VQVAE, _ latent: [Int]?) -> [Int] {
        latent.map { vqvae.outputShape($0) } ?? Array(settings.clip.suffix(vqvae.dimensions))
    }

    private func randomIDs(_ latent: [Int], below count: Int) -> Tensor {
        let key = RandomKey(seed: 0).derived("codes")
        let ids = (0..<latent.reduce(1, *)).map { Int64(key.integer(below: count, index: $0)) }
        return Tensor(ids, shape: [1] + latent)
    }

    /// Stripes that move: neither as easy to compress as one colour nor as hard as noise.
    ///
    /// - Parameter shape: frames, height, width.
    /// - Returns: `[frames, height, width, 3]`, `uint8`.
    private static func movingPicture(_ shape: [Int]) -> Tensor {
        let (frames, height, width) = (shape[0], shape[1], shape[2])
        var values: [UInt8] = []
        values.reserveCapacity(3 * frames * height * width)
        for frame in 0..<frames {
            for y in 0..<height {
                for x in 0..<width {
                    let stripe = ((x + 3 * frame) / 8 + y / 16) % 4
                    values.append(UInt8(truncatingIfNeeded: 40 * stripe + y))
                    values.append(UInt8(truncatingIfNeeded: 60 * stripe))
                    values.append(UInt8(truncatingIfNeeded: 200 - 30 * stripe + frame))
                }
            }
        }
        return Tensor(values, shape: [frames, height, width, 3])
    }
}
