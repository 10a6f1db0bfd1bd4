import Foundation

extension UnderstandingDataset {
    /// Which files of a folder are samples.
    public enum FolderContent: Sendable {
        /// Pictures.
        case pictures
        /// Videos.
        case videos

        /// Endings of names, in lower case.
        var extensions: Set<String> {
            switch self {
            case .pictures: ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"]
            case .videos: ["mp4", "avi", "m4v", "mov", "mkv", "webm", "mpg", "mpeg", "gif"]
            }
        }
    }

    /// A folder with a folder for each class, as ImageNet's and Kinetics' are.
    ///
    /// Classes are numbered by their names and samples follow their paths, both ordered by bytes. Hidden files are left
    /// out; a class may have folders of its own.
    ///
    /// - Throws: ``DatasetError``: `.notFound`, `.empty` for a class without files, which would never be learned.
    public static func classFolders(
        _ root: URL, content: FolderContent, allowsEmptyClasses: Bool = false
    ) throws -> UnderstandingDataset {
        let classes = try names(in: root).filter { isFolder(root.appendingPathComponent($0)) }
        guard !classes.isEmpty else {
            throw DatasetError(.empty, "The folder \(root.path) has no folders; one for each class is expected.")
        }
        var samples: [UnderstandingSample] = []
        for (label, name) in classes.enumerated() {
            let folder = root.appendingPathComponent(name)
            let files = try walk(folder, "\(name)/").filter {
                content.extensions.contains(($0 as NSString).pathExtension.lowercased())
            }
            guard allowsEmptyClasses || !files.isEmpty else {
                throw DatasetError(.empty, "The class \(name) of \(root.path) has no files that are read here.")
            }
            for file in files {
                var sample = UnderstandingSample(file: root.appendingPathComponent(file), identity: file)
                sample.label = label
                samples.append(sample)
            }
        }
        return try UnderstandingDataset(samples: samples, classes: classes, source: root, checksFiles: false)
    }

    /// Pictures with depth in SUN RGB-D's folders: `image/` and `depth_bfx/` with a file each, `intrinsics.txt` whose first
    /// number is the focal length, `scene.txt` with the class.
    ///
    /// The folder's first component names the sensor, which decides the baseline.
    ///
    /// - Parameters:
    ///   - root: the folder `SUNRGBD`.
    ///   - classes: which scenes are wanted; the nineteen of the published training unless told.
    /// - Throws: ``DatasetError``: `.notFound`, `.malformed`, `.empty`.
    public static func depthPairs(_ root: URL, classes: [String] = sceneClasses) throws -> UnderstandingDataset {
        let scenes = try walk(root, "").filter { ($0 as NSString).lastPathComponent == "scene.txt" }
        var samples: [UnderstandingSample] = []
        for scene in scenes {
            let name = (scene as NSString).deletingLastPathComponent
            let folder = root.appendingPathComponent(name)
            let label = try Manifest.readText(root.appendingPathComponent(scene))
                .trimmingCharacters(in: .whitespacesAndNewlines)
            guard let number = classes.firstIndex(of: label) else { continue }
            func only(_ part: String) throws -> URL {
                let inner = folder.appendingPathComponent(part)
                guard let file = try names(in: inner).first else {
                    throw DatasetError(.malformed, "\(inner.path) holds no picture.")
                }
                return inner.appendingPathComponent(file)
            }
            let sensor = name.split(separator: "/").first.map(String.init) ?? ""
            guard let baseline = baselines[sensor] else {
                throw DatasetError(
                    .malformed,
                    "\(folder.path) is of the sensor \"\(sensor)\"; known are "
                        + "\(baselines.keys.sorted().joined(separator: ", ")).")
            }
            let intrinsics = folder.appendingPathComponent("intrinsics.txt")
            let numbers = try Manifest.readText(intrinsics).split(whereSeparator: \.isWhitespace)
            guard let focal = numbers.first.flatMap({ Double($0) }), focal > 0, focal.isFinite else {
                throw DatasetError(.malformed, "\(intrinsics.path) must begin with a focal length above 0.")
            }
            var sample = UnderstandingSample(file: try only("image"), identity: name)
            sample.depth = try only("depth_bfx")
            sample.label = number
            sample.fields = ["focal_length": "\(focal)", "baseline": "\(baseline)"]
            samples.append(sample)
        }
        return try UnderstandingDataset(samples: samples, classes: classes, source: root, checksFiles: false)
    }

    /// The nineteen scenes that Omnivore knows.
    public static let sceneClasses = [
        "bathroom", "bedroom", "classroom", "computer_room", "conference_room", "corridor", "dining_area",
        "dining_room",
        "discussion_area", "furniture_store", "home_office", "kitchen", "lab", "lecture_theatre", "library",
        "living_room", "office", "rest_space", "study_space",
    ]

    /// Metres between the eyes of SUN RGB-D's sensors.
    private static let baselines = ["kv1": 0.075, "kv1_b": 0.075, "kv2": 0.075, "realsense": 0.095, "xtion": 0.095]

    /// The names in a folder, hidden ones left out, by bytes.
    private static func names(in folder: URL) throws -> [String] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path) else {
            throw DatasetError(.notFound, "The folder \(folder.path) cannot be read.")
        }
        return names.filter { !$0.hasPrefix(".") }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    static func isFolder(_ url: URL) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) && isFolder.boolValue
    }

    /// All files below a folder, hidden ones left out, by bytes; each begins with `prefix`.
    static func walk(_ folder: URL, _ prefix: String) throws -> [String] {
        guard isFolder(folder), let walk = FileManager.default.enumerator(atPath: folder.path) else {
            throw DatasetError(.notFound, "The folder \(folder.path) cannot be read.")
        }
        var files: [String] = []
        for case let name as String in walk where !name.split(separator: "/").contains(where: { $0.hasPrefix(".") }) {
            files.append(prefix + name)
        }
        return files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}
