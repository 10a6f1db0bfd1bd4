import CKernels

// Layer, group and batch normalization with their gradients.

extension Tensor {
    /// Normalizes the last axis to mean 0 and variance 1, then scales and shifts (Ba et al. 2016, arXiv:1607.06450).
    ///
    /// - Parameters:
    ///   - gain: `[width]`, or `nil` for 1.
    ///   - offset: `[width]`, or `nil` for 0; only with a gain.
    ///   - epsilon: added to the (biased) variance.
    public func layerNorm(gain: Tensor? = nil, offset: Tensor? = nil, epsilon: Double) -> Tensor {
        requireReal(self, "layerNorm")
        let width = size(-1)
        precondition(
            (gain.map { $0.shape == [width] } ?? true) && (offset.map { $0.shape == [width] && gain != nil } ?? true),
            "layerNorm: gain and offset must have shape [\(width)]")
        for other in [gain, offset] { if let other { requireSame(self, other, "layerNorm") } }
        let x = contiguous().detached
        let rows = width == 0 ? 0 : count / width
        let y = Tensor(uninitialized: shape, dtype: dtype)
        let mean = Tensor(uninitialized: [rows], dtype: dtype)
        let inverse = Tensor(uninitialized: [rows], dtype: dtype)
        let (a, b) = (gain?.detached.contiguous(), offset?.detached.contiguous())
        withTensors(x, a, b) {
            parallelRanges(rows, grain: max(1, elementGrain / 2 / max(width, 1))) { range in
                let (first, at) = (range.lowerBound, range.lowerBound * width)
                if dtype == .float32 {
                    mm_layer_norm_f32(
                        range.count, width, epsilon, x.pointer(Float.self) + at, a?.pointer(Float.self),
                        b?.pointer(Float.self), y.mutablePointer(Float.self) + at,
                        mean.mutablePointer(Float.self) + first, inverse.mutablePointer(Float.self) + first)
                } else {
                    mm_layer_norm_f64(
                        range.count, width, epsilon, x.pointer(Double.self) + at, a?.pointer(Double.self),
                        b?.pointer(Double.self), y.mutablePointer(Double.self) + at,
                        mean.mutablePointer(Double.self) + first, inverse.mutablePointer(Double.self) + first)
                }
            }
        }
        let inputs = [self] + (gain.map { [$0] } ?? []) + (offset.map { [$0] } ?? [])
        let needsX = node != nil
        return y.recorded(from: inputs) { gradient in
            let gy = gradient.contiguous()
            var gradients: [Tensor?] = [
                needsX ? Self.layerNormGradient(x, a, mean, inverse, gy, rows: rows, width: width) : nil
            ]
            if a != nil {
                let (ggain, goffset) = Self.layerNormAffineGradient(x, mean, inverse, gy, rows: rows, width: width)
                gradients.append(ggain)
                if b != nil { gradients.append(goffset) }
            }
            return gradients
        }
    }

    private static func layerNormGradient(
        _ x: Tensor, _ gain: Tensor?, _ mean: Tensor, _ inverse: Tensor, _ gy: Tensor, rows: Int, width: Int
    ) -> Tensor {
        let gx = Tensor(uninitialized: x.shape, dtype: x.dtype)
        withTensors(x, gain, mean, inverse, gy) {
            parallelRanges(rows, grain: max(1, elementGrain / 2 / max(width, 1))) { range in
                let (first, at) = (range.lowerBound, range.lowerBound * width)
                if x.dtype == .float32 {
                    mm_layer_norm_gradient_f32(
                        range.count, width, x.pointer(Float.self) + at, gain?.pointer(Float.self),
                        mean.pointer(Float.self) + first, inverse.pointer(Float.self) + first,
                        gy.pointer(Float.self) + at, gx.mutablePointer(Float.self) + at)
                } else {
                    mm_layer_norm_gradient_f64(
                        range.count, width, x.pointer(Double.self) + at, gain?.pointer(Double.self),
                        mean.pointer(Double.self) + first, inverse.pointer(Double.self) + first,
                        gy.pointer(Double.self) + at, gx.mutablePointer(Double.self) + at)
                }
            }
        }
        return gx
    }

    private static func layerNormAffineGradient(
        _ x: Tensor, _ mean: Tensor, _ inverse: Tensor, _ gy: Tensor, rows: Int, width: Int
    ) -> (Tensor, Tensor) {
        let ggain = Tensor.zeros([width], dtype: x.dtype)
        let goffset = Tensor.zeros([width], dtype: x.dtype)
        withTensors(x, mean, inverse, gy) {
            parallelRanges(width, grain: 64) { columns in
                if x.dtype == .float32 {
                    mm_layer_norm_gradient_affine_f32(
                        rows, width, columns.lowerBound, columns.upperBound, x.pointer(Float.self),
                        mean.pointer(Float.self), inverse.pointer(Float.self), gy.pointer(Float.self),
                        ggain.mutablePointer(Float.self), goffset.mutablePointer(Float.self))
                } else {
                    mm_layer_norm_gradient_affine_f64(
                        rows, width, columns.lowerBound, columns.upperBound, x.pointer(Double.self),
                        mean.pointer(Double.self), inverse.pointer(Double.self), gy.pointer(Double.self),
                        ggain.mutablePointer(Double.self), goffset.mutablePointer(Double.self))
                }
            }
        }
        return (ggain, goffset)
    }

    /// Normalizes each group of channels of each item (Wu & He 2018, arXiv:1803.08494), then scales and shifts per channel.
    ///
    /// - Parameters:
    ///   - groups: divides the channels of this tensor, `[batch, channels, ...]`.
    ///   - gain: `[channels]`, or `nil`.
    ///   - offset: `[channels]`, or `nil`.
    ///   - epsilon: added to the (biased) variance.
    public func groupNorm(groups: Int, gain: Tensor? = nil, offset: Tensor? = nil, epsilon: Double) -> Tensor {
        precondition(
            rank >= 2 && groups > 0 && shape[1] % groups == 0,
            "groupNorm: \(shape) does not divide into \(groups) groups")
        let perChannel = [1, shape[1]] + [Int](repeating: 1, count: rank - 2)
        let perGroup = shape[1] / groups * shape[2...].reduce(1, *)
        var y = reshaped(to: [shape[0] * groups, perGroup]).layerNorm(epsilon: epsilon).reshaped(to: shape)
        if let gain { y = y * gain.reshaped(to: perChannel) }
        if let offset { y = y + offset.reshaped(to: perChannel) }
        return y
    }

    /// The result of a batch normalization that used the batch's own statistics.
    public struct BatchNormResult {
        /// The normalized tensor, of the input's shape.
        public let output: Tensor
        /// The batch's mean per channel, `[channels]`.
        public let mean: Tensor
        /// The batch's biased variance per channel, `[channels]`.
        public let variance: Tensor
    }

    /// Normalizes each channel over batch and space by the batch's own statistics (Ioffe & Szegedy 2015,
    /// arXiv:1502.03167).
    ///
    /// - Parameters:
    ///   - gain: `[channels]` of this tensor, `[batch, channels, ...]`.
    ///   - offset: `[channels]`.
    ///   - epsilon: added to the variance.
    public func batchNorm(gain: Tensor, offset: Tensor, epsilon: Double) -> BatchNormResult {
        requireReal(self, "batchNorm")
        precondition(rank >= 2, "batchNorm: \(shape) has no channel axis")
        let channels = shape[1]
        let x = contiguous().detached
        let mean = Tensor(uninitialized: [channels], dtype: dtype)
        let variance = Tensor(uninitialized: [channels], dtype: dtype)
        let layout = ChannelLayout(x)
        layout.each { channel in
            let (m, v) = layout.moments(channel)
            mean.set(channel, m)
            variance.set(channel, v)
        }
        let output = batchNormalized(x, mean, variance, gain, offset, epsilon, usesBatchStatistics: true)
        return BatchNormResult(output: output, mean: mean, variance: variance)
    }

    /// Normalizes each channel by given statistics (batch normalization at inference).
    public func batchNorm(mean: Tensor, variance: Tensor, gain: Tensor, offset: Tensor, epsilon: Double) -> Tensor {
        requireReal(self, "batchNorm")
        precondition(rank >= 2, "batchNorm: \(shape) has no channel axis")
        return batchNormalized(
            contiguous().detached, mean.detached, variance.detached, gain, offset, epsilon, usesBatchStatistics: false)
    }

    private func batchNormalized(
        _ x: Tensor, _ mean: Tensor, _ variance: Tensor, _ gain: Tensor, _ offset: Tensor, _ epsilon: Double,
        usesBatchStatistics: Bool
    ) -> Tensor {
        let layout = ChannelLayout(x)
        precondition(
            [mean, variance, gain, offset].allSatisfy { $0.shape == [layout.channels] && $0.dtype == dtype },
            "batchNorm: statistics, gain and offset must have shape [\(layout.channels)]")
        let y = Tensor(uninitialized: shape, dtype: dtype)
        let (a, b) = (gain.detached.contiguous(), offset.detached.contiguous())
        let (m, v) = (mean.contiguous(), variance.contiguous())
        layout.each { channel in
            let scale = a.value(channel) / (v.value(channel) + epsilon).squareRoot()
            layout.affine(channel, scale, b.value(channel) - m.value(channel) * scale, into: y)
        }
        let needsX = node != nil
        return y.recorded(from: [self, gain, offset]) { gradient in
            let gy = gradient.contiguous()
            let gx = needsX ? Tensor(uninitialized: x.shape, dtype: x.dtype) : nil
            let ggain = Tensor(uninitialized: [layout.channels], dtype: x.dtype)
            let goffset = Tensor(uninitialized: [layout.channels], dtype: x.dtype)
            layout.each { channel in
                let center = m.value(channel)
                let inverse = 1 / (v.value(channel) + epsilon).squareRoot()
                let (sum, dot) = layout.gradientSums(channel, mean: center, gy)
                ggain.set(channel, dot * inverse)
                goffset.set(channel, sum)
                guard let gx else { return }
                let scale = a.value(channel) * inverse
                let slope = usesBatchStatistics ? -scale * inverse * inverse * dot / Double(layout.perChannel) : 0
                let shift = usesBatchStatistics ? -scale * sum / Double(layout.perChannel) - slope * center : 0
                layout.combine(channel, gy, scale, slope, shift, into: gx)
            }
            return [gx, ggain, goffset]
        }
    }

    /// One element of a small contiguous real tensor. Internal: for per-channel numbers.
    fileprivate func value(_ index: Int) -> Double {
        dtype == .float32 ? Double(pointer(Float.self)[index]) : pointer(Double.self)[index]
    }

    /// Writes one element of a fresh tensor.
    fileprivate func set(_ index: Int, _ value: Double) {
        if dtype == .float32 {
            mutablePointer(Float.self)[index] = Float(value)
        } else {
            mutablePointer(Double.self)[index] = value
        }
    }
}

/// The channel loops over one contiguous `[batch, channels, ...]` tensor.
private struct ChannelLayout {
    let x: Tensor
    let batch: Int
    let channels: Int
    let space: Int
    var perChannel: Int { batch * space }

    init(_ x: Tensor) {
        self.x = x
        (batch, channels) = (x.shape[0], x.shape[1])
        space = x.shape[2...].reduce(1, *)
    }

    func each(_ body: (Int) -> Void) { withTensors(x) { parallelEach(channels, body) } }

    func moments(_ channel: Int) -> (Double, Double) {
        var (mean, variance) = (0.0, 0.0)
        if x.dtype == .float32 {
            mm_channel_moments_f32(batch, channels, space, channel, x.pointer(Float.self), &mean, &variance)
        } else {
            mm_channel_moments_f64(batch, channels, space, channel, x.pointer(Double.self), &mean, &variance)
        }
        return (mean, variance)
    }

    func affine(_ channel: Int, _ scale: Double, _ shift: Double, into y: Tensor) {
        if x.dtype == .float32 {
            mm_channel_affine_f32(
                batch, channels, space, channel, x.pointer(Float.self), Float(scale), Float(shift),
                y.mutablePointer(Float.self))
        } else {
            mm_channel_affine_f64(
                batch, channels, space, channel, x.pointer(Double.self), scale, shift, y.mutablePointer(Double.self))
        }
    }

    func gradientSums(_ channel: Int, mean: Double, _ gy: Tensor) -> (Double, Double) {
        var (sum, dot) = (0.0, 0.0)
        if x.dtype == .float32 {
            mm_channel_gradient_sums_f32(
                batch, channels, space, channel, x.pointer(Float.self), mean, gy.pointer(Float.self), &sum, &dot)
        } else {
            mm_channel_gradient_sums_f64(
                batch, channels, space, channel, x.pointer(Double.self), mean, gy.pointer(Double.self), &sum, &dot)
        }
        return (sum, dot)
    }

    func combine(_ channel: Int, _ gy: Tensor, _ a: Double, _ b: Double, _ c: Double, into gx: Tensor) {
        if x.dtype == .float32 {
            mm_channel_combine_f32(
                batch, channels, space, channel, x.pointer(Float.self), gy.pointer(Float.self), Float(a), Float(b),
                Float(c), gx.mutablePointer(Float.self))
        } else {
            mm_channel_combine_f64(
                batch, channels, space, channel, x.pointer(Double.self), gy.pointer(Double.self), a, b, c,
                gx.mutablePointer(Double.self))
        }
    }
}
