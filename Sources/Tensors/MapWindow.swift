import CKernels

/// A window on maps that are made and read in order along their first spatial axis, such as the frames of a video.
///
/// It holds a range of positions of the axis: new ones are added behind, those that are done with are dropped in front. The
/// maps as a whole never exist. Nothing is recorded for gradients.
public final class MapWindow {
    /// The positions that it holds.
    public private(set) var range: Range<Int>
    /// The most positions that it can hold.
    public let room: Int
    private let batch: Int
    private let channels: Int
    /// The other spatial axes.
    private let rest: [Int]
    private let dtype: DType
    private let storage: Storage
    /// Where its maps begin, in bytes.
    private let offset: Int
    /// The position whose maps come first in memory: what is dropped stays there until its room is needed.
    private var origin: Int
    /// Whether the memory is a tensor's, which nobody writes to.
    private let isShared: Bool

    /// An empty window.
    ///
    /// - Parameters:
    ///   - batch: the number of samples.
    ///   - channels: of each.
    ///   - room: the most positions of the first spatial axis at a time.
    ///   - rest: the size of the other spatial axes.
    ///   - dtype: `float32` or `float64`.
    ///   - start: the first position that will be added.
    public init(batch: Int, channels: Int, room: Int, rest: [Int], dtype: DType, start: Int = 0) {
        precondition(room > 0 && dtype.isDifferentiable, "MapWindow: no room for \(room) \(dtype.rawValue) maps")
        (self.batch, self.channels, self.room, self.rest, self.dtype) = (batch, channels, room, rest, dtype)
        range = start..<start
        (offset, origin, isShared) = (0, start, false)
        storage = Storage(byteCount: batch * channels * room * elementCount(of: rest) * dtype.byteCount)
    }

    /// A window on all positions of maps `[batch, channels, d1, ..., dn]`.
    public init(_ maps: Tensor) {
        precondition(maps.rank >= 3 && maps.dtype.isDifferentiable, "MapWindow: \(maps.shape) are no maps")
        let dense = maps.detached.contiguous()
        (batch, channels, room, rest) = (maps.shape[0], maps.shape[1], max(maps.shape[2], 1), Array(maps.shape[3...]))
        dtype = maps.dtype
        range = 0..<maps.shape[2]
        storage = dense.storage
        (offset, origin, isShared) = (dense.offset * dtype.byteCount, 0, true)
    }

    /// Bytes of one position of one channel.
    private var positionBytes: Int { elementCount(of: rest) * dtype.byteCount }
    /// Bytes between channels.
    private var channelBytes: Int { room * positionBytes }

    /// Where the maps of a position begin.
    private func place(_ position: Int) -> UnsafeMutableRawPointer {
        storage.pointer + offset + (position - origin) * positionBytes
    }

    /// Forgets the positions before `first`; an empty window goes on at `first`.
    ///
    /// A window on a whole tensor keeps all.
    public func drop(before first: Int) {
        guard first > range.lowerBound, !isShared else { return }
        range = first..<max(first, range.upperBound)
        if range.isEmpty { origin = first }
    }

    /// Moves what is held to the front, if `count` more positions do not fit behind it.
    private func makeRoom(for count: Int) {
        guard range.upperBound + count > origin + room else { return }
        let (from, to, bytes) = (place(range.lowerBound), place(origin), range.count * positionBytes)
        let channelBytes = channelBytes
        parallelEach(batch * channels) { channel in
            (to + channel * channelBytes).copyMemory(from: from + channel * channelBytes, byteCount: bytes)
        }
        origin = range.lowerBound
    }

    /// A copy of some positions, `[batch, channels, positions.count, ...]`.
    ///
    /// - Precondition: the window holds them.
    public func maps(_ positions: Range<Int>) -> Tensor {
        let result = Tensor(uninitialized: [batch, channels, positions.count] + rest, dtype: dtype)
        guard result.count > 0 else { return result }
        precondition(holds(positions), "MapWindow: \(positions) are not in \(range)")
        let (from, count, channelBytes) = (place(positions.lowerBound), positions.count * positionBytes, channelBytes)
        parallelEach(batch * channels) { channel in
            (result.storage.pointer + channel * count).copyMemory(from: from + channel * channelBytes, byteCount: count)
        }
        return result
    }

    /// Whether the window holds all of these positions.
    public func holds(_ positions: Range<Int>) -> Bool {
        positions.lowerBound >= range.lowerBound && positions.upperBound <= range.upperBound
    }

    /// Adds what a transposed convolution makes of some positions of other maps.
    ///
    /// - Parameters:
    ///   - count: the number of positions that are added.
    ///   - source: the window on the convolution's input.
    ///   - positions: the positions it reads.
    ///   - weight: `[inputs, outputs, kernel...]`.
    ///   - bias: `[outputs]`, or `nil`.
    ///   - geometry: as of ``Tensor/convolvedTransposed(_:bias:geometry:outputPadding:)`` of these positions alone.
    ///   - activation: `identity` or `relu`, applied in the same pass.
    /// - Precondition: there is room, `source` holds the positions, and the sizes fit.
    public func append(
        _ count: Int, from source: MapWindow, _ positions: Range<Int>, weight: Tensor, bias: Tensor?,
        geometry: ConvolutionGeometry, activation: Activation = .identity
    ) {
        precondition(
            weight.dtype == dtype && source.dtype == dtype && bias?.dtype ?? dtype == dtype
                && weight.rank == rest.count + 3 && weight.shape[0] == source.channels && weight.shape[1] == channels
                && Array(weight.shape[2...]) == geometry.kernel && source.batch == batch,
            "MapWindow: weight \(weight.shape) makes no \(channels) channels of \(source.channels)")
        precondition(
            !isShared && range.count + count <= room && source.holds(positions),
            "MapWindow: \(count) more than \(range) have no room, or \(positions) are not in \(source.range)")
        geometry.requireConsistent("transposed convolution")
        defer { range = range.lowerBound..<(range.upperBound + count) }
        guard count > 0, batch * channels * positionBytes > 0 else { return }
        makeRoom(for: count)
        guard dtype == .float32 else {
            let made = activation(source.maps(positions).convolvedTransposed(weight, bias: bias, geometry: geometry))
            return copy(made)
        }
        var descriptor = geometry.descriptor(
            batch: batch, inputs: channels, outputs: source.channels, inputSize: [count] + rest,
            outputSize: [positions.count] + source.rest)
        let (w, b) = (weight.detached.contiguous(), bias?.detached.contiguous())
        withTensors(w, b) {
            withExtendedLifetime((storage, source.storage)) {
                mm_conv_backward_data_part_f32(
                    &descriptor, source.place(positions.lowerBound).assumingMemoryBound(to: Float.self),
                    source.room * elementCount(of: source.rest), w.pointer(Float.self), b?.pointer(Float.self),
                    activation.kernelCode, place(range.upperBound).assumingMemoryBound(to: Float.self),
                    room * elementCount(of: rest))
            }
        }
    }

    /// Copies maps behind those that are there.
    private func copy(_ made: Tensor) {
        let count = made.shape[2]
        precondition(made.shape == [batch, channels, count] + rest, "MapWindow: \(made.shape) does not fit \(rest)")
        let (end, bytes) = (place(range.upperBound), count * positionBytes)
        made.withUnsafeBytes { values in
            guard let from = values.baseAddress else { return }
            for channel in 0..<(batch * channels) {
                (end + channel * channelBytes).copyMemory(from: from + channel * bytes, byteCount: bytes)
            }
        }
    }
}
