//! retina: an independent, strict RTSP client in Rust. It checks sequence numbers, RTP-Info and session ids, and
//! counts lost packets; H.264 and MJPEG here.

use futures::StreamExt;
use retina::client::PlayOptions;
use retina::client::Session;
use retina::client::SessionOptions;
use retina::client::SetupOptions;
use retina::client::TcpTransportOptions;
use retina::client::UdpTransportOptions;
use retina::codec::CodecItem;
use retina::codec::FrameFormat;

use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::DEADLINE;

/// Reads a path until so many access units came; checksums of the pictures that ffmpeg decodes from them.
#[track_caller]
pub fn read(url: &str, transport: Transport, pictures: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let units = runtime.block_on(async {
        tokio::time::timeout(DEADLINE, units(url, transport, pictures))
            .await
            .expect("retina: in time")
    });
    ffmpeg::decode_bytes("h264", &units.unwrap_or_else(|e| panic!("retina: {e}")))
}

async fn units(url: &str, transport: Transport, pictures: usize) -> Result<Vec<u8>, retina::Error> {
    let url = url.parse().expect("a URL");
    let options = SessionOptions::default().user_agent("retina/test".to_owned());
    let mut session = Session::describe(url, options).await?;
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
    let (mut bytes, mut count) = (vec![], 0);
    while count < pictures {
        let Some(item) = items.next().await else { break };
        if let CodecItem::VideoFrame(unit) = item? {
            assert_eq!(unit.loss(), 0, "retina counts lost packets before unit {count}");
            assert!(
                count > 0 || unit.is_random_access_point(),
                "the first unit is a keyframe"
            );
            bytes.extend_from_slice(unit.data());
            count += 1;
        }
    }
    Ok(bytes)
}
