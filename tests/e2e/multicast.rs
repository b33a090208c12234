//! Multicast, in a network of the test's own: the relay, its publisher and its readers share a loopback that
//! nobody else has.

use md5::Digest;
use md5::Md5;

use crate::clips;
use crate::clips::assert_contiguous;
use crate::island::Island;
use crate::peers::Peer;
use crate::peers::ffmpeg;

/// Two seconds.
const PICTURES: usize = 50;

#[test]
fn ffmpeg_and_gstreamer_read_by_multicast_what_was_published() {
    let island = Island::start(&["mystream"], "multicast = \"239.255.42.0/24\"");
    let url = island.url("mystream");
    let clip = clips::h264();
    let mut publisher = island.inside("ffmpeg");
    publisher
        .args(["-nostdin", "-v", "error", "-re", "-i"])
        .arg(&clip.path);
    publisher.args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", &url]);
    let _publisher = Peer::spawn("ffmpeg, publishing", &mut publisher);
    let out = tempfile::tempdir().unwrap();
    let md5 = out.path().join("ffmpeg.md5");
    let raw = out.path().join("gstreamer.yuv");
    let read = |n: u32| {
        let mut cmd = island.inside("ffmpeg");
        cmd.args([
            "-nostdin",
            "-v",
            "error",
            "-rtsp_transport",
            "udp_multicast",
            "-i",
            &url,
        ]);
        cmd.args(["-map", "0:v:0", "-frames:v", &PICTURES.to_string()]);
        cmd.args(["-vsync", "passthrough", "-f", "framemd5"])
            .arg(format!("{}{n}", md5.display()));
        Peer::spawn("ffmpeg, reading by multicast", &mut cmd)
    };
    // DESCRIBE waits for the publisher.
    let mut readers = vec![read(1), read(2)];
    let pipeline = format!(
        "rtspsrc location={} protocols=udp-mcast latency=500 ! rtph264depay ! h264parse ! avdec_h264 ! videoconvert \
         ! video/x-raw,format=I420 ! identity eos-after={} ! filesink location={}",
        url,
        PICTURES + 1,
        raw.display()
    );
    let mut cmd = island.inside("gst-launch-1.0");
    cmd.arg("-q").args(pipeline.split_whitespace());
    readers.push(Peer::spawn("gst-launch, reading by multicast", &mut cmd));
    for reader in &mut readers {
        let status = reader.wait(crate::relay::DEADLINE);
        assert!(status.success(), "{}", reader.log());
    }
    for n in [1, 2] {
        let text = std::fs::read_to_string(format!("{}{n}", md5.display())).unwrap();
        assert_contiguous(
            &clip.pictures,
            &ffmpeg::parse(&text, 0),
            PICTURES - 2,
            "ffmpeg, multicast",
        );
    }
    let bytes = std::fs::read(raw).unwrap();
    let pictures = bytes.chunks_exact(clip.width * clip.height * 3 / 2);
    let sum = |p: &[u8]| Md5::digest(p).iter().map(|b| format!("{b:02x}")).collect();
    let got: Vec<String> = pictures.map(sum).collect();
    // It shows what it has before the first keyframe: who joins a group comes in the middle.
    let whole = got.iter().position(|p| clip.pictures.contains(p)).unwrap_or(0);
    assert_contiguous(
        &clip.pictures,
        &got[whole..],
        PICTURES - 26,
        "GStreamer, multicast",
    );
}
