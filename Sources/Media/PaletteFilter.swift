import CFFmpeg
import Foundation

/// Chooses 256 colours for a whole clip and dithers its frames to them, for GIF.
///
/// The palette needs all frames, so they are kept (4 bytes a pixel) until ``finish(_:)``.
final class PaletteFilter {
    private var graph: UnsafeMutablePointer<AVFilterGraph>?
    private var source: UnsafeMutablePointer<AVFilterContext>?
    private var sink: UnsafeMutablePointer<AVFilterContext>?
    private let frame: OwnedFrame
    private let width: Int
    private let height: Int

    init(width: Int, height: Int) throws {
        self.width = width
        self.height = height
        frame = try OwnedFrame()
        graph = avfilter_graph_alloc()
        guard let graph else { throw Self.failed(mm_averror(ENOMEM)) }
        graph.pointee.nb_threads = 1
        let arguments =
            "video_size=\(width)x\(height):pix_fmt=\(AV_PIX_FMT_RGB24.rawValue):time_base=1/100:pixel_aspect=1/1"
        try check(
            avfilter_graph_create_filter(&source, avfilter_get_by_name("buffer"), "in", arguments, nil, graph))
        try check(
            avfilter_graph_create_filter(&sink, avfilter_get_by_name("buffersink"), "out", nil, nil, graph))
        var outputs = avfilter_inout_alloc()
        var inputs = avfilter_inout_alloc()
        defer {
            avfilter_inout_free(&outputs)
            avfilter_inout_free(&inputs)
        }
        guard let output = outputs, let input = inputs else { throw Self.failed(mm_averror(ENOMEM)) }
        output.pointee.name = av_strdup("in")
        output.pointee.filter_ctx = source
        input.pointee.name = av_strdup("out")
        input.pointee.filter_ctx = sink
        let chain =
            "[in]split[a][b];[a]palettegen=reserve_transparent=0:stats_mode=full[p];"
            + "[b][p]paletteuse=dither=sierra2_4a[out]"
        try check(avfilter_graph_parse_ptr(graph, chain, &inputs, &outputs, nil))
        try check(avfilter_graph_config(graph, nil))
    }

    deinit { avfilter_graph_free(&graph) }

    func append(rgb: UnsafePointer<UInt8>, stride: Int, timestamp: Int64) throws {
        av_frame_unref(frame.pointer)
        frame.pointer.pointee.format = AV_PIX_FMT_RGB24.rawValue
        frame.pointer.pointee.width = Int32(width)
        frame.pointer.pointee.height = Int32(height)
        try check(av_frame_get_buffer(frame.pointer, 0))
        frame.pointer.pointee.pts = timestamp
        guard let plane = mm_plane(frame.pointer, 0) else { throw Self.failed(mm_averror(ENOMEM)) }
        let linesize = Int(mm_linesize(frame.pointer, 0))
        for y in 0..<height { (plane + y * linesize).update(from: rgb + y * stride, count: width * 3) }
        try check(av_buffersrc_add_frame(source, frame.pointer))
    }

    /// Yields the frames in palette form, in order.
    func finish(_ body: (UnsafeMutablePointer<AVFrame>) throws -> Void) throws {
        try check(av_buffersrc_add_frame(source, nil))
        while true {
            let status = av_buffersink_get_frame(sink, frame.pointer)
            if status == mm_error_eof { return }
            try check(status)
            defer { av_frame_unref(frame.pointer) }
            try body(frame.pointer)
        }
    }

    private func check(_ status: Int32) throws {
        guard status >= 0 else { throw Self.failed(status) }
    }

    private static func failed(_ status: Int32) -> MediaError {
        MediaError(.cannotWrite, "The colours of a GIF could not be chosen: \(statusText(status).lowercased()).")
    }
}
