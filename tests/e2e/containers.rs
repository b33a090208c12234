//! Sources that FFmpeg's libraries take apart: files, downloads, and other protocols, with ffmpeg at the far
//! end.

use std::hash::BuildHasher;
use std::hash::Hasher;
use std::hash::RandomState;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use crate::clips;
use crate::clips::Clip;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::rtsp::Conn;

const QUICK: &str = "#retry_first=50ms&retry_max=500ms";

fn started(source: &str) -> Relay {
    Relay::start(Options::sources(&[&format!("cam={source}")]))
}

/// Both tracks of the clip, one coded unit as good as the other.
#[track_caller]
fn reads_picture_and_sound(relay: &Relay, clip: &Clip, what: &str) {
    relay.wait_for_state("cam", "ready");
    let url = relay.rtsp("cam");
    let got = ffmpeg::read(&url, Transport::Tcp, 40);
    clips::assert_contiguous(&clip.pictures, &got, 40, what);
    let input = ["-rtsp_transport", "tcp", "-i", &url];
    let sound = ffmpeg::checksums(&input, &["-map", "0:a:0", "-c", "copy", "-frames:a", "40"]);
    clips::assert_contiguous(&clip.audio, &sound, 40, what);
}

#[test]
fn a_file_is_played_at_its_own_pace_and_again() {
    let clip = clips::h264_aac();
    let relay = started(&format!("file:{}?loop=1", clip.path.display()));
    reads_picture_and_sound(&relay, clip, "a file");
    relay.stop();
}

/// What broadcasting sends: short films, decoded and compared like the others.
#[test]
fn broadcasts_codecs_are_passed_on_too() {
    for (video, audio) in [
        ("mpeg2video", "mp2"),
        ("libx264", "ac3"),
        ("libx265", "libmp3lame"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("film.ts");
        let mut cmd = ffmpeg::ffmpeg();
        cmd.args([
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x240:r=25",
            "-f",
            "lavfi",
            "-i",
            "sine=r=48000",
        ]);
        cmd.args([
            "-t", "20", "-g", "25", "-bf", "0", "-c:v", video, "-c:a", audio, "-f", "mpegts",
        ]);
        let status = cmd.arg(&file).stderr(std::process::Stdio::null()).status();
        assert!(status.unwrap().success(), "ffmpeg encodes {video} and {audio}");
        let input = ["-i", file.to_str().unwrap()];
        let pictures = ffmpeg::checksums(&input, &["-map", "0:v:0"]);
        let sound = ffmpeg::checksums(&input, &["-map", "0:a:0", "-c", "copy"]);
        let relay = started(&format!("file:{}?loop=1", file.display()));
        relay.wait_for_state("cam", "ready");
        let url = relay.rtsp("cam");
        let got = ffmpeg::read(&url, Transport::Tcp, 40);
        clips::assert_contiguous(&pictures, &got, 40, video);
        let read = ["-rtsp_transport", "tcp", "-i", &url];
        let got = ffmpeg::checksums(&read, &["-map", "0:a:0", "-c", "copy", "-frames:a", "40"]);
        clips::assert_contiguous(&sound, &got, 40, audio);
        relay.stop();
    }
}

#[test]
fn a_file_that_ends_ends_its_stream_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("short.ts");
    cut(&short, "2");
    let relay = started(&format!("file:{}", short.display()));
    relay.wait_for_state("cam", "offline");
    let path = relay.api("/api/v1/paths")["items"][0].clone();
    assert_eq!(
        path["last_error"],
        "the file ended; add `?loop=1` to play it for ever"
    );
    relay.stop();
}

/// The first seconds of the clip as a transport stream.
fn cut(to: &Path, seconds: &str) {
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-t", seconds, "-i"]).arg(&clips::h264_aac().path);
    cmd.args(["-c", "copy", "-f", "mpegts"]).arg(to);
    assert!(cmd.status().unwrap().success());
}

/// A web server that gives two and a half seconds of film at once, closes, and expects to be asked again.
#[test]
fn a_download_that_ends_every_few_seconds_is_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("1034.ts");
    cut(&part, "2.5");
    let film = std::fs::read(&part).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = socket.read(&mut request);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n";
            let _ = socket.write_all(head.as_bytes());
            let _ = socket.write_all(&film);
        }
    });
    let relay = started(&format!("http://127.0.0.1:{port}/1034.ts"));
    relay.wait_for_state("cam", "ready");
    // More than three of them, by one reader, without a complaint.
    let got = ffmpeg::read(&relay.rtsp("cam"), Transport::Tcp, 200);
    assert_eq!(got.len(), 200);
    assert!(asked.load(Ordering::SeqCst) >= 3);
    let film = &clips::h264_aac().pictures[..63];
    assert!(
        got.iter().all(|md5| film.contains(md5)),
        "only pictures of the film"
    );
    relay.stop();
}

/// A port that nobody has just now, and that the system gives nobody of its own accord while ffmpeg starts.
fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let at = SocketAddr::from(([127, 0, 0, 1], 20_000 + (random % 10_000) as u16));
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return at.port();
        }
    }
}

/// ffmpeg sends the clip to an address, again and again.
fn sending(format: &[&str], url: &str) -> Peer {
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(["-stream_loop", "-1", "-re", "-i"])
        .arg(&clips::h264_aac().path);
    cmd.args(["-c", "copy"]).args(format).arg(url);
    Peer::spawn("ffmpeg, sending", &mut cmd)
}

#[test]
fn mpegts_by_udp_is_a_source() {
    let port = free_port();
    let _sender = sending(
        &["-f", "mpegts"],
        &format!("udp://127.0.0.1:{port}?pkt_size=1316"),
    );
    let relay = started(&format!("udp://127.0.0.1:{port}{QUICK}"));
    reads_picture_and_sound(&relay, clips::h264_aac(), "udp");
    relay.stop();
}

#[test]
fn an_rtmp_server_is_a_source() {
    let port = free_port();
    let url = format!("rtmp://127.0.0.1:{port}/live/cam");
    let _sender = sending(&["-f", "flv", "-listen", "1"], &url);
    let relay = started(&format!("{url}{QUICK}"));
    reads_picture_and_sound(&relay, clips::h264_aac(), "rtmp");
    relay.stop();
}

#[test]
fn an_srt_listener_is_a_source() {
    let port = free_port();
    let url = format!("srt://127.0.0.1:{port}");
    let _sender = sending(&["-f", "mpegts"], &format!("{url}?mode=listener"));
    let relay = started(&format!("{url}{QUICK}"));
    reads_picture_and_sound(&relay, clips::h264_aac(), "srt");
    relay.stop();
}

/// Runs ffmpeg until it has written a file.
fn make(args: &[&str], to: &Path) {
    let mut cmd = ffmpeg::ffmpeg();
    let out = cmd.args(args).arg(to).output().unwrap();
    assert!(
        out.status.success(),
        "ffmpeg {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// The sound as samples of 24 bits: from the start, or so many seconds of it.
fn samples(input: &[&str], seconds: &str) -> Vec<u8> {
    let mut cmd = ffmpeg::ffmpeg();
    cmd.args(input)
        .args(["-map", "0:a:0", "-t", seconds, "-f", "s24le", "-"]);
    let out = cmd.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[test]
fn samples_of_wav_files_are_passed_on_untouched() {
    // ffmpeg reads no samples of 8 bits from RTP.
    for codec in ["pcm_s16le", "pcm_s24le"] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("noise.wav");
        let noise = "anoisesrc=r=44100:c=pink:seed=7:d=20,aformat=channel_layouts=stereo";
        make(&["-f", "lavfi", "-i", noise, "-c:a", codec], &file);
        let relay = started(&format!("file:{}?loop=1", file.display()));
        relay.wait_for_state("cam", "ready");
        let url = relay.rtsp("cam");
        let got = samples(&["-rtsp_transport", "tcp", "-i", &url], "1");
        let all = samples(&["-i", file.to_str().unwrap()], "20");
        let (got, bytes) = (&got[..got.len() / 2], 6); // its end is where ffmpeg stopped reading
        let begins = got[..60].to_vec();
        let at = all.windows(60).step_by(bytes).position(|w| w == begins);
        let at = bytes * at.unwrap_or_else(|| panic!("{codec}: no sound of the file"));
        let same = all[at..].iter().zip(got).take_while(|(a, b)| a == b).count();
        assert!(
            same == got.len() || at + same == all.len(),
            "{codec}: {same} of {}",
            got.len()
        );
        relay.stop();
    }
}

#[test]
fn vorbis_of_matroska_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("film.mkv");
    let noise = "anoisesrc=r=48000:c=pink:seed=7:d=20,aformat=channel_layouts=stereo";
    make(&["-f", "lavfi", "-i", noise, "-c:a", "libvorbis"], &file);
    let sound = ffmpeg::checksums(&["-i", file.to_str().unwrap()], &["-map", "0:a:0", "-c", "copy"]);
    let relay = started(&format!("file:{}?loop=1", file.display()));
    relay.wait_for_state("cam", "ready");
    let input = ["-rtsp_transport", "tcp", "-i", &relay.rtsp("cam")];
    let got = ffmpeg::checksums(&input, &["-map", "0:a:0", "-c", "copy", "-frames:a", "40"]);
    clips::assert_contiguous(&sound, &got, 40, "Vorbis");
    relay.stop();
}

/// Television in parts of the world. The frames are taken out of their LOAS: all players know them so.
#[test]
fn aac_in_loas_is_passed_on() {
    let clip = clips::h264_aac();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("latm.ts");
    let input = clip.path.to_str().unwrap();
    make(
        &["-i", input, "-c", "copy", "-mpegts_flags", "latm", "-f", "mpegts"],
        &file,
    );
    let probe = ffmpeg::checksums(&["-i", file.to_str().unwrap()], &["-map", "0:a:0", "-c", "copy"]);
    assert_ne!(probe[..10], clip.audio[..10], "the file has LOAS");
    let relay = started(&format!("file:{}?loop=1", file.display()));
    reads_picture_and_sound(&relay, clip, "LOAS");
    relay.stop();
}

#[test]
fn metadata_of_transport_streams_is_passed_on_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("klv.ts");
    std::fs::write(&file, klv_film(600)).unwrap();
    let relay = started(&format!("file:{}?loop=1", file.display()));
    relay.wait_for_state("cam", "ready");
    let tracks = relay.api("/api/v1/paths")["items"][0]["tracks"].clone();
    assert_eq!(tracks[0]["codec"], "KLV", "{tracks}");
    let mut conn = Conn::open([127, 0, 0, 1].into(), relay.addr("rtsp"));
    let url = relay.rtsp("cam");
    conn.ok("DESCRIBE", &url, &[]);
    let transport = [("Transport", "RTP/AVP/TCP;interleaved=0-1")];
    conn.ok("SETUP", &format!("{url}/trackID=0"), &transport);
    conn.ok("PLAY", &url, &[]);
    let units = eventually("ten units", || {
        assert!(!conn.has_ended());
        conn.skip_packets();
        let packets = conn.taken.iter().filter(|(channel, _)| *channel == 0);
        let units: Vec<Vec<u8>> = packets.map(|(_, packet)| packet[12..].to_vec()).collect();
        (units.len() >= 10).then_some(units)
    });
    let number = |unit: &[u8]| u16::from_be_bytes([unit[17], unit[18]]);
    let first = number(&units[0]);
    for (unit, n) in units.iter().zip(first..) {
        assert_eq!(*unit, klv(n % 600), "unit {n}");
    }
    relay.stop();
}

/// A local set of SMPTE 336: a key, a length, a value with a number in it.
fn klv(n: u16) -> Vec<u8> {
    let key = [6, 14, 43, 52, 2, 11, 1, 1, 14, 1, 3, 1, 1, 0, 0, 0];
    let mut unit = key.to_vec();
    unit.push(40);
    unit.extend(n.to_be_bytes());
    unit.extend([0x5a; 38]);
    unit
}

/// A transport stream of such units, ten in a second: no installed program makes one.
fn klv_film(units: u16) -> Vec<u8> {
    let mut film = Vec::new();
    let mut counters = [0_u8; 3];
    for n in 0..units {
        if n % 5 == 0 {
            let pat = section(0, &[0, 1, 0xe1, 0]); // program 1 is told of by PID 256
            let stream = [6, 0xe1, 1, 0xf0, 6, 5, 4, b'K', b'L', b'V', b'A']; // PID 257
            let pmt = section(2, &[&[0xff, 0xff, 0xf0, 0][..], &stream].concat());
            film.extend(ts_packet(0, &mut counters[0], &[&[0][..], &pat].concat()));
            film.extend(ts_packet(256, &mut counters[1], &[&[0][..], &pmt].concat()));
        }
        let time = 90_000 + 9_000 * u64::from(n);
        let part = |shift: u32, mask: u64| ((time >> shift & mask) << 1 | 1) as u8;
        let pts = [
            0x20 | part(30, 7),
            (time >> 22) as u8,
            part(15, 0x7f),
            (time >> 7) as u8,
            part(0, 0x7f),
        ];
        let unit = klv(n);
        let length = (unit.len() + 8) as u16;
        let mut pes = vec![0, 0, 1, 0xbd];
        pes.extend(length.to_be_bytes());
        pes.extend([0x84, 0x80, 5]);
        pes.extend(pts);
        pes.extend(unit);
        film.extend(ts_packet(257, &mut counters[2], &pes));
    }
    film
}

/// A table with its head and its checksum (ISO/IEC 13818-1 section 2.4.4).
fn section(table: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 9) as u16;
    let [high, low] = (0xb000 | length).to_be_bytes();
    let mut section = vec![table, high, low, 0, 1, 0xc1, 0, 0];
    section.extend(body);
    let crc = section.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    section.extend(crc.to_be_bytes());
    section
}

/// One packet that begins something, filled up in its adaptation field.
fn ts_packet(pid: u16, counter: &mut u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (0x4000 | pid).to_be_bytes();
    let fill = 184 - payload.len() - 2;
    let mut packet = vec![0x47, high, low, 0x30 | *counter, (fill + 1) as u8, 0];
    *counter = (*counter + 1) & 15;
    packet.resize(6 + fill, 0xff);
    packet.extend(payload);
    packet
}
