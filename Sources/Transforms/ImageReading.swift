import Media
import Tensors

/// Reads a still picture, or the first frame of a moving one, as models were shown it in training.
///
/// What Pillow's `convert("RGB")` gives: transparency is passed over, a palette is looked up, gray becomes three equal
/// colours, CMYK is converted; the EXIF orientation is not applied unless it is asked for. Deeper samples are scaled to
/// 8 bits, where Pillow cuts 16-bit gray off at 255.
///
/// - Parameters:
///   - source: the file, or a part of one.
///   - isUpright: whether the rotation and mirroring that the file asks for are applied.
/// - Returns: `[height, width, 3]`, `uint8`.
/// - Throws: ``MediaError`` as ``VideoReader/init(_:options:)``; `.damaged` for a still picture that is cut off.
public func readImage(_ source: MediaSource, isUpright: Bool = false) throws -> Tensor {
    var options = VideoReader.Options()
    options.appliesOrientation = isUpright
    options.ignoresTransparency = true
    options.threadCount = 1
    let reader = try VideoReader(source, options: options)
    guard let frame = try reader.nextFrame() else {
        throw MediaError(.noFrames, "\(source.name) holds no picture.")
    }
    // What is missing of a picture is gray, which a model would take for what is there.
    if reader.info.isStill, try reader.nextFrame() == nil, reader.report.isTruncated {
        throw MediaError(.damaged, "\(source.name) is cut off: a part of the picture is missing.")
    }
    return frame.pixels
}

/// Reads a picture and the depth picture that belongs to it.
///
/// Source: `OmnivoreSunRgbdDatasets` of examples/omnivore/data/datasets.py; depths above 32,767 stay positive here.
///
/// - Parameters:
///   - image: the picture.
///   - depth: gray of 16 bits, in millimetres, of the same size.
///   - baseline: metres between the sensor's eyes.
///   - focalLength: pixels.
/// - Returns: `[4, height, width]`, `float32`: colours from 0 to 1, then disparity.
/// - Throws: ``MediaError`` as ``readImage(_:isUpright:)``; ``TransformError`` for sizes that differ.
public func readImageWithDepth(
    _ image: MediaSource, depth: MediaSource, baseline: Double, focalLength: Double
) throws -> Tensor {
    let colours = try planes(readImage(image)) { _, level in Float(level) / 255 }
    guard let levels = try VideoReader(depth).nextGrayLevels() else {
        throw MediaError(.noFrames, "\(depth.name) holds no picture.")
    }
    guard levels.shape == Array(colours.shape.dropFirst()) else {
        throw TransformError(
            "\(image.name) has \(colours.shape[2]) x \(colours.shape[1]) pixels, but its depth \(depth.name) has "
                + "\(levels.shape[1]) x \(levels.shape[0]).")
    }
    return concatenated([
        colours, disparity(ofDepth: levels, baseline: baseline, focalLength: focalLength).unsqueezed(0),
    ])
}
