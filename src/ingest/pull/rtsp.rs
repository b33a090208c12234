//! One opening of an RTSP source with retina: packets as they come.
//!
//! retina speaks strictly in some places; what it refuses is tried with FFmpeg's libraries (`demux`). Its own
//! words hold addresses and descriptions: they are sorted here and never shown.

use std::collections::VecDeque;

use futures::FutureExt;
use futures::StreamExt;
use retina::client::Credentials;
use retina::client::Described;
use retina::client::InitialSequenceNumberPolicy;
use retina::client::InitialTimestampPolicy;
use retina::client::PacketItem;
use retina::client::PlayOptions;
use retina::client::Playing;
use retina::client::SessionIdPolicy;
use retina::client::SessionOptions;
use retina::client::SetupOptions;
use retina::client::TcpTransportOptions;
use retina::client::Transport;
use retina::client::UdpTransportOptions;
use retina::client::UnassignedChannelDataPolicy;
use retina::client::UnknownRtcpSsrcPolicy;

use super::address::Pull;
use super::describe;
use super::error::PullError;
use super::outlet::Item;
use crate::base::time::NtpTime;
use crate::media::Description;
use crate::media::TrackId;
use crate::proto::rtp::rtcp;
use crate::proto::rtp::rtcp::Rtcp;

/// Packets in a row that retina refuses before the opening is given up.
const MAX_REFUSED: u32 = 50;

/// A source that plays.
pub(super) struct Session {
    playing: retina::client::Session<Playing>,
    description: Description,
    /// The track of each of retina's streams.
    tracks: Vec<Option<TrackId>>,
    waiting: VecDeque<Item>,
    refused: u32,
}

/// How packets shall come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Tcp,
    Udp,
}

/// Opens the source and lets it play.
pub(super) async fn open(pull: &Pull, way: Way) -> Result<Session, PullError> {
    let url = pull.url.parse().map_err(|_| PullError::Dialogue)?;
    let credentials = pull.credentials.as_ref().map(|c| Credentials {
        username: c.user.clone(),
        password: c.password.clone(),
    });
    let asked_with = credentials.is_some();
    let options = SessionOptions::default()
        .creds(credentials)
        .user_agent(pull.agent.clone())
        .unassigned_channel_data(UnassignedChannelDataPolicy::Ignore)
        .session_id(SessionIdPolicy::UseFirst);
    let sort = |e: retina::Error| sorted(&e, asked_with);
    let mut session = retina::client::Session::describe(url, options)
        .await
        .map_err(sort)?;
    let (description, numbers) = describe::tracks(session.sdp(), session.streams())?;
    let (description, numbers) = set_up(&mut session, description, numbers, way)
        .await
        .map_err(sort)?;
    let mut tracks = vec![None; session.streams().len()];
    for (track, number) in description.tracks.iter().zip(&numbers) {
        tracks[*number] = Some(track.id);
    }
    let options = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Ignore)
        .initial_seq(InitialSequenceNumberPolicy::Ignore)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::ProcessPackets);
    let playing = session.play(options).await.map_err(sort)?;
    Ok(Session {
        playing,
        description,
        tracks,
        waiting: VecDeque::new(),
        refused: 0,
    })
}

/// Sets the tracks up. Those beside the first video that the camera refuses are left out.
async fn set_up(
    session: &mut retina::client::Session<Described>,
    description: Description,
    numbers: Vec<usize>,
    way: Way,
) -> Result<(Description, Vec<usize>), retina::Error> {
    let needed = description.video().or(description.tracks.first()).map(|t| t.id);
    let mut kept = (Description::default(), Vec::new());
    for (track, number) in description.tracks.into_iter().zip(numbers) {
        let transport = match way {
            Way::Tcp => Transport::Tcp(TcpTransportOptions::default()),
            Way::Udp => Transport::Udp(UdpTransportOptions::default()),
        };
        let refused = session
            .setup(number, SetupOptions::default().transport(transport))
            .await;
        match refused {
            Err(e) if Some(track.id) == needed || e.status_code().is_none() => return Err(e),
            Err(_) => continue,
            Ok(()) => {}
        }
        let id = TrackId(u8::try_from(kept.1.len()).expect("there are at most 16 tracks"));
        kept.0.tracks.push(crate::media::Track { id, ..track });
        kept.1.push(number);
    }
    Ok(kept)
}

impl Session {
    /// What it sends.
    pub(super) fn description(&self) -> &Description {
        &self.description
    }
    /// What came; `None` when nothing has come yet.
    pub(super) fn try_next(&mut self) -> Option<Result<Item, PullError>> {
        self.next().now_or_never()
    }
    /// What comes next. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Item, PullError> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Ok(item);
            }
            let Some(came) = self.playing.next().await else {
                return Err(PullError::Ended);
            };
            match came {
                Ok(PacketItem::Rtp(packet)) => {
                    self.refused = 0;
                    if let Some(Some(track)) = self.tracks.get(packet.stream_id()) {
                        let bytes = bytes::Bytes::copy_from_slice(packet.raw());
                        return Ok(Item::Packet(*track, bytes));
                    }
                }
                Ok(PacketItem::Rtcp(packet)) => self.reports(packet.stream_id(), packet.raw()),
                Ok(_) => {}
                Err(e) => {
                    self.refused += 1;
                    let ended = is_of_the_connection(&e.to_string());
                    if ended {
                        return Err(PullError::Ended);
                    }
                    if self.refused > MAX_REFUSED {
                        return Err(PullError::Dialogue);
                    }
                }
            }
        }
    }
    fn reports(&mut self, stream: usize, packet: &[u8]) {
        let Some(Some(track)) = self.tracks.get(stream).copied() else {
            return;
        };
        for report in rtcp::parse(packet).unwrap_or_default() {
            if let Rtcp::SenderReport { ntp, rtp_time, .. } = report
                && ntp != NtpTime(0)
            {
                self.waiting.push_back(Item::Report(track, ntp, rtp_time));
            }
        }
    }
}

/// How an error of retina's begins that has lost the connection.
const LOST: [&str; 3] = [
    "Error reading from RTSP peer",
    "Error writing to RTSP peer",
    "Error receiving UDP packet",
];

fn is_of_the_connection(text: &str) -> bool {
    LOST.iter().any(|lost| text.starts_with(lost))
}

/// What an error of retina's means. It tells no kinds of errors, so its status or its first words must do.
fn sorted(error: &retina::Error, asked_with_credentials: bool) -> PullError {
    match error.status_code() {
        Some(401 | 403) if !asked_with_credentials => return PullError::NeedsCredentials,
        Some(401 | 403) => return PullError::Credentials,
        Some(404) => return PullError::NotFound,
        Some(461) => return PullError::Transport,
        Some(status @ 300..) => return PullError::Status(status),
        _ => {}
    }
    let text = error.to_string();
    if text.starts_with("Unable to connect") {
        PullError::Unreachable
    } else if is_of_the_connection(&text) {
        PullError::Ended
    } else {
        PullError::Dialogue
    }
}
