import Models
import NeuralNets
import Tensors
import Testing

@Suite("Defects of the peer: decoding in pieces")
struct SlabTests {
    /// A decoder whose layers have these kernels and steps along time, and others in the plane.
    private func decoder(_ layers: [(kernel: Int, stride: Int)], plane: Int = 3, channels: Int = 3) -> VideoDecoder {
        VideoDecoder(
            VideoDecoder.Configuration(
                outputChannels: [Int](repeating: 8, count: layers.count - 1) + [channels],
                kernels: layers.map { [$0.kernel, plane, plane] }, strides: layers.map { [$0.stride, 2, 1] },
                inputDimension: 4, residualLayers: 1, hiddenDimension: 8),
            random: RandomKey(seed: 1))
    }

    /// Decodes in slabs and compares every bit with the frames of the whole.
    private func check(_ decoder: VideoDecoder, latent: Int, slab: Int, frames: Range<Int>? = nil) {
        let x = Tensor.normal([2, 4, latent, 2, 3], key: RandomKey(seed: 2))
        let whole = withoutGradients { decoder(x, .inference) }
        #expect(whole.shape[2] == decoder.outputLength(latent))
        var next = frames?.lowerBound ?? 0
        decoder.decode(x, frames: frames, slab: slab) { range, part in
            #expect(range.lowerBound == next && range.count <= slab)
            next = range.upperBound
            let expected = whole.sliced(2, range).scalars(Float.self).map(\.bitPattern)
            #expect(part.scalars(Float.self).map(\.bitPattern) == expected, "frames \(range) of \(whole.shape[2])")
        }
        #expect(next == frames?.upperBound ?? whole.shape[2])
    }

    @Test("W25: slabs of any size have the bits of the whole, for any kernel and step", arguments: 1...6, 1...4)
    func oneLayer(kernel: Int, stride: Int) {
        let decoder = decoder([(kernel, stride)])
        for latent in [1, 2, 5] {
            for slab in 1...(latent * stride + 1) { check(decoder, latent: latent, slab: slab) }
        }
    }

    @Test(
        "W25: slabs through several layers have the bits of the whole",
        arguments: [
            [(4, 2), (4, 2)], [(3, 2), (3, 1), (3, 1)], [(4, 2), (3, 3)], [(2, 4), (5, 1)], [(1, 2), (6, 2), (3, 1)],
        ])
    func severalLayers(layers: [(Int, Int)]) {
        let decoder = decoder(layers.map { (kernel: $0.0, stride: $0.1) }, plane: 4)
        for slab in [1, 2, 3, 5, 8, 100] { check(decoder, latent: 4, slab: slab) }
    }

    @Test("W25: many output channels take another kernel, with the same bits", arguments: [1, 3, 4])
    func manyChannels(slab: Int) { check(decoder([(4, 2), (3, 1)], channels: 12), latent: 4, slab: slab) }

    @Test("W25: a range of frames can be decoded alone", arguments: [0..<1, 3..<8, 11..<12, 4..<4])
    func ranges(frames: Range<Int>) { check(decoder([(4, 2), (3, 2)]), latent: 3, slab: 2, frames: frames) }

    @Test("W25: the memory of slabs does not grow with the clip's length")
    func memory() {
        let decoder = decoder([(4, 2), (4, 2), (4, 2)], channels: 12)
        func peak(_ latent: Int, slab: Int?) -> Int {
            let x = Tensor.normal([1, 4, latent, 8, 8], key: RandomKey(seed: 2))
            let meter = MemoryMeter()
            meter.measuring {
                if let slab {
                    decoder.decode(x, slab: slab) { _, _ in }
                } else {
                    _ = withoutGradients { decoder(x, .inference) }
                }
            }
            return meter.count.peak
        }
        let (whole, slabs) = (peak(32, slab: nil), peak(32, slab: 4))
        #expect(4 * slabs < whole)
        // What still grows is what the residual blocks make, at the latent size.
        #expect(4 * (slabs - peak(16, slab: 4)) < whole - peak(16, slab: nil))
    }
}
