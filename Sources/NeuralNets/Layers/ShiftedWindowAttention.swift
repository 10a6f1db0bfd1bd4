import Tensors

/// Windows of a video's tokens, shifted or not, for every size of video that has come by.
public final class VideoWindows {
    /// Frames, rows and columns of tokens.
    struct Key: Hashable {
        let size: [Int]
        let window: [Int]
        let shift: [Int]
    }

    private var known: [Key: AttentionWindows] = [:]
    private var indices: [[Int]: Tensor] = [:]

    /// Knows none yet.
    public init() {}

    /// The windows of a grid whose sizes they divide. A shifted grid is moved towards the front, and what leaves it there
    /// comes in at the back; such tokens are penalized in what they see of their windows.
    func windows(_ key: Key) -> AttentionWindows {
        if let windows = known[key] { return windows }
        let (size, window, shift) = (key.size, key.window, key.shift)
        let isShifted = shift.contains { $0 > 0 }
        /// Where each window of one axis gets its tokens from, and which part of the moved axis they stand in.
        func axis(_ a: Int) -> [[(token: Int, region: Int)]] {
            stride(from: 0, to: size[a], by: window[a]).map { start in
                (start..<(start + window[a])).map { place in
                    let region =
                        shift[a] == 0 ? 0 : place < size[a] - window[a] ? 0 : place < size[a] - shift[a] ? 1 : 2
                    return ((place + shift[a]) % size[a], region)
                }
            }
        }
        let (frames, rows, columns) = (axis(0), axis(1), axis(2))
        var (places, regions): ([Int], [Int]) = ([], [])
        places.reserveCapacity(size.reduce(1, *))
        for t in frames {
            for y in rows {
                for x in columns {
                    for frame in t {
                        for row in y {
                            for column in x {
                                places.append((frame.token * size[1] + row.token) * size[2] + column.token)
                                regions.append((frame.region * 3 + row.region) * 3 + column.region)
                            }
                        }
                    }
                }
            }
        }
        let result = AttentionWindows(
            count: frames.count * rows.count * columns.count, places: places, regions: isShifted ? regions : nil,
            penalty: -100)
        known[key] = result
        return result
    }

    /// The rows of the table of relative positions for the first `length` tokens of a window of a full size among
    /// themselves, `[length * length]`.
    func relativePositions(_ window: [Int], length: Int) -> Tensor {
        if let index = indices[window + [length]] { return index }
        let steps = [(2 * window[1] - 1) * (2 * window[2] - 1), 2 * window[2] - 1, 1]
        // A token's part of the row's number; that of a pair is the difference, moved to start from 0.
        let parts = (0..<length).map { token in
            let place = [token / (window[1] * window[2]), token / window[2] % window[1], token % window[2]]
            return zip(place, steps).reduce(0) { $0 + $1.0 * $1.1 }
        }
        let origin = zip(window, steps).reduce(0) { $0 + ($1.0 - 1) * $1.1 }
        let index = Tensor(parts.flatMap { query in parts.map { Int64(query - $0 + origin) } })
        indices[window + [length]] = index
        return index
    }
}

/// Attention within windows of a video's tokens, which may be shifted, with a learned bias for relative positions, keys
/// `relative_position_bias_table`, `relative_position_index`, `qkv`, `proj` (Liu et al. 2022, arXiv:2106.13230; torchvision's
/// `ShiftedWindowAttention3d`).
///
/// The buffer of indices follows from the window and is only saved; what a file holds in it is not read.
public final class ShiftedWindowAttention: Module, Layer {
    /// `[(2 frames - 1) (2 rows - 1) (2 columns - 1), heads]`.
    @Parameter public var relativePositionBiasTable: Tensor
    @Buffer var relativePositionIndex: Tensor
    let qkv: Linear
    let proj: Linear
    private let heads: Int
    private let window: [Int]
    private let shift: [Int]
    private let attentionDropout: Double
    private let dropout: Dropout
    private let windows: VideoWindows

    /// An attention layer.
    ///
    /// - Parameters:
    ///   - width: the channels, which `heads` divides.
    ///   - heads: the number of heads.
    ///   - window: frames, rows and columns of a window.
    ///   - shift: by how many of them windows are shifted, each less than the window.
    ///   - dropouts: of the probabilities, and of the result, in training.
    ///   - windows: shared by the layers of a model.
    public init(
        _ width: Int, heads: Int, window: [Int], shift: [Int], dropouts: (attention: Double, result: Double),
        windows: VideoWindows, random: RandomKey
    ) {
        relativePositionBiasTable = Initialization.normal(
            [window.reduce(1) { $0 * (2 * $1 - 1) }, heads], deviation: 0.02, key: random.derived("table"))
        let length = window.reduce(1, *)
        relativePositionIndex =
            Initialization.isSkipped
            ? Tensor([Int64(0)]).reshaped(to: [1, 1]).broadcast(to: [length, length])
            : windows.relativePositions(window, length: length).reshaped(to: [length, length])
        qkv = Linear(width, 3 * width, key: random.derived("qkv"))
        proj = Linear(width, width, key: random.derived("proj"))
        self.heads = heads
        self.window = window
        self.shift = shift
        attentionDropout = dropouts.attention
        dropout = Dropout(dropouts.result)
        self.windows = windows
    }

    /// `[batch, frames, rows, columns, width]` to the same shape.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        let (batch, size, width) = (x.shape[0], Array(x.shape[1..<4]), x.shape[4])
        // Where a window covers the whole axis there is nothing to shift.
        let window = zip(size, self.window).map { min($0, $1) }
        let shift = size.indices.map { size[$0] <= self.window[$0] ? 0 : self.shift[$0] }
        let excess = zip(size, window).map { ($1 - $0 % $1) % $1 }
        let isPadded = excess.contains { $0 > 0 }
        let grid = zip(size, excess).map { $0 + $1 }
        let whole = isPadded ? x.padded([(0, 0)] + excess.map { (0, $0) } + [(0, 0)]) : x
        let length = window.reduce(1, *)
        // The first tokens of a full window stand for those of a smaller one, as in the original.
        let bias = relativePositionBiasTable.rows(windows.relativePositions(self.window, length: length))
            .reshaped(to: [length, length, heads]).permuted([2, 0, 1])
        let attended = windowedSelfAttention(
            context.operand(qkv(whole.reshaped(to: [batch, grid.reduce(1, *), width]), context)), heads: heads,
            windows: windows.windows(VideoWindows.Key(size: grid, window: window, shift: shift)), bias: bias,
            dropout: NeuralNets.attentionDropout(attentionDropout, context))
        var result = attended.reshaped(to: [batch] + grid + [width])
        if isPadded { for axis in 0..<3 { result = result.sliced(axis + 1, 0..<size[axis]) } }
        return dropout(proj(result, context), context)
    }
}
