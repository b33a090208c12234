//! retina: an independent, strict RTSP client in Rust. It checks sequence numbers, RTP-Info and session ids, and
//! counts lost packets; H.264 and MJPEG here.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use futures::StreamExt;
use retina::client::Credentials;
use retina::client::PlayOptions;
use retina::client::Session;
use retina::client::SessionOptions;
use retina::client::SetupOptions;
use retina::client::TcpTransportOptions;
use retina::client::UdpTransportOptions;
use retina::codec::CodecItem;
use retina::codec::FrameFormat;

use crate::peers::Transport;

async fn units(url: &str, transport: Transport, to: &mut impl Write) -> Result<(), retina::Error> {
    let (options, url) = match url.split_once("://").and_then(|(_, rest)| rest.split_once('@')) {
        None => (SessionOptions::default(), url.to_owned()),
        Some((who, rest)) => {
            let (username, password) = who.split_once(':').expect("user and password");
            let (username, password) = (username.to_owned(), password.to_owned());
            let credentials = Credentials { username, password };
            (
                SessionOptions::default().creds(Some(credentials)),
                format!("rtsp://{rest}"),
            )
        }
    };
    let url = url.parse().expect("a URL");
    let mut session = Session::describe(url, options.user_agent("retina/test".to_owned())).await?;
    let video = session
        .streams()
        .iter()
        .position(|s| s.media() == "video")
        .expect("a video track");
    let transport = match transport {
        Transport::Tcp => retina::client::Transport::Tcp(TcpTransportOptions::default()),
        Transport::Udp => retina::client::Transport::Udp(UdpTransportOptions::default()),
        Transport::Http | Transport::Https => unimplemented!("retina has no tunnel"),
    };
    let setup = SetupOptions::default()
        .transport(transport)
        .frame_format(FrameFormat::SIMPLE);
    session.setup(video, setup).await?;
    let mut items = session.play(PlayOptions::default()).await?.demuxed()?;
    let mut count = 0;
    while let Some(item) = items.next().await {
        if let CodecItem::VideoFrame(unit) = item? {
            assert_eq!(unit.loss(), 0, "retina counts lost packets before unit {count}");
            assert!(
                count > 0 || unit.is_random_access_point(),
                "the first unit is a keyframe"
            );
            to.write_all(unit.data()).expect("somebody takes it");
            count += 1;
        }
    }
    Ok(())
}

/// Where the program below reads, how, and where its pictures go.
const ARGS: [&str; 3] = ["RETINA_URL", "RETINA_TRANSPORT", "RETINA_OUT"];

/// A reader that is a program of its own, so that it can run in another network: this one, with one test chosen. It
/// writes H.264 until it is killed.
pub fn program(url: &str, transport: Transport, to: &Path) -> Command {
    let mut cmd = Command::new(std::env::current_exe().unwrap());
    cmd.args([
        "--exact",
        "--nocapture",
        "peers::retina::reads_where_a_test_wants_it",
    ]);
    cmd.env(ARGS[0], url)
        .env(ARGS[1], transport.to_string())
        .env(ARGS[2], to);
    cmd
}

#[test]
fn reads_where_a_test_wants_it() {
    let [Ok(url), Ok(transport), Ok(to)] = ARGS.map(std::env::var) else {
        return; // Nobody wants it: this is a whole test run.
    };
    let transport = if transport == "tcp" {
        Transport::Tcp
    } else {
        Transport::Udp
    };
    let mut to = File::options().write(true).open(to).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(units(&url, transport, &mut to));
    panic!("retina ended: {ended:?}");
}
