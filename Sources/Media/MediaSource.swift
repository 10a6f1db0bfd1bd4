import Foundation

/// Where the bytes of a picture or video lie: in a file of their own, or in a part of one, such as a tar archive.
public struct MediaSource: Sendable, Hashable {
    /// The file that holds the bytes.
    public var url: URL
    /// Which of the file's bytes they are; all of them when `nil`.
    public var range: Range<Int>?
    /// What messages call the source.
    public var name: String

    /// A whole file.
    public init(_ url: URL) {
        self.url = url
        name = url.path
    }

    /// A part of a file; nothing outside of it is read.
    public init(_ url: URL, range: Range<Int>, name: String) {
        self.url = url
        self.range = range
        self.name = name
    }

    /// Opens the file and says where in it the bytes lie; whoever calls closes the descriptor.
    ///
    /// - Throws: ``MediaError``: `.fileNotFound`, `.notAFile`, and `.unreadable` for no bytes or a file that ends before them.
    func open() throws -> (descriptor: Int32, range: Range<Int>) {
        // Without O_NONBLOCK, opening a pipe would wait for a writer.
        let descriptor = Foundation.open(url.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let reason = errno == ENOENT || errno == ENOTDIR ? "there is no such file" : systemText(errno)
            throw MediaError(.fileNotFound, "The file \(name) cannot be opened: \(reason).")
        }
        do {
            return (descriptor, try check(descriptor))
        } catch {
            close(descriptor)
            throw error
        }
    }

    private func check(_ descriptor: Int32) throws -> Range<Int> {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw MediaError(.fileNotFound, "The file \(name) cannot be examined: \(systemText(errno)).")
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw MediaError(.notAFile, "\(name) is a folder; a picture or video file is needed.")
        default: throw MediaError(.notAFile, "\(name) is not a regular file; a picture or video file is needed.")
        }
        let size = Int(status.st_size)
        let range = range ?? 0..<size
        guard !range.isEmpty else { throw MediaError(.unreadable, "The file \(name) is empty.") }
        guard range.lowerBound >= 0, range.upperBound <= size else {
            throw MediaError(
                .unreadable, "\(name) ends at byte \(range.upperBound), but \(url.path) has only \(size) bytes.")
        }
        return range
    }
}
