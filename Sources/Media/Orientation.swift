/// One of the eight ways in which stored pixels are turned before they are shown.
struct Orientation: Equatable, Sendable {
    /// Whether rows become columns.
    var transposes = false
    /// Whether the shown picture runs against the stored axis that its x follows (after transposing).
    var flipsX = false
    /// The same for y.
    var flipsY = false

    var isIdentity: Bool { self == Orientation() }

    init(transposes: Bool = false, flipsX: Bool = false, flipsY: Bool = false) {
        self.transposes = transposes
        self.flipsX = flipsX
        self.flipsY = flipsY
    }

    /// From a container's display matrix, nine 16.16 entries; angles between right angles go to the nearest one.
    init(displayMatrix matrix: UnsafePointer<Int32>) {
        let (a, b, c, d) = (Double(matrix[0]), Double(matrix[1]), Double(matrix[3]), Double(matrix[4]))
        // Shown x = a x + c y and shown y = b x + d y.
        guard abs(a) + abs(b) > 0, abs(c) + abs(d) > 0 else { return }
        transposes = abs(b) > abs(a)
        flipsX = transposes ? c < 0 : a < 0
        flipsY = transposes ? b < 0 : d < 0
    }

    /// From EXIF tag 0x0112; `nil` outside 1...8.
    init?(exif value: Int) {
        switch value {
        case 1: self.init()
        case 2: self.init(flipsX: true)
        case 3: self.init(flipsX: true, flipsY: true)
        case 4: self.init(flipsY: true)
        case 5: self.init(transposes: true)
        case 6: self.init(transposes: true, flipsX: true)
        case 7: self.init(transposes: true, flipsX: true, flipsY: true)
        case 8: self.init(transposes: true, flipsY: true)
        default: return nil
        }
    }

    /// The size as shown of a picture stored as `width` by `height`.
    func shownSize(width: Int, height: Int) -> (width: Int, height: Int) {
        transposes ? (height, width) : (width, height)
    }

    /// Copies packed RGB rows to `destination` (dense) as shown.
    func copy(
        from source: UnsafePointer<UInt8>, stride: Int, width: Int, height: Int,
        to destination: UnsafeMutablePointer<UInt8>
    ) {
        if isIdentity {
            for y in 0..<height {
                (destination + y * width * 3).update(from: source + y * stride, count: width * 3)
            }
            return
        }
        let shown = shownSize(width: width, height: height)
        // The stored position of shown (x, y) is linear in both.
        let (stepX, stepY) = transposes ? (stride, 3) : (3, stride)
        let lastX = (shown.width - 1) * stepX
        let lastY = (shown.height - 1) * stepY
        var target = destination
        for y in 0..<shown.height {
            var from = source + (flipsY ? lastY - y * stepY : y * stepY) + (flipsX ? lastX : 0)
            let advance = flipsX ? -stepX : stepX
            for _ in 0..<shown.width {
                target[0] = from[0]
                target[1] = from[1]
                target[2] = from[2]
                target += 3
                from += advance
            }
        }
    }
}
