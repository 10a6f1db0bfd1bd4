import CKernels

// The largest number or the mean of windows that move over one, two or three spatial axes. Of whole axes, see `mean(axes:)`
// and `maximum(along:)`.

extension Tensor {
    /// The largest number inside each window; what lies outside the input is left out, and a NaN counts as larger than any
    /// number.
    ///
    /// The gradient goes to the first of several equal ones, in row-major order.
    ///
    /// - Parameter geometry: window, steps and padding per spatial axis; dilation is 1.
    /// - Returns: `[batch, channels, ...]` for this tensor as `[batch, channels, spatial...]`, with
    ///   ``ConvolutionGeometry/outputSize(_:)`` as its spatial size.
    /// - Precondition: one to three spatial axes; padding is smaller than the window.
    public func maxPooled(_ geometry: ConvolutionGeometry) -> Tensor {
        let (x, result, description) = pooling(geometry, "maxPooled")
        var window = description
        // Which element each result is; only a gradient needs to know.
        let places = isRecording ? Tensor(uninitialized: result.shape, dtype: .int32) : nil
        if result.count > 0 {
            withTensors(x, places) {
                if dtype == .float32 {
                    mm_max_pool_f32(
                        &window, x.pointer(Float.self), result.mutablePointer(Float.self),
                        places?.mutablePointer(Int32.self))
                } else {
                    mm_max_pool_f64(
                        &window, x.pointer(Double.self), result.mutablePointer(Double.self),
                        places?.mutablePointer(Int32.self))
                }
            }
        }
        guard let places else { return result }
        let shape = self.shape
        return result.recorded(from: [self]) { gradient in
            let gy = gradient.contiguous()
            guard gy.count > 0 else { return [Tensor.zeros(shape, dtype: gy.dtype)] }
            let gx = Tensor(uninitialized: shape, dtype: gy.dtype)
            var window = description
            withTensors(gy, places) {
                if gy.dtype == .float32 {
                    mm_max_pool_gradient_f32(
                        &window, places.pointer(Int32.self), gy.pointer(Float.self), gx.mutablePointer(Float.self))
                } else {
                    mm_max_pool_gradient_f64(
                        &window, places.pointer(Int32.self), gy.pointer(Double.self), gx.mutablePointer(Double.self))
                }
            }
            return [gx]
        }
    }

    /// The mean of each window.
    ///
    /// - Parameters:
    ///   - geometry: window, steps and padding per spatial axis; dilation is 1.
    ///   - countsPadding: whether sums are divided by the window's volume, as if there were zeros outside the input, or by
    ///     how many of its places lie inside.
    /// - Returns: `[batch, channels, ...]` for this tensor as `[batch, channels, spatial...]`, with
    ///   ``ConvolutionGeometry/outputSize(_:)`` as its spatial size.
    /// - Precondition: one to three spatial axes; padding is smaller than the window.
    public func averagePooled(_ geometry: ConvolutionGeometry, countsPadding: Bool = true) -> Tensor {
        let (x, result, description) = pooling(geometry, "averagePooled")
        var window = description
        let counts: Int32 = countsPadding ? 1 : 0
        if result.count > 0 {
            withTensors(x) {
                if dtype == .float32 {
                    mm_average_pool_f32(&window, counts, x.pointer(Float.self), result.mutablePointer(Float.self))
                } else {
                    mm_average_pool_f64(&window, counts, x.pointer(Double.self), result.mutablePointer(Double.self))
                }
            }
        }
        let shape = self.shape
        return result.recorded(from: [self]) { gradient in
            let gy = gradient.contiguous()
            guard gy.count > 0 else { return [Tensor.zeros(shape, dtype: gy.dtype)] }
            let gx = Tensor(uninitialized: shape, dtype: gy.dtype)
            var window = description
            withTensors(gy) {
                if gy.dtype == .float32 {
                    mm_average_pool_gradient_f32(
                        &window, counts, gy.pointer(Float.self), gx.mutablePointer(Float.self))
                } else {
                    mm_average_pool_gradient_f64(
                        &window, counts, gy.pointer(Double.self), gx.mutablePointer(Double.self))
                }
            }
            return [gx]
        }
    }

    /// What the kernels read, memory for what they write, and their description of the windows.
    private func pooling(_ geometry: ConvolutionGeometry, _ operation: String) -> (Tensor, Tensor, mm_pool_window) {
        requireReal(self, operation)
        geometry.requireConsistent(operation)
        precondition(
            (3...5).contains(rank) && geometry.kernel.count == rank - 2,
            "\(operation): a window of \(geometry.kernel) does not fit \(shape)")
        precondition(
            geometry.dilation.allSatisfy { $0 == 1 }
                && zip(geometry.kernel, zip(geometry.padFront, geometry.padBack)).allSatisfy {
                    0..<$0 ~= $1.0 && 0..<$0 ~= $1.1
                },
            "\(operation): a window of \(geometry.kernel) has dilation \(geometry.dilation) and padding "
                + "\(geometry.padFront), \(geometry.padBack); dilation is 1 and padding smaller than the window")
        let space = Array(shape[2...])
        let size = geometry.outputSize(space)
        precondition(elementCount(of: space) <= Int32.max, "\(operation): a plane of \(space) is too large")
        func three(_ values: [Int], _ fill: Int) -> (Int, Int, Int) {
            let all = [Int](repeating: fill, count: 3 - values.count) + values
            return (all[0], all[1], all[2])
        }
        let window = mm_pool_window(
            planes: shape[0] * shape[1], in_size: three(space, 1), out_size: three(size, 1),
            kernel: three(geometry.kernel, 1), stride: three(geometry.stride, 1),
            pad_front: three(geometry.padFront, 0))
        return (detached.contiguous(), Tensor(uninitialized: Array(shape[..<2]) + size, dtype: dtype), window)
    }
}
