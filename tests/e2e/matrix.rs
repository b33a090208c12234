//! The matrix: every publisher that README names, with every reader that it names at once, by the commands that stand
//! there. Decoded pictures must be the published ones, none lost, none twice.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;

use nix::sys::stat::Mode;

use crate::clips;
use crate::clips::assert_contiguous;
use crate::island::Island;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::peers::retina;
use crate::peers::vlc;
use crate::readme;
use crate::readme::Row;
use crate::relay::Options;
use crate::relay::Relay;
use crate::watch::Promise;
use crate::watch::Watch;
use crate::watch::until_all_have_seen;
use crate::watch::wait_for_all;

/// Three seconds: three keyframes.
const PICTURES: usize = 75;
const PUBLISHERS: [&str; 9] = [
    "ffmpeg, UDP",
    "ffmpeg, TCP",
    "ffmpeg, TLS",
    "GStreamer, UDP",
    "GStreamer, TCP",
    "GStreamer, TLS",
    "GStreamer, HTTP",
    "GStreamer, SRTP by UDP",
    "GStreamer, SRTP by TCP",
];
const READERS: [&str; 17] = [
    "ffmpeg, UDP",
    "ffmpeg, TCP",
    "ffmpeg, multicast",
    "ffmpeg, HTTP",
    "ffmpeg, HTTPS",
    "ffmpeg, TLS",
    "ffmpeg, SRTP in TLS",
    "GStreamer, UDP",
    "GStreamer, TCP",
    "GStreamer, multicast",
    "GStreamer, HTTP",
    "GStreamer, TLS",
    "GStreamer, SRTP by UDP",
    "GStreamer, SRTP by TCP",
    "VLC, UDP (`satip`)",
    "retina, UDP",
    "retina, TCP",
];

#[test]
fn the_tables_of_the_readme_are_the_matrix() {
    let names = |heading: &str| readme::table(heading).iter().map(Row::name).collect::<Vec<_>>();
    assert_eq!(names("Publisher"), PUBLISHERS);
    assert_eq!(names("Reader"), READERS);
}

#[test]
fn what_ffmpeg_publishes_by_udp_reaches_every_reader() {
    everybody_reads("ffmpeg, UDP");
}

#[test]
fn what_ffmpeg_publishes_by_tcp_reaches_every_reader() {
    everybody_reads("ffmpeg, TCP");
}

#[test]
fn what_ffmpeg_publishes_in_tls_reaches_every_reader() {
    everybody_reads("ffmpeg, TLS");
}

#[test]
fn what_gstreamer_publishes_by_udp_reaches_every_reader() {
    everybody_reads("GStreamer, UDP");
}

#[test]
fn what_gstreamer_publishes_by_tcp_reaches_every_reader() {
    everybody_reads("GStreamer, TCP");
}

#[test]
fn what_gstreamer_publishes_in_tls_reaches_every_reader() {
    everybody_reads("GStreamer, TLS");
}

#[test]
fn what_gstreamer_publishes_in_http_reaches_every_reader() {
    everybody_reads("GStreamer, HTTP");
}

#[test]
fn what_gstreamer_publishes_in_srtp_by_udp_reaches_every_reader() {
    everybody_reads("GStreamer, SRTP by UDP");
}

#[test]
fn what_gstreamer_publishes_in_srtp_by_tcp_reaches_every_reader() {
    everybody_reads("GStreamer, SRTP by TCP");
}

/// Eighteen programs decode in each; on a small machine those of two tests would starve each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// All readers at once, while the publisher goes on.
fn everybody_reads(publisher: &str) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let clip = clips::h264();
    let island = Island::start(&["mystream"], "multicast = \"239.255.42.0/24\"");
    let publishers = readme::table("Publisher");
    let row = publishers
        .iter()
        .find(|row| row.name() == publisher)
        .expect("a row of README");
    let _publisher = Peer::spawn(publisher, &mut island.enter(&row.publishing(&clip.path)));
    // DESCRIBE waits for the publisher; VLC does not send it.
    let rows = readme::table("Reader");
    let by_tcp = rows
        .iter()
        .find(|row| row.name() == "ffmpeg, TCP")
        .expect("a row of README");
    let first = wait_for_all(vec![reader(&island, by_tcp)], &clip.pictures, 1);
    let mut readers: Vec<_> = rows.iter().map(|row| reader(&island, row)).collect();
    readers.extend(first);
    until_all_have_seen(readers, &clip.pictures, PICTURES);
}

fn reader(island: &Island, row: &Row) -> Watch {
    reader_by(row, island, |cmd| match row.program {
        "VLC" => island.enter_unprivileged(cmd),
        _ => island.enter(cmd),
    })
}

/// A reader of README's table, in the network that `enter` knows.
pub fn reader_by(row: &Row, island: &Island, enter: impl Fn(&Command) -> Command) -> Watch {
    let name = row.name();
    match row.program {
        "VLC" => {
            let home = tempfile::tempdir_in(island.scratch()).unwrap().keep();
            let cvlc = || enter(&vlc::cvlc(&home, &row.url("mystream")));
            let decode = || ffmpeg::checksums_of("mpegts", "-");
            // It quits when the machine is too busy for its first seconds.
            Watch::piped(&name, Promise::Run, cvlc(), decode()).or_again(|_| vec![cvlc(), decode()])
        }
        "retina" => {
            let pipe = tempfile::tempdir_in(island.scratch())
                .unwrap()
                .keep()
                .join("h264");
            nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
            let transport = if row.by == "TCP" {
                Transport::Tcp
            } else {
                Transport::Udp
            };
            let retina = enter(&retina::program(&row.url("mystream"), transport, &pipe));
            let decode = ffmpeg::checksums_of("h264", pipe.to_str().unwrap());
            Watch::piped(&name, Promise::All, retina, decode)
        }
        // Who joins a group comes in the middle. One ffmpeg 5.1 in some hundred ends after half a second, with status 0
        // and without a word, as it does after any good-bye in its group, and when its connection is closed. Neither
        // should be here: the relay says good-bye for a stream that has ended alone (`egress::rtsp::multicast`), the
        // network is this test's own, and GStreamer sends no RTCP. GStreamer ends too when we say one, and may not begin
        // once more.
        "ffmpeg" if row.by == "multicast" => {
            let read = |out: &Path| enter(&row.reading("mystream", out));
            Watch::start(&name, Promise::FromKeyframe, read).or_again(|out| vec![read(out)])
        }
        _ if row.by == "multicast" => Watch::start(&name, Promise::FromKeyframe, |out| {
            enter(&row.reading("mystream", out))
        }),
        _ => Watch::start(&name, Promise::All, |out| enter(&row.reading("mystream", out))),
    }
}

#[test]
fn h265_passes_and_several_paths_do_not_mix() {
    let relay = Relay::start(Options::publish());
    let (first, second) = (relay.rtsp("garden/gate"), relay.rtsp("Garden/Gate-2?token=x"));
    // Made before anything is published: that takes its time.
    let (h264, h265) = (clips::h264(), clips::h265());
    let _one = ffmpeg::publish(h264, &first, Transport::Tcp);
    let _two = ffmpeg::publish(h265, &second, Transport::Tcp);
    relay.wait_for_state("garden/gate", "ready");
    relay.wait_for_state("Garden/Gate-2", "ready");
    std::thread::scope(|s| {
        s.spawn(|| {
            let got = ffmpeg::read(&first, Transport::Tcp, PICTURES);
            assert_contiguous(&h264.pictures, &got, PICTURES, "H.264 on one path");
        });
        for transport in [Transport::Tcp, Transport::Udp] {
            let second = &second;
            s.spawn(move || {
                let got = ffmpeg::read(second, transport, PICTURES);
                assert_contiguous(&h265.pictures, &got, PICTURES, "H.265 on the other");
            });
        }
    });
    relay.stop();
}
