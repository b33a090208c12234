//! What scripted cameras send: a clip with identifiable pictures, packet by packet, and the hiss of a
//! telephone.

use std::process::Command;
use std::sync::OnceLock;

use bytes::Bytes;
use louver::base::time::MediaTime;
use louver::base::time::Rate;
use louver::media::AccessUnit;
use louver::media::Description;
use louver::media::TrackId;
use louver::proto::rtp::Packetizer;
use louver::proto::sdp;

use crate::clips;
use crate::clips::Clip;

/// Pictures per second as the time stamps say; they are sent faster.
pub const FPS: u32 = 25;

/// Pictures of a clip as Annex B access units.
pub struct Pictures {
    pub clip: &'static Clip,
    pub units: Vec<Bytes>,
    codec: &'static str,
}

impl Pictures {
    pub fn of(codec: &str) -> &'static Self {
        static H264: OnceLock<Pictures> = OnceLock::new();
        static H265: OnceLock<Pictures> = OnceLock::new();
        match codec {
            "h264" => H264.get_or_init(|| Self::new(clips::h264(), "h264")),
            "h265" => H265.get_or_init(|| Self::new(clips::h265(), "h265")),
            other => panic!("no clip for {other}"),
        }
    }
    fn new(clip: &'static Clip, codec: &'static str) -> Self {
        let format = if codec == "h264" { "h264" } else { "hevc" };
        // An access unit delimiter before each picture tells where it begins.
        let filter = format!("{codec}_metadata=aud=insert").replace("h265", "hevc");
        let out = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-i"])
            .arg(&clip.path)
            .args(["-c", "copy", "-bsf:v"])
            .arg(format!("{format}_mp4toannexb,{filter}"))
            .args(["-f", format, "-"])
            .output()
            .expect("ffmpeg is installed");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let delimiter: &[u8] = if codec == "h264" {
            &[0, 0, 0, 1, 9]
        } else {
            &[0, 0, 0, 1, 0x46]
        };
        let starts: Vec<usize> = (out.stdout.windows(delimiter.len()).enumerate())
            .filter(|(_, w)| *w == delimiter)
            .map(|(at, _)| at)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([out.stdout.len()]);
        let units: Vec<Bytes> = (starts.iter().zip(ends))
            .map(|(start, end)| Bytes::copy_from_slice(&out.stdout[*start..end]))
            .collect();
        assert_eq!(units.len(), clip.pictures.len());
        Self { clip, units, codec }
    }
    fn is_keyframe(&self, n: usize) -> bool {
        n.is_multiple_of(25)
    }
    /// The parameter of `a=fmtp` with the parameter sets of the clip.
    pub fn sprop(&self) -> String {
        let track = |fmtp: &str| format!("{fmtp}{}", self.sets().join(","));
        match self.codec {
            "h264" => track("sprop-parameter-sets="),
            _ => {
                let sets = self.sets();
                format!(
                    "sprop-vps={}; sprop-sps={}; sprop-pps={}",
                    sets[0], sets[1], sets[2]
                )
            }
        }
    }
    fn sets(&self) -> Vec<String> {
        use base64::Engine;
        let nals = louver::proto::bits::nal_units(&self.units[0]);
        let is_set = |nal: &&[u8]| match self.codec {
            "h264" => matches!(nal[0] & 0x1f, 7 | 8),
            _ => matches!(nal[0] >> 1 & 0x3f, 32..=34),
        };
        nals.filter(is_set)
            .map(|nal| base64::engine::general_purpose::STANDARD.encode(nal))
            .collect()
    }
}

/// One track on its way to a client.
pub struct Sender {
    packetizer: Packetizer,
    rate: Rate,
    video: Option<&'static Pictures>,
    /// What its time stamps begin with.
    origin: u32,
}

impl Sender {
    /// `codec`: `h264`, `h265` or `pcma`.
    pub fn new(codec: &str, payload_type: u8, ssrc: u32, first_sequence: u16, origin: u32) -> Self {
        let description = described(codec, payload_type);
        let track = &description.tracks[0];
        Self {
            packetizer: Packetizer::new(track, ssrc, first_sequence, 1_400).unwrap(),
            rate: track.rate,
            video: (codec != "pcma").then(|| Pictures::of(codec)),
            origin,
        }
    }
    /// Moves its time stamps.
    pub fn jump(&mut self, ticks: u32) {
        self.origin = self.origin.wrapping_add(ticks);
    }
    /// The time stamp of picture `n`.
    pub fn time(&self, n: usize) -> u32 {
        self.origin.wrapping_add(n as u32 * (self.rate.hz() / FPS))
    }
    /// The packets of picture `n`, or of the sound that belongs to it.
    pub fn packets(&mut self, n: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let data = match self.video {
            Some(pictures) => pictures.units[n % pictures.units.len()].clone(),
            None => Bytes::from_static(&[0xd5; 320]),
        };
        let unit = AccessUnit {
            track: TrackId(0),
            pts: MediaTime::new(self.time(n).into(), self.rate),
            keyframe: self.video.is_some_and(|p| p.is_keyframe(n)),
            data,
        };
        self.packetizer.packetize(&unit, &mut out);
        out
    }
}

fn described(codec: &str, pt: u8) -> Description {
    let (kind, name) = match codec {
        "pcma" => ("audio", "PCMA/8000"),
        "h265" => ("video", "H265/90000"),
        _ => ("video", "H264/90000"),
    };
    let text = format!("m={kind} 0 RTP/AVP {pt}\na=rtpmap:{pt} {name}\n");
    sdp::parse(text.as_bytes()).unwrap().0
}
