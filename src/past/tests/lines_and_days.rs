//! Who is meant by a line, who objected in it, and lines and files that are not in order.

use super::*;

/// What became of these lines.
fn told_of(format: Format, lines: &[String]) -> (Vec<Day>, Told) {
    let mut reader = reader(format);
    let records = lines.iter().filter_map(|line| watched(reader.line(line)));
    days(settings(format), records.collect())
}

#[test]
fn who_objected_by_the_address_of_the_stream_is_not_counted() {
    let line = |target: &str| SEGMENT.replace("/hls/cam-17.ts?token=secret", target);
    for target in [
        "/hls/cam-17.ts?stats=off",
        "/hls/cam-17.ts?a=b&stats=OFF&c",
        "/hls/cam-17.ts?stats=%6Fff",
        "/live/nostats/cam/stream.mjpeg",
        "/nostats/cam-17.ts",
        "/NoStats/cam-17.ts",
    ] {
        let (_, told) = told_of(Format::Requests, &[line(target)]);
        assert_eq!((told.objected, told.sessions), (1, 0), "{target}");
    }
    for target in [
        "/hls/cam-17.ts?stats=on",
        "/hls/cam-17.ts?nostats=off",
        "/hls/nostats-17.ts",
    ] {
        let (_, told) = told_of(Format::Requests, &[line(target)]);
        assert_eq!((told.objected, told.sessions), (0, 1), "{target}");
    }
    let reads = READS.replace("front/door", "nostats/front/door");
    let (_, told) = told_of(Format::MediaMtx, &[CREATED.to_owned(), reads, ENDS.to_owned()]);
    assert_eq!((told.objected, told.sessions), (1, 0));
}

#[test]
fn the_viewer_is_neither_the_host_nor_a_proxy_that_stands_beside() {
    let viewers = |a: &str, b: &str| {
        let lines = [a, b].map(|who| SEGMENT.replace("203.0.113.7 -", who));
        let (done, _) = told_of(Format::Requests, &lines);
        done[0].began.len()
    };
    for (a, b) in [
        ("192.0.2.1:443 203.0.113.7 -", "192.0.2.1:443 203.0.113.8 -"),
        (
            "[2001:db8::1]:443 203.0.113.7 -",
            "[2001:db8::1]:443 203.0.113.8 -",
        ),
        ("203.0.113.7, 10.0.0.1 -", "203.0.113.8, 10.0.0.1 -"),
    ] {
        assert_eq!((viewers(a, b), viewers(a, a)), (2, 1), "{a}");
    }
}

#[test]
fn files_are_in_the_order_in_which_they_were_written() {
    let when = |text: &str, format| {
        let (_dir, path) = file("log", text.as_bytes());
        begins(&path, format, &TimeZone::UTC).unwrap()
    };
    let at = second("2025-10-10T13:55:36Z");
    let long = LISTENER.replace(" 452", " 600000");
    assert_eq!(
        when(&long, Format::Icecast),
        Some(at),
        "not when the listener came"
    );
    let page = SEGMENT.replace("cam-17.ts", "index.html") + "\n";
    let pages = page.repeat(20_001) + &SEGMENT.replace("13:55", "14:55");
    assert_eq!(
        when(&pages, Format::Requests),
        Some(second("2025-10-10T11:55:36Z")),
        "also of a site where few watch"
    );
    let journal = format!("Oct 10 13:55:37 host mediamtx[77]: {CREATED}");
    assert_eq!(when(&journal, Format::MediaMtx), Some(at));
    let json = "{\"timestamp\":\"2025-10-10T15:55:36.5+02:00\",\"level\":\"INF\",\"message\":\"x\"}";
    assert_eq!(when(json, Format::MediaMtx), Some(at));
    assert_eq!(when(OWNCAST, Format::Owncast), Some(at));
}

#[test]
fn a_line_that_comes_late_cuts_no_session_in_two() {
    let at = |second: u32| format!("2025-10-10T12:{:02}:{:02}Z", second / 60, second % 60);
    let ends = |seconds: &[u32]| {
        let records = seconds.iter().map(|n| record(1, "cam", &at(*n), 0)).collect();
        let (done, told) = days(settings(Format::Requests), records);
        let start = second(&at(0));
        let mut spans: Vec<_> = done[0]
            .began
            .iter()
            .map(|s| (s.from - start, s.to - start))
            .collect();
        spans.sort_unstable();
        assert_eq!(told.sessions as usize, spans.len());
        spans
    };
    assert_eq!(ends(&[0, 50, 100, 300, 105, 304]), [(0, 105), (300, 304)]);
    assert_eq!(ends(&[0, 100, 50, 160]), [(0, 160)], "it joins what was apart");
}
