import Foundation

/// A format that can be written, decided by the destination's extension.
public enum MediaFormat: String, Sendable, CaseIterable {
    case mp4, mov, mkv, webm, gif, apng, png, jpeg, webp

    /// The format that an extension names.
    ///
    /// - Throws: ``MediaError`` with code `.unknownFormat`, listing what is allowed.
    public init(destination url: URL) throws {
        switch url.pathExtension.lowercased() {
        case "mp4", "m4v": self = .mp4
        case "mov": self = .mov
        case "mkv": self = .mkv
        case "webm": self = .webm
        case "gif": self = .gif
        case "apng": self = .apng
        case "png": self = .png
        case "jpg", "jpeg": self = .jpeg
        case "webp": self = .webp
        case let other:
            let found = other.isEmpty ? "no extension" : "the extension .\(other)"
            throw MediaError(
                .unknownFormat,
                "\(url.path) has \(found); videos are written as .mp4, .mov, .mkv, .webm, .gif or .apng, pictures as "
                    + ".png, .jpg or .webp.")
        }
    }

    /// Whether a file of this format holds one picture.
    public var isStill: Bool { self == .png || self == .jpeg || self == .webp }
}

/// What was written.
public struct WrittenMedia: Sendable, Equatable {
    /// The files, one for videos and single pictures.
    public var files: [URL]
    /// The format.
    public var format: MediaFormat
    /// Frames written.
    public var frameCount: Int
    /// Width in pixels as written.
    public var width: Int
    /// Height in pixels as written.
    public var height: Int
    /// Where what was written differs from what was given (padding, timing): sentences for a person.
    public var notes: [String]
}
