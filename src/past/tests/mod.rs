//! Lines, files and days together.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::files::pieces;
use super::*;
use crate::privacy::Options;

mod lines_and_days;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const SEGMENT: &str = "203.0.113.7 - - [10/Oct/2025:13:55:36 +0200] \"GET /hls/cam-17.ts?token=secret HTTP/1.1\" 200 \
                       188000 \"https://example.org/?q=1\" \"Mozilla/5.0 \\\"x\\\" Firefox/128.0\"";
const LISTENER: &str = "2001:db8::7 - bob [10/Oct/2025:13:55:36 +0000] \"GET /radio.mp3 HTTP/1.1\" 200 7208144 \"-\" \
                        \"VLC/3.0.20 LibVLC/3.0.20\" 452";
const CREATED: &str = "2025/10/10 13:55:36 INF [RTSP] [session 1a2b3c4d] created by 203.0.113.7:51234";
const READS: &str = "2025/10/10 13:55:37 INF [RTSP] [session 1a2b3c4d] is reading from path 'front/door', with UDP, 1 track (H264)";
const ENDS: &str =
    "2025/10/10 14:05:37 INF [RTSP] [session 1a2b3c4d] destroyed: torn down by 203.0.113.7:51234";
const OWNCAST: &str = "{\"userAgent\":\"{Firefox/128\\\"\",\"ipAddress\":\"203.0.113.7\",\
                       \"firstSeen\":\"2025-10-10T13:55:36.5Z\",\"geo\":{\"countryCode\":\"FR\"}}";

fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

fn reader(format: Format) -> Reader {
    Reader::new(format, TimeZone::UTC)
}

fn watched(line: Line) -> Option<Record> {
    match line {
        Line::Watched(record) => Some(record),
        _ => None,
    }
}

fn is_broken(format: Format, line: &str) -> bool {
    matches!(reader(format).line(line), Line::Broken)
}

#[test]
fn a_request_for_media_is_a_record_without_its_query() {
    let record = watched(reader(Format::Requests).line(SEGMENT)).unwrap();
    let at = second("2025-10-10T11:55:36Z");
    assert_eq!(
        (record.path.as_str(), record.span()),
        ("/hls/cam-17.ts", (at, at))
    );
    assert_eq!(record.carrier.protocol(), "hls");
    assert_eq!(record.agent, "Mozilla/5.0 \\\"x\\\" Firefox/128.0");
}

#[test]
fn what_names_may_hold_does_not_confuse_a_request() {
    let line = |user: &str, host: &str| {
        format!("{host}203.0.113.7 - {user} [10/Oct/2025:13:55:36 +0000] \"GET /cam.mjpeg HTTP/1.1\" 200 5")
    };
    for user in ["-", "bob", "b [o] b", "203.0.113.9", "[10/Oct/2025] \"GET"] {
        for host in ["", "www.example.org:443 "] {
            assert!(
                watched(reader(Format::Requests).line(&line(user, host))).is_some(),
                "{user} {host}"
            );
        }
    }
}

#[test]
fn other_requests_tell_of_nobody_who_watched_and_other_lines_are_broken() {
    let change = |from: &str, to: &str| SEGMENT.replace(from, to);
    for other in [
        change("GET", "POST"),
        change("cam-17.ts", "cam.m3u8"),
        change("cam-17.ts", "init.mp4"),
        change(" 200 ", " 404 "),
        change(" 188000 ", " 0 "),
        change(" 188000 ", " - "),
        change("GET /hls/cam-17.ts?token=secret HTTP/1.1", "\\x16\\x03\\x01"),
        change("GET /hls/cam-17.ts?token=secret HTTP/1.1", ""),
    ] {
        assert!(
            matches!(reader(Format::Requests).line(&other), Line::Other),
            "{other}"
        );
    }
    for broken in [
        change("203.0.113.7", "viewer.example.org"),
        change("10/Oct", "10/Okt"),
        change(" 200 ", " ok "),
        "something else".to_owned(),
        CREATED.to_owned(),
        OWNCAST.to_owned(),
    ] {
        assert!(is_broken(Format::Requests, &broken), "{broken}");
    }
    assert!(
        matches!(reader(Format::Requests).line("  "), Line::Other),
        "nothing is not wrong"
    );
}

#[test]
fn a_listener_of_icecast_began_before_the_line() {
    let record = watched(reader(Format::Icecast).line(LISTENER)).unwrap();
    let at = second("2025-10-10T13:55:36Z");
    assert_eq!(record.span(), (at - 452, at));
    for nobody in [
        LISTENER.replace(" 452", " 0"),
        LISTENER.replace(" 452", " 9999999"),
        LISTENER.replace(" 452", " -5"),
        LISTENER.replace("/radio.mp3", "/admin/stats"),
        LISTENER.replace("GET", "SOURCE"),
    ] {
        assert!(
            matches!(reader(Format::Icecast).line(&nobody), Line::Other),
            "{nobody}"
        );
    }
    assert!(is_broken(Format::Icecast, SEGMENT), "no seconds");
}

#[test]
fn a_session_of_mediamtx_is_three_lines_among_others() {
    let mut reader = reader(Format::MediaMtx);
    let other = CREATED
        .replace("1a2b3c4d", "99999999")
        .replace("203.0.113.7", "[2001:db8::7]");
    let journal = format!("Oct 10 13:55:37 host mediamtx[77]: {READS}");
    for line in [
        "2025/10/10 13:55:36 INF MediaMTX v1.20.1",
        "2025/10/10 13:55:36 INF [path cam] [RTSP source] ready: 1 track (H264)",
        "2025/10/10 13:55:36 INF [RTSP] [conn 203.0.113.7:51234] opened",
        CREATED,
        &other,
        &journal,
    ] {
        assert!(matches!(reader.line(line), Line::Other), "{line}");
    }
    assert_eq!(reader.unfinished(), 1);
    let record = watched(reader.line(ENDS)).unwrap();
    let from = second("2025-10-10T13:55:37Z");
    assert_eq!(
        (record.path.as_str(), record.span()),
        ("front/door", (from, from + 600))
    );
    assert_eq!(
        (record.carrier.protocol(), record.carrier.transport()),
        ("rtsp", "udp")
    );
    assert_eq!(reader.unfinished(), 0, "who only connected watched nothing");
    assert!(watched(reader.line(ENDS)).is_none(), "it ended already");
    assert!(matches!(reader.line("mediamtx has crashed"), Line::Broken));
}

#[test]
fn connections_and_json_of_mediamtx_are_read_too() {
    let mut reader = reader(Format::MediaMtx);
    let line = |second: u32, text: &str| {
        format!(
            "{{\"timestamp\":\"2025-10-10T15:55:{second}.123456+02:00\",\"level\":\"INF\",\"message\":\"[RTMP] \
             [conn [2001:db8::7]:1935] {text}\"}}"
        )
    };
    assert!(watched(reader.line(&line(10, "opened"))).is_none());
    assert!(watched(reader.line(&line(11, "is reading from path 'cam', 2 tracks (H264, AAC)"))).is_none());
    let record = watched(reader.line(&line(31, "closed: EOF"))).unwrap();
    let from = second("2025-10-10T13:55:11Z");
    assert_eq!(
        (record.carrier.protocol(), record.span()),
        ("rtmp", (from, from + 20))
    );
    let muxer = READS
        .replace("RTSP", "HLS")
        .replace("path 'front/door', with UDP, 1 track (H264)", "muxer 'cam'");
    reader.line(&CREATED.replace("RTSP", "HLS"));
    reader.line(&muxer);
    let record = watched(reader.line(&ENDS.replace("RTSP", "HLS").replace("destroyed", "closed"))).unwrap();
    assert_eq!((record.path.as_str(), record.carrier.protocol()), ("cam", "hls"));
}

#[test]
fn a_viewer_of_owncast_is_an_object() {
    let record = watched(reader(Format::Owncast).line(OWNCAST)).unwrap();
    let at = second("2025-10-10T13:55:36Z");
    assert_eq!(
        (record.agent.as_str(), record.span()),
        ("{Firefox/128\"", (at, at))
    );
    assert!(is_broken(
        Format::Owncast,
        "{\"firstSeen\":\"2025-10-10T13:55:36Z\"}"
    ));
    assert!(is_broken(Format::Owncast, SEGMENT));
}

#[test]
fn a_line_that_ends_anywhere_is_read_rightly_or_not_at_all() {
    let whole = [
        (Format::Requests, SEGMENT),
        (Format::Icecast, LISTENER),
        (Format::Owncast, OWNCAST),
    ];
    for (format, line) in whole {
        let expected = watched(reader(format).line(line)).unwrap();
        for cut in 0..line.len() {
            for part in [&line[..cut], &line[cut..]] {
                if let Some(record) = watched(reader(format).line(part)) {
                    assert_eq!(record.path, expected.path, "{part}");
                    assert!(record.to == expected.to && record.from >= expected.from, "{part}");
                }
            }
        }
    }
    let lines = [CREATED, READS, ENDS];
    let expected = watched(three(&lines)).unwrap();
    for (n, line) in lines.iter().enumerate() {
        for cut in 0..line.len() {
            let mut cut_lines = lines;
            cut_lines[n] = &line[..cut];
            if let Some(record) = watched(three(&cut_lines)) {
                assert_eq!(record.path, expected.path, "{cut_lines:?}");
                assert_eq!(record.span(), expected.span(), "{cut_lines:?}");
            }
        }
    }
}

fn three(lines: &[&str; 3]) -> Line {
    let mut reader = reader(Format::MediaMtx);
    reader.line(lines[0]);
    reader.line(lines[1]);
    reader.line(lines[2])
}

#[test]
fn pieces_are_the_same_however_a_file_is_read() {
    let lines = format!("{SEGMENT}\r\n\n{LISTENER}\nlast");
    let objects = format!("[{OWNCAST},\n {{}}, \"}}\", {{\"a\":[{{}}, 1]}}] {OWNCAST}");
    let some = |texts: &[&str]| texts.iter().map(|t| Some((*t).to_owned())).collect::<Vec<_>>();
    for at_a_time in 1..70 {
        let read = pieces(lines.as_bytes(), Format::Requests, at_a_time);
        assert_eq!(read, some(&[SEGMENT, "", LISTENER, "last"]), "{at_a_time}");
        let read = pieces(objects.as_bytes(), Format::Owncast, at_a_time);
        assert_eq!(
            read,
            some(&[OWNCAST, "{}", "{\"a\":[{}, 1]}", OWNCAST]),
            "{at_a_time}"
        );
    }
}

#[test]
fn a_line_of_any_length_takes_no_more_memory_than_a_long_one() {
    let long = "x".repeat(1 << 20);
    let read = pieces(format!("a\n{long}\nb").as_bytes(), Format::Requests, 4096);
    assert_eq!(read, [Some("a".to_owned()), None, Some("b".to_owned())]);
    let nested = "{".repeat(1 << 18);
    assert_eq!(pieces(nested.as_bytes(), Format::Owncast, 4096), [None]);
}

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, bytes).unwrap();
    (dir, file)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_packed_file_is_read_like_a_plain_one_and_a_damaged_one_is_told() {
    let text = format!("{SEGMENT}\n").repeat(1000);
    let mut packed = gzip(text.as_bytes());
    packed.extend(gzip(text.as_bytes())); // rotated files are appended to one another
    let (_dir, path) = file("access.log.gz", &packed);
    let count = |path: &std::path::Path| {
        let mut log = Log::open(path, Format::Requests)?;
        let mut n = 0;
        while let Some(piece) = log.next_piece()? {
            assert_eq!(piece.text, Some(SEGMENT));
            n = piece.number;
        }
        Ok::<_, LogError>(n)
    };
    assert_eq!(count(&path).unwrap(), 2000);
    let (_dir, cut) = file("cut.gz", &packed[..packed.len() / 2 - 20]);
    assert!(matches!(count(&cut), Err(LogError::Packed(_))));
    let (dir, gone) = file("gone", b"");
    std::fs::remove_file(&gone).unwrap();
    assert!(matches!(count(&gone), Err(LogError::Read(..))));
    assert!(matches!(count(dir.path()), Err(LogError::NoFile(_))));
}

#[test]
fn a_mark_tells_files_apart_and_has_room_for_very_many_others() {
    let (_a, first) = file("a", b"203.0.113.7\n");
    let (_b, second) = file("b", b"203.0.113.8\n");
    let of = |files: &[&PathBuf], key: u8| {
        let files: Vec<PathBuf> = files.iter().map(|f| (*f).clone()).collect();
        mark(&files, &[key; 32]).unwrap()
    };
    assert_eq!(of(&[&first], 1), of(&[&first], 1));
    assert_ne!(of(&[&first], 1), of(&[&second], 1));
    assert_ne!(of(&[&first], 1), of(&[&first], 2), "nobody else can make it");
    assert_ne!(of(&[&first, &second], 1), of(&[&second, &first], 1));
    assert!(of(&[&first], 1).starts_with("c-") && of(&[&first], 1).len() == 8);
}

#[test]
fn where_a_file_begins_is_found() {
    let (_dir, path) = file("log", format!("rubbish\n{SEGMENT}\n").as_bytes());
    let at = second("2025-10-10T11:55:36Z");
    assert_eq!(begins(&path, Format::Requests, &TimeZone::UTC).unwrap(), Some(at));
    assert_eq!(begins(&path, Format::Icecast, &TimeZone::UTC).unwrap(), None);
}

const NOW: &str = "2025-11-20T12:00:00Z";

fn settings(format: Format) -> Settings {
    Settings {
        format,
        privacy: Options::default(),
        paths: vec!["cam".into(), "front".into(), "front/door".into()],
        sensitive: vec!["ward".into()],
        now: at(NOW),
        oldest: Date::constant(2023, 10, 20),
    }
}

fn at(text: &str) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(second(text)).unwrap())
}

/// A record of a viewer; times are RFC 3339.
fn record(host: u8, path: &str, from: &str, seconds: i64) -> Record {
    Record {
        peer: lines::peer(&format!("203.0.113.{host}")).unwrap(),
        agent: FIREFOX.to_owned(),
        objects: false,
        path: path.to_owned(),
        carrier: Carrier::Hls,
        from: second(from),
        to: second(from) + seconds,
    }
}

/// All days of these records.
fn days(settings: Settings, records: Vec<Record>) -> (Vec<Day>, Told) {
    let mut days = Days::new(settings);
    let mut done: Vec<Day> = records.into_iter().flat_map(|record| days.add(record)).collect();
    done.extend(std::iter::from_fn(|| days.finish_oldest()));
    (done, days.told())
}

#[test]
fn requests_within_a_minute_are_one_session_and_two_players_are_two() {
    let at = |second: u32| format!("2025-10-10T12:{:02}:{:02}Z", second / 60, second % 60);
    let mut records = Vec::new();
    for n in 0..30 {
        records.push(record(1, "/hls/cam-1.ts", &at(n * 4), 0));
        records.push(record(2, "/hls/cam-1.ts", &at(n * 4), 0));
    }
    records.push(record(1, "/hls/cam-1.ts", &at(116 + 61), 0));
    let (done, told) = days(settings(Format::Requests), records);
    assert_eq!((done.len(), told.sessions, told.records), (1, 3, 61));
    let [long, other, again] = &done[0].began[..] else {
        panic!("three sessions");
    };
    assert_eq!((long.to - long.from, &*long.path), (116, "cam"));
    assert!(long.viewer != other.viewer && (again.viewer == long.viewer || again.viewer == other.viewer));
}

#[test]
fn each_record_of_a_session_is_one() {
    let records = vec![
        record(1, "cam", "2025-10-10T12:00:00Z", 100),
        record(1, "cam", "2025-10-10T12:01:00Z", 100),
    ];
    let (done, told) = days(settings(Format::MediaMtx), records);
    assert_eq!((done[0].began.len(), told.sessions), (2, 2));
}

#[test]
fn only_names_that_were_given_are_kept() {
    let name = |asked: &str| {
        let (done, _) = days(
            settings(Format::MediaMtx),
            vec![record(1, asked, "2025-10-10T12:00:00Z", 5)],
        );
        done.first().map(|day| day.began[0].path.to_string())
    };
    for (asked, kept) in [
        ("/cam", "cam"),
        ("/live/cam/index.ts", "cam"),
        ("/hls/cam-17.ts", "cam"),
        ("/hls/cam_17.ts", "cam"),
        ("cam.mp3", "cam"),
        ("front/door", "front/door"),
        ("/x/front/door/7.m4s", "front/door"),
        ("front/garden", "front"),
        ("/webcam", "(other)"),
        ("/HLS/Cam-17.ts", "cam"),
        ("/hls/c%61m-17.ts", "cam"),
        ("/front%2Fdoor/7.m4s", "front/door"),
        ("/cameras/1.ts", "(other)"),
        ("/cam-bob.ts", "(other)"),
        ("/private/203.0.113.9/bob@example.org.ts", "(other)"),
        ("\u{1b}[31mcam", "(other)"),
        ("", "(other)"),
    ] {
        assert_eq!(name(asked).as_deref(), Some(kept), "{asked}");
    }
    assert_eq!(name("/ward"), None);
    for ward in ["/hls/ward-3.ts", "/hls/w%61rd-3.ts", "/HLS/WARD-3.TS"] {
        assert_eq!(name(ward), None, "of a sensitive path nobody is counted: {ward}");
    }
}

#[test]
fn a_session_of_days_is_in_each_of_them() {
    let records = vec![
        record(1, "cam", "2025-10-10T23:50:00Z", 26 * 3_600),
        record(2, "cam", "2025-10-12T12:00:00Z", 5),
    ];
    let (done, told) = days(settings(Format::Icecast), records);
    let seen: Vec<_> = done
        .iter()
        .map(|day| (day.date.day(), day.began.len(), day.went_on.len()))
        .collect();
    assert_eq!(seen, [(10, 1, 0), (11, 0, 1), (12, 1, 1)]);
    assert_eq!(told.sessions, 2);
}

#[test]
fn a_viewer_is_somebody_else_after_midnight() {
    let records = vec![
        record(1, "cam", "2025-10-10T23:59:50Z", 0),
        record(1, "cam", "2025-10-11T00:00:05Z", 0),
        record(1, "cam", "2025-10-10T23:59:58Z", 0), // as it was written, a little late
    ];
    let (done, told) = days(settings(Format::Requests), records);
    assert_eq!((done.len(), told.sessions), (2, 2));
    assert!(done[0].began[0].viewer != done[1].began[0].viewer);
}

#[test]
fn what_is_not_of_the_past_or_too_far_in_it_is_left_out() {
    let mut own = record(1, "cam", "2025-10-13T12:00:00Z", 0);
    own.from = -5;
    let mut objects = record(1, "cam", "2025-10-13T12:00:00Z", 0);
    objects.agent = "VLC nostats".to_owned();
    let mut recorder = record(1, "cam", "2025-10-13T12:00:00Z", 0);
    recorder.agent = "Frigate/0.14".to_owned();
    let records = vec![
        record(1, "cam", "2025-10-10T12:00:00Z", 0),
        record(1, "cam", "2025-10-11T12:00:00Z", 0),
        record(1, "cam", "2025-10-12T12:00:00Z", 0),
        record(1, "cam", "2025-10-10T12:00:00Z", 0), // done by the third day
        record(1, "cam", "2025-11-20T01:00:00Z", 0), // today
        record(1, "cam", "2999-01-01T00:00:00Z", 0),
        own,
        record(1, "cam", "2022-01-01T00:00:00Z", 0),
        record(1, "ward", "2025-10-13T12:00:00Z", 0),
        objects,
        recorder,
    ];
    let (_, told) = days(settings(Format::Requests), records);
    let expected = Told {
        records: 11,
        sessions: 3,
        machines: 1,
        days: 4,
        too_late: 2, // of 2022, too
        not_over: 3,
        too_old: 0,
        objected: 1,
        sensitive: 1,
        too_many: 0,
    };
    assert_eq!(told, expected);
    let old = vec![record(1, "cam", "2022-01-01T00:00:00Z", 0)];
    assert_eq!(days(settings(Format::Requests), old).1.too_old, 1);
}
