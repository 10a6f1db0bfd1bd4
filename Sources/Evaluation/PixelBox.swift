import Media

/// A box by its corners, in pixels or as shares of an image, as it is measured.
public typealias PixelBox = PictureBox<Double>
