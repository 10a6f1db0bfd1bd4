import CKernels
import Testing

/// One axis of a convolution.
struct AxisCase: Sendable, CustomTestStringConvertible {
    let input, kernel, stride, dilation, front, back: Int
    init(_ input: Int, k: Int, s: Int = 1, d: Int = 1, pad front: Int = 0, _ back: Int? = nil) {
        (self.input, kernel, stride, dilation, self.front) = (input, k, s, d, front)
        self.back = back ?? front
    }
    var output: Int { (input + front + back - dilation * (kernel - 1) - 1) / stride + 1 }
    var testDescription: String { "\(input) k\(kernel) s\(stride) d\(dilation) pad \(front),\(back)" }
}

@Suite("Kernels: convolutions")
struct KernelConvolutionTests {
    /// The combinations that models use, and the awkward ones: kernel below the stride, uneven and oversized padding.
    static let axes: [AxisCase] = [
        .init(9, k: 1), .init(8, k: 3, pad: 1), .init(9, k: 3, s: 2, pad: 1), .init(8, k: 4, s: 2, pad: 1),
        .init(10, k: 2, s: 3), .init(7, k: 1, s: 2), .init(11, k: 3, d: 2, pad: 2),
        .init(9, k: 3, s: 2, d: 2, pad: 2, 0),
        .init(6, k: 4, s: 2, pad: 2, 1), .init(5, k: 3, pad: 4), .init(12, k: 2, s: 2), .init(9, k: 5, s: 3, pad: 0, 3),
        .init(37, k: 3, pad: 1), .init(40, k: 4, s: 2, pad: 1), .init(1, k: 3, pad: 1), .init(4, k: 4, s: 4),
    ]

    func shape(_ d: AxisCase, _ h: AxisCase, _ w: AxisCase, batch: Int, _ input: Int, _ output: Int) -> mm_conv {
        mm_conv(
            batch: batch, in_channels: input, out_channels: output, in_size: (d.input, h.input, w.input),
            out_size: (d.output, h.output, w.output), kernel: (d.kernel, h.kernel, w.kernel),
            stride: (d.stride, h.stride, w.stride), dilation: (d.dilation, h.dilation, w.dilation),
            pad_front: (d.front, h.front, w.front), halves: 0)
    }

    struct Results { var y, gx, gw: [Float] }

    func volume(_ s: (Int, Int, Int)) -> Int { s.0 * s.1 * s.2 }

    /// What is multiplied: cut down to 16 bits where the convolution says so.
    func operand(_ s: mm_conv, _ count: Int, _ seed: UInt64) -> [Float] {
        let values = kernelValues(count, seed: seed)
        return s.halves == 0 ? values : values.map { Float(bitPattern: $0.bitPattern & 0xffff_0000) }
    }

    func run(_ s: mm_conv, bias: Bool, activation: Int32) -> Results {
        var s = s
        let nx = s.batch * s.in_channels * volume(s.in_size), ny = s.batch * s.out_channels * volume(s.out_size)
        let nw = s.in_channels * s.out_channels * volume(s.kernel)
        let x = operand(s, nx, 1), w = operand(s, nw, 2), gy = operand(s, ny, 3)
        let b = bias ? kernelValues(s.out_channels, seed: 4) : nil,
            gb = bias ? kernelValues(s.in_channels, seed: 5) : nil
        var r = Results(
            y: .init(repeating: .nan, count: ny), gx: .init(repeating: .nan, count: nx),
            gw: .init(repeating: .nan, count: nw))
        mm_conv_forward_f32(&s, x, w, b, activation, &r.y)
        mm_conv_backward_data_f32(&s, gy, w, gb, activation, &r.gx)
        mm_conv_backward_weights_f32(&s, x, gy, &r.gw)
        return r
    }

    /// The same inputs through the plain loops.
    func differences(_ r: Results, _ s: mm_conv, bias: Bool, activation: Int32) -> (Double, Double, Double) {
        var s = s
        let x = widened(operand(s, r.gx.count, 1)), w = widened(operand(s, r.gw.count, 2))
        let gy = widened(operand(s, r.y.count, 3))
        let b = bias ? widened(kernelValues(s.out_channels, seed: 4)) : nil
        let gb = bias ? widened(kernelValues(s.in_channels, seed: 5)) : nil
        var y = [Double](repeating: 0, count: r.y.count), gx = [Double](repeating: 0, count: r.gx.count)
        var gw = [Double](repeating: 0, count: r.gw.count)
        mm_conv_forward_f64(&s, x, w, b, activation, &y)
        mm_conv_backward_data_f64(&s, gy, w, gb, activation, &gx)
        mm_conv_backward_weights_f64(&s, x, gy, &gw)
        return (largestDifference(r.y, y), largestDifference(r.gx, gx), largestDifference(r.gw, gw))
    }

    func check(
        _ s: mm_conv, bias: Bool = false, activation: Int32 = 0, tolerance: Double = 2e-5, _ comment: Comment
    ) {
        let found = differences(
            run(s, bias: bias, activation: activation), s, bias: bias, activation: activation)
        #expect(found.0 < tolerance, "forward, \(comment)")
        #expect(found.1 < tolerance, "data, \(comment)")
        // A single chain over samples and positions: its error grows with the length.
        let length = s.batch * volume(s.out_size)
        #expect(found.2 < 2e-5 * max(1, Double(length) / 1000), "weights, \(comment)")
        guard s.halves == 0, multipliesPairs(String(cString: mm_isa_name())) else { return }
        var pairs = s
        pairs.halves = 1
        check(pairs, bias: bias, activation: activation, tolerance: tolerance, "of 16-bit floats, \(comment)")
    }

    @Test("2-D: every combination agrees with the definition", arguments: availableInstructionSets, axes)
    func planar(instructionSet: String, width: AxisCase) {
        withInstructionSet(instructionSet) {
            for (index, height) in Self.axes.enumerated() {
                let s = shape(.init(1, k: 1), height, width, batch: 2, 1 + index % 5, 1 + index % 8)
                check(s, bias: index % 2 == 0, activation: index % 3 == 0 ? 1 : 0, "\(height) x \(width)")
            }
        }
    }

    @Test("3-D: mixed axes agree with the definition", arguments: availableInstructionSets)
    func spatial(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for index in 0..<16 {
                let (d, h, w) = (
                    Self.axes[index % 12], Self.axes[(index * 5 + 3) % 12], Self.axes[(index * 7 + 1) % 12]
                )
                check(shape(d, h, w, batch: 1, 1 + index % 3, 1 + index % 4), bias: true, "\(d) x \(h) x \(w)")
            }
        }
    }

    @Test("many channels, few channels and deep reductions", arguments: availableInstructionSets)
    func channels(instructionSet: String) {
        withInstructionSet(instructionSet) {
            let one = AxisCase(1, k: 1), same = AxisCase(9, k: 3, pad: 1), down = AxisCase(10, k: 4, s: 2, pad: 1)
            for (input, output) in [(1, 70), (70, 1), (40, 33), (3, 100), (100, 3)] {
                // Minimal filtering subtracts numbers a few times as large as its result.
                check(shape(one, same, same, batch: 2, input, output), tolerance: 5e-5, "same \(input) to \(output)")
                check(shape(one, down, down, batch: 2, input, output), "down \(input) to \(output)")
            }
        }
    }

    @Test(
        "three neighbouring taps along depth or height, at every remainder of four", arguments: availableInstructionSets
    )
    func minimalFiltering(instructionSet: String) {
        withInstructionSet(instructionSet) {
            let (one, same, down) = (AxisCase(1, k: 1), AxisCase(5, k: 3, pad: 1), AxisCase(7, k: 3, s: 2, pad: 1))
            for length in 3..<13 {
                let axis = AxisCase(length, k: 3, pad: 1), odd = AxisCase(length, k: 3, pad: 2, 0)
                check(
                    shape(axis, same, down, batch: 2, 18, 17), bias: true, activation: 1, tolerance: 1e-4, "\(length)")
                check(shape(one, axis, down, batch: 2, 18, 17), bias: true, tolerance: 1e-4, "height \(length)")
                check(shape(odd, down, down, batch: 1, 40, 19), tolerance: 1e-4, "unequal padding, \(length)")
            }
            // Long enough for several blocks of channels, tiles and threads.
            let s = shape(
                .init(9, k: 3, pad: 1), .init(14, k: 3, s: 2, pad: 1), .init(30, k: 3, pad: 1), batch: 2, 90, 33)
            check(s, bias: true, tolerance: 3e-4, "blocks")
            let alone = withThreads(1) { run(s, bias: true, activation: 1) }
            let many = withThreads(5) { run(s, bias: true, activation: 1) }
            #expect(sameBits(alone.y, many.y) && sameBits(alone.gx, many.gx))
        }
    }

    @Test("two neighbouring taps along any axes, at odd and even lengths", arguments: availableInstructionSets)
    func nestedFiltering(instructionSet: String) {
        withInstructionSet(instructionSet) {
            let three = AxisCase(5, k: 3, pad: 1)
            for length in [1, 2, 3, 4, 7] {
                let down = AxisCase(length, k: 3, s: 2, pad: 1), four = AxisCase(length + 1, k: 4, s: 2, pad: 1)
                let two = AxisCase(length, k: 2, pad: 1, 0), apart = AxisCase(length + 3, k: 2, s: 2, d: 3, pad: 2)
                check(shape(three, down, down, batch: 2, 18, 17), bias: true, tolerance: 1e-4, "down \(length)")
                check(shape(three, four, down, batch: 1, 18, 17), activation: 1, tolerance: 1e-4, "four \(length)")
                check(shape(down, three, four, batch: 1, 18, 17), bias: true, tolerance: 1e-4, "width \(length)")
                check(shape(four, down, two, batch: 1, 18, 17), bias: true, tolerance: 1e-4, "steps of two \(length)")
                check(shape(two, two, three, batch: 1, 18, 17), tolerance: 1e-4, "forward \(length)")
                check(shape(two, apart, apart, batch: 1, 18, 17), tolerance: 1e-4, "taps apart \(length)")
            }
            // Vectors of columns within a row and across rows, and several blocks of channels.
            let wide = AxisCase(70, k: 3, s: 2, pad: 1), narrow = AxisCase(9, k: 3, s: 2, pad: 1)
            check(shape(three, narrow, wide, batch: 1, 17, 18), bias: true, activation: 1, tolerance: 1e-4, "wide")
            let s = shape(AxisCase(4, k: 3, pad: 1), narrow, narrow, batch: 2, 17, 260)
            check(s, bias: true, tolerance: 3e-4, "blocks")
            let alone = withThreads(1) { run(s, bias: true, activation: 1) }
            let many = withThreads(5) { run(s, bias: true, activation: 1) }
            #expect(sameBits(alone.y, many.y) && sameBits(alone.gx, many.gx))
        }
    }

    @Test(
        "every mixture of axes agrees with the definition where many channels are made",
        arguments: availableInstructionSets)
    func manyChannels(instructionSet: String) {
        withInstructionSet(instructionSet) {
            for index in 0..<Self.axes.count {
                let d = Self.axes[index % 12], h = Self.axes[(index * 5 + 3) % 12], w = Self.axes[(index * 7 + 1) % 12]
                check(
                    shape(d, h, w, batch: 1, 16, 17), bias: true, activation: 1, tolerance: 1e-4, "\(d) x \(h) x \(w)")
            }
        }
    }

    @Test("few channels and wide rows, forward and transposed", arguments: availableInstructionSets)
    func wideRows(instructionSet: String) {
        withInstructionSet(instructionSet) {
            let one = AxisCase(1, k: 1), low = AxisCase(5, k: 3, pad: 1), lowDown = AxisCase(6, k: 4, s: 2, pad: 1)
            for channels in 1...7 {
                check(shape(one, low, .init(300, k: 3, pad: 1), batch: 1, 9, channels), bias: true, "wide, \(channels)")
                check(
                    shape(lowDown, lowDown, .init(560, k: 4, s: 2, pad: 1), batch: 1, channels, 9), "down, \(channels)")
            }
        }
    }

    @Test("the bits do not depend on the thread count", arguments: availableInstructionSets)
    func threads(instructionSet: String) {
        withInstructionSet(instructionSet) {
            let axis = AxisCase(12, k: 4, s: 2, pad: 1)
            var s = shape(.init(4, k: 3, pad: 1), axis, .init(21, k: 3, pad: 1), batch: 2, 20, 30)
            for halves in [0, 1] as [Int32] {
                s.halves = halves
                let one = withThreads(1) { run(s, bias: true, activation: 1) }
                for count in [2, 5] as [Int32] {
                    let other = withThreads(count) { run(s, bias: true, activation: 1) }
                    #expect(sameBits(one.y, other.y) && sameBits(one.gx, other.gx) && sameBits(one.gw, other.gw))
                }
            }
        }
    }

    @Test("a sample's result does not depend on its batch")
    func batchInvariance() {
        let axis = AxisCase(13, k: 3, s: 2, pad: 1)
        let three = run(shape(.init(1, k: 1), axis, axis, batch: 3, 5, 7), bias: false, activation: 0)
        let one = run(shape(.init(1, k: 1), axis, axis, batch: 1, 5, 7), bias: false, activation: 0)
        #expect(sameBits(one.y, Array(three.y[0..<one.y.count])))
        #expect(sameBits(one.gx, Array(three.gx[0..<one.gx.count])))
    }

    @Test("a 1 x 1 convolution has the bits of the product it is")
    func pointwiseIsProduct() {
        let (input, output, side) = (50, 21, 11)
        var s = shape(.init(1, k: 1), .init(side, k: 1), .init(side, k: 1), batch: 1, input, output)
        let x = kernelValues(input * side * side, seed: 1), w = kernelValues(input * output, seed: 2)
        var y = [Float](repeating: 0, count: output * side * side), c = y
        mm_conv_forward_f32(&s, x, w, nil, 0, &y)
        mm_gemm_f32(output, side * side, input, w, input, 1, x, side * side, 1, &c, side * side, 0, nil, 0)
        #expect(sameBits(y, c))
    }
}
