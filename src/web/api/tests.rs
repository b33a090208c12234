//! The shapes as golden files in `tests/golden`; `UPDATE_GOLDEN=1 cargo test` rewrites them, and git shows
//! which key moved.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use serde_json::Value;

use super::*;
use crate::analytics::query::Cell;
use crate::analytics::query::Counts;
use crate::analytics::query::Health;
use crate::analytics::query::Live;
use crate::analytics::query::Stats;
use crate::analytics::query::Staying;
use crate::analytics::query::Tier;
use crate::av::device::Coding;
use crate::av::device::Device;
use crate::av::device::FrameRate;
use crate::av::device::Holder;
use crate::av::device::Identity;
use crate::av::device::Mode;
use crate::av::formats;
use crate::av::formats::Formats;
use crate::base::time::Rate;
use crate::hub::Figures;
use crate::hub::PathName;
use crate::media::Codec;
use crate::media::MediaKind;
use crate::media::TrackId;

#[track_caller]
fn golden(name: &str, value: &impl Serialize) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let version = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
    let got = serde_json::to_string_pretty(value)
        .unwrap()
        .replace(&version, "\"VERSION\"")
        + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &got).unwrap();
    }
    let want = fs::read_to_string(&file).unwrap_or_default();
    assert!(want == got, "{name} differs\n--- want\n{want}\n--- got\n{got}");
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn counts(sessions: u64) -> Counts {
    Counts {
        sessions,
        viewer_days: sessions - 1,
        watch_seconds: sessions * 60,
        peak_concurrent: 3,
        views: sessions / 2,
    }
}

fn cell<K>(key: K, counts: Option<Counts>) -> Cell<K> {
    Cell { key, counts }
}

pub(super) fn stats(zone: TimeZone) -> Stats {
    Stats {
        from: time("2026-03-01T00:00:00Z"),
        to: time("2026-03-02T12:00:00Z"),
        time_zone: zone,
        k: 5,
        tier: Tier::Console,
        total: counts(12),
        live: Live {
            sessions: 2,
            machines: 1,
            by_path: vec![("webcam".into(), 2)],
        },
        by_path: vec![cell("webcam".into(), Some(counts(9))), cell("yard".into(), None)],
        by_protocol: vec![cell("rtsp".into(), Some(counts(12)))],
        by_transport: vec![cell("tcp".into(), Some(counts(12)))],
        by_client: vec![cell("VLC".into(), None)],
        by_country: Vec::new(),
        by_length: vec![cell(0, None), cell(3, Some(counts(7))), cell(9, Some(counts(5)))],
        staying: vec![Staying {
            seconds: 30,
            per_thousand: 750,
        }],
        by_day: vec![cell("2026-03-01".parse().unwrap(), Some(counts(12)))],
        by_hour: vec![cell(time("2026-03-01T23:00:00Z"), Some(counts(12)))],
        by_weekday_hour: vec![cell((0, 13), Some(counts(60))), cell((6, 23), None)],
        machines: Counts::default(),
        health: Health {
            attempts: 2,
            startup_ms: Some([40, 120]),
            loss_per_million: None,
            jumped_per_thousand: Some(25),
            online_seconds: 86_400,
        },
        store_is_failing: false,
        restarts: 1,
    }
}

#[test]
fn statistics_have_all_keys_and_absent_breakdowns_are_empty_lists() {
    golden("stats.json", &StatsJson::from(&stats(TimeZone::UTC)));
}

#[test]
fn times_carry_the_offset_of_the_zone_in_which_days_begin() {
    let json: Value =
        serde_json::to_value(StatsJson::from(&stats(TimeZone::get("Asia/Kolkata").unwrap()))).unwrap();
    assert_eq!(json["from"], "2026-03-01T05:30:00+05:30");
    assert_eq!(json["by_hour"][0]["hour"], "2026-03-02T04:30:00+05:30");
    assert_eq!(json["time_zone"], "Asia/Kolkata");
}

#[test]
fn a_list_of_paths_has_all_keys() {
    let track = Track {
        id: TrackId(0),
        kind: MediaKind::Audio,
        codec: Codec::Opus,
        payload_type: 97,
        rate: Rate::new(48_000).unwrap(),
        encoding: "opus".into(),
        channels: Some(2),
        fmtp: None,
    };
    let path = PathSnapshot {
        name: PathName::parse("floor/2").unwrap(),
        state: PathState::Ready,
        source: "publisher".into(),
        tracks: vec![track],
        readers: 3,
        last_error: Some("the publisher went away".into()),
        next_attempt: Some(UNIX_EPOCH + Duration::from_secs(1_800_000_009)),
        since: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        bytes_in: 1 << 40,
        quality: Some(Quality::Of(Figures {
            reports: 12,
            loss_percent: 1.5,
            jitter_ms: 0.25,
        })),
    };
    let idle = PathSnapshot {
        state: PathState::Offline,
        tracks: Vec::new(),
        last_error: None,
        next_attempt: None,
        quality: None,
        ..path.clone()
    };
    let few = PathSnapshot {
        quality: Some(Quality::BelowK),
        ..idle.clone()
    };
    golden(
        "paths.json",
        &PathsJson::new(&[path, idle.clone(), few], Some(8554), "cam.example"),
    );
    let without_rtsp = serde_json::to_value(PathsJson::new(&[idle], None, "localhost")).unwrap();
    assert_eq!(without_rtsp["items"][0]["urls"]["rtsp"], Value::Null);
}

#[test]
fn a_problem_has_the_keys_of_its_standard() {
    golden("problem.json", &ProblemJson::from(&Problem::no_such_path()));
}

#[test]
fn devices_and_formats_have_all_keys() {
    let device = Device {
        node: "/dev/video0".into(),
        name: "HD Camera".into(),
        driver: "uvcvideo".into(),
        identity: Identity {
            product: "05c8:03ea".into(),
            serial: "200901010001".into(),
            interface: "00".into(),
            bus: "usb-0000:00:14.0-1".into(),
            name: "HD Camera".into(),
        },
        modes: vec![Mode {
            coding: Coding::Jpeg,
            fourcc: "MJPG".into(),
            width: 1280,
            height: 720,
            rate: FrameRate::new(30_000, 1001).unwrap(),
        }],
        holders: vec![Holder {
            pid: 4711,
            process: "cheese".into(),
        }],
        refused: Some(13),
    };
    golden("devices.json", &ListJson::whole(vec![DeviceJson::from(&device)]));
    golden("formats.json", &FormatsJson::from(&few_formats()));
}

fn few_formats() -> Formats {
    let named = |name: &str| formats::Described {
        name: name.into(),
        description: "about it".into(),
    };
    Formats {
        ffmpeg: "FFmpeg 0.0".into(),
        licence: "LGPL version 2.1 or later".into(),
        relayed: vec![formats::Relayed {
            codec: "H.264".into(),
            rtsp: true,
            mpegts: true,
            pictures: true,
        }],
        codecs: vec![formats::NamedCodec {
            name: "h264".into(),
            description: "about it".into(),
            kind: "video",
            decodes: true,
            encodes: false,
        }],
        containers: vec![formats::Container {
            name: "matroska".into(),
            description: "about it".into(),
            reads: true,
            writes: true,
        }],
        protocols: vec![formats::Protocol {
            name: "tcp".into(),
            reads: true,
            writes: true,
        }],
        devices: vec![named("v4l2")],
        h264_encoder: Ok("libx264".into()),
    }
}
