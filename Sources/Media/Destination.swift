import Foundation

/// A file being written beside its destination, which appears under its name only when it is whole.
final class Destination {
    /// Where the file will stand.
    let url: URL
    /// Where it is written meanwhile.
    let temporaryPath: String
    private var isOpen = true

    /// Creates the temporary file, so that a folder that cannot be written to is noticed before any work is done.
    ///
    /// - Throws: ``MediaError`` with code `.cannotWrite`.
    init(_ url: URL) throws {
        // A link is followed: the file it points to is replaced, not the link.
        let target = url.resolvingSymlinksInPath()
        self.url = target
        let folder = target.deletingLastPathComponent()
        var isFolder: ObjCBool = false
        let name = target.lastPathComponent
        temporaryPath =
            folder.appendingPathComponent(
                ".partial-\(getpid())-\(String(UInt64.random(in: 0...UInt64.max), radix: 36))"
            ).path
        func refuse(_ reason: String) -> MediaError {
            isOpen = false
            return MediaError(.cannotWrite, "\(url.path) cannot be written: \(reason).")
        }
        guard FileManager.default.fileExists(atPath: folder.path, isDirectory: &isFolder), isFolder.boolValue else {
            throw refuse("there is no folder \(folder.path)")
        }
        if FileManager.default.fileExists(atPath: target.path, isDirectory: &isFolder), isFolder.boolValue {
            throw refuse("a folder has this name")
        }
        var status = stat()
        if stat(target.path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            // Renaming would put a file in its place.
            throw refuse("it is a device, a pipe or a socket")
        }
        guard name.utf8.count <= 255 else { throw refuse("a file name may have 255 bytes, not \(name.utf8.count)") }
        let descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw refuse(systemText(errno)) }
        close(descriptor)
    }

    deinit { discard() }

    /// Makes the bytes durable and gives the file its name.
    func commit() throws {
        guard isOpen else { return }
        let descriptor = open(temporaryPath, O_RDONLY | O_CLOEXEC)
        let synced = descriptor >= 0 && fsync(descriptor) == 0
        let failure = errno
        if descriptor >= 0 { close(descriptor) }
        guard synced else { throw failed(failure) }
        guard rename(temporaryPath, url.path) == 0 else { throw failed(errno) }
        isOpen = false
        let folder = open(url.deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }

    /// Removes what was written so far.
    func discard() {
        guard isOpen else { return }
        isOpen = false
        unlink(temporaryPath)
    }

    /// The error for a system call that failed while writing.
    func failed(_ number: Int32) -> MediaError {
        MediaError(.cannotWrite, "Writing \(url.path) failed: \(systemText(number)).")
    }
}
