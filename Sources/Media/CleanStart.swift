import CFFmpeg

/// Knows from which packets on decoding depends on nothing before.
///
/// Containers mark key frames, but frames behind a key frame may still refer to frames before it (open groups of pictures),
/// and some encoders refresh a picture bit by bit. What counts is what a codec's standard says.
enum CleanStart {
    /// Whether frames that are shown with this packet's or later are the same when decoding begins here.
    static func begins(with packet: UnsafeMutablePointer<AVPacket>, of stream: UnsafeMutablePointer<AVStream>) -> Bool {
        guard packet.pointee.flags & mm_packet_key != 0, packet.pointee.flags & mm_packet_corrupt == 0,
            let data = packet.pointee.data, packet.pointee.size > 0
        else { return false }
        let bytes = UnsafeBufferPointer(start: data, count: Int(packet.pointee.size))
        let parameters = stream.pointee.codecpar.pointee
        let extra = UnsafeBufferPointer(start: parameters.extradata, count: max(0, Int(parameters.extradata_size)))
        switch parameters.codec_id {
        // A key frame sets all of the decoder's state.
        case AV_CODEC_ID_VP8, AV_CODEC_ID_VP9, AV_CODEC_ID_FFV1, AV_CODEC_ID_MJPEG, AV_CODEC_ID_PNG,
            AV_CODEC_ID_RAWVIDEO:
            return true
        // The first slice is one of an instantaneous refresh (H.264, 7.4.1.2.4).
        case AV_CODEC_ID_H264:
            return firstUnit(bytes, lengthSize: extra.count > 4 && extra[0] == 1 ? Int(extra[4] & 3) + 1 : nil) {
                (1...5).contains($0 & 31) ? $0 & 31 == 5 : nil
            }
        // A random access point: frames that are shown after it refer to it or to later ones (H.265, 3.130 and 7.4.2.2).
        case AV_CODEC_ID_HEVC:
            return firstUnit(bytes, lengthSize: extra.count > 21 && extra[0] == 1 ? Int(extra[21] & 3) + 1 : nil) {
                $0 >> 1 & 63 < 32 ? (16...21).contains($0 >> 1 & 63) : nil
            }
        default: return false
        }
    }

    /// Goes over the units of a packet until one decides.
    ///
    /// - Parameters:
    ///   - lengthSize: the bytes of the length before each unit; `nil` where start codes lie between them.
    ///   - verdict: given a unit's first byte.
    private static func firstUnit(
        _ bytes: UnsafeBufferPointer<UInt8>, lengthSize: Int?, _ verdict: (UInt8) -> Bool?
    ) -> Bool {
        var at = 0
        if let lengthSize {
            while at + lengthSize < bytes.count {
                let length = bytes[at..<at + lengthSize].reduce(0) { $0 << 8 | Int($1) }
                if length > 0, let found = verdict(bytes[at + lengthSize]) { return found }
                at += lengthSize + length
            }
            return false
        }
        while at + 3 < bytes.count {
            if bytes[at] == 0, bytes[at + 1] == 0, bytes[at + 2] == 1 {
                if let found = verdict(bytes[at + 3]) { return found }
                at += 3
            } else {
                at += 1
            }
        }
        return false
    }
}
