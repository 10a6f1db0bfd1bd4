import Tensors

/// Lays frames out in a grid, row by row, for looking at a clip in one picture.
///
/// - Parameters:
///   - frames: `[frames, height, width, 3]`, `uint8`.
///   - columns: frames per row; a nearly square grid when `nil`.
///   - gap: pixels between frames.
///   - background: the colour of gaps and empty places.
/// - Returns: `[sheet height, sheet width, 3]`, `uint8`.
/// - Throws: ``MediaError``: `.invalidPixels`, `.noFrames`, `.invalidArgument`.
public func contactSheet(
    _ frames: Tensor, columns: Int? = nil, gap: Int = 2,
    background: (red: UInt8, green: UInt8, blue: UInt8) = (255, 255, 255)
) throws -> Tensor {
    try requirePictures(frames, "contactSheet")
    guard frames.rank == 4, frames.shape[0] > 0 else {
        throw MediaError(.noFrames, "A contact sheet needs frames; the shape \(frames.shape) has none.")
    }
    let (count, height, width) = (frames.shape[0], frames.shape[1], frames.shape[2])
    let across = columns ?? Int(Double(count).squareRoot().rounded(.up))
    guard across >= 1, gap >= 0, gap <= 1 << 12 else {
        throw MediaError(
            .invalidArgument,
            "A contact sheet needs at least 1 column and a gap of 0 to 4096, not \(across) and \(gap).")
    }
    let used = min(across, count)
    let down = (count + across - 1) / across
    let sheetWidth = used * width + (used - 1) * gap
    let sheetHeight = down * height + (down - 1) * gap
    var sheet = Tensor.zeros([sheetHeight, sheetWidth, 3], dtype: .uint8)
    frames.withUnsafeBytes { input in
        sheet.withUnsafeMutableBytes { output in
            guard let from = input.baseAddress?.assumingMemoryBound(to: UInt8.self),
                let to = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            else { return }
            for index in 0..<sheetWidth * sheetHeight {
                to[index * 3] = background.red
                to[index * 3 + 1] = background.green
                to[index * 3 + 2] = background.blue
            }
            for frame in 0..<count {
                let (row, column) = (frame / across, frame % across)
                for y in 0..<height {
                    let target = (row * (height + gap) + y) * sheetWidth + column * (width + gap)
                    (to + target * 3).update(from: from + (frame * height + y) * width * 3, count: width * 3)
                }
            }
        }
    }
    return sheet
}

/// Puts clips next to each other, frame by frame: originals beside reconstructions, samples of one prompt.
///
/// - Parameters:
///   - clips: each `[frames, height, width, 3]`, `uint8`; all of one height. Shorter ones keep their last frame.
///   - gap: white pixels between clips.
/// - Returns: `[most frames, height, sum of widths and gaps, 3]`, `uint8`.
/// - Throws: ``MediaError``: `.invalidPixels`, `.noFrames`, `.invalidArgument`.
public func sideBySide(_ clips: [Tensor], gap: Int = 2) throws -> Tensor {
    guard let first = clips.first else { throw MediaError(.noFrames, "There are no clips to put side by side.") }
    for clip in clips {
        try requirePictures(clip, "sideBySide")
        guard clip.rank == 4, clip.shape[0] > 0, clip.shape[1] == first.shape[1] else {
            throw MediaError(
                .invalidPixels,
                "Clips side by side need frames of one height; the shapes are \(clips.map(\.shape)).")
        }
    }
    guard gap >= 0, gap <= 1 << 12 else {
        throw MediaError(.invalidArgument, "The gap between clips is 0 to 4096 pixels, not \(gap).")
    }
    let (height, count) = (first.shape[1], clips.map { $0.shape[0] }.max() ?? 0)
    let width = clips.map { $0.shape[2] }.reduce(0, +) + gap * (clips.count - 1)
    var result = Tensor.zeros([count, height, width, 3], dtype: .uint8)
    result.withUnsafeMutableBytes { output in
        guard let to = output.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        to.update(repeating: 255, count: output.count)
        var left = 0
        for clip in clips {
            clip.withUnsafeBytes { input in
                guard let from = input.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
                for t in 0..<count {
                    for y in 0..<height {
                        let source = (min(t, clip.shape[0] - 1) * height + y) * clip.shape[2] * 3
                        let target = ((t * height + y) * width + left) * 3
                        (to + target).update(from: from + source, count: clip.shape[2] * 3)
                    }
                }
            }
            left += clip.shape[2] + gap
        }
    }
    return result
}
