import CFFmpeg
import Foundation

/// What went wrong with a picture or a video: a file that cannot be read, or one that cannot be written.
public struct MediaError: Error, Sendable {
    /// The kind of mistake; extensible, so switch over it with a default.
    public struct Code: Hashable, Sendable {
        /// The code's stable name, as listed in `docs/ERRORS.md`.
        public let name: String

        /// There is no such file, or it may not be opened.
        public static let fileNotFound = Code(name: "fileNotFound")
        /// The path names a folder, a pipe or a device where a regular file is needed.
        public static let notAFile = Code(name: "notAFile")
        /// The file is not a picture or video in a format that is read here, or it is damaged beyond reading.
        public static let unreadable = Code(name: "unreadable")
        /// The file has no video stream, or the stream has no frame.
        public static let noFrames = Code(name: "noFrames")
        /// The file asks for more pixels or memory than the stated limit.
        public static let tooLarge = Code(name: "tooLarge")
        /// A frame is damaged, and the reader was told to be strict.
        public static let damaged = Code(name: "damaged")
        /// The clip is shorter than what was asked for.
        public static let tooShort = Code(name: "tooShort")
        /// An argument is outside what is allowed: a frame rate, a size, a quality.
        public static let invalidArgument = Code(name: "invalidArgument")
        /// The destination's extension names no format that is written here.
        public static let unknownFormat = Code(name: "unknownFormat")
        /// The destination cannot be created, or writing to it failed.
        public static let cannotWrite = Code(name: "cannotWrite")
        /// FFmpeg's libraries are not on this machine, or not those that the program was compiled for.
        public static let librariesMissing = Code(name: "librariesMissing")
        /// Pixels are not what they should be: a wrong shape or type, or not a number.
        public static let invalidPixels = Code(name: "invalidPixels")
    }

    /// What kind of mistake it was.
    public let code: Code
    /// One sentence: what was wrong, what was found, what is allowed.
    public let message: String

    /// Creates an error.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

extension MediaError: CustomStringConvertible, LocalizedError {
    /// The message.
    public var description: String { message }
    /// The message.
    public var errorDescription: String? { message }
}

/// FFmpeg's own words for a status, without a full stop.
func statusText(_ status: Int32) -> String {
    var text = [CChar](repeating: 0, count: 256)
    guard av_strerror(status, &text, text.count) == 0 else { return "status \(status)" }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// FFmpeg's libraries, which are loaded when they are first needed.
public enum FFmpeg {
    /// Loads the libraries, or waits until they are; does nothing when they were loaded before.
    ///
    /// - Throws: ``MediaError`` with code `.librariesMissing`.
    public static func load() throws {
        guard let reason = mm_ffmpeg_load() else { return }
        throw MediaError(
            .librariesMissing, "FFmpeg's libraries cannot be loaded: \(String(cString: reason)).")
    }

    /// Loads the libraries on a thread of its own, for who will need them soon and has other work to do until then.
    public static func loadAhead() {
        Thread.detachNewThread { _ = mm_ffmpeg_load() }
    }
}
