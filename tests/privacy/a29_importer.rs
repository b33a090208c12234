//! A29: an importer that is fed poison. Lines are made to carry addresses, names and commands to a terminal into whatever is
//! kept, to stand for other lines, to come from the future, or to take all memory. Only counts may come out.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use louver::analytics;
use louver::analytics::Mode;
use louver::analytics::Store;
use louver::analytics::past::Import;
use louver::analytics::past::Imported;
use louver::past::Day;
use louver::past::Days;
use louver::past::Format;
use louver::past::Line;
use louver::past::Log;
use louver::past::Reader;
use louver::past::Settings;
use louver::past::Told;
use louver::privacy::Options;
use louver::scan;
use tempfile::TempDir;

use crate::rig::NOON;
use crate::rig::at;

/// Texts that may be in no file afterwards.
const POISON: [&str; 8] = [
    "8.8.4.4",
    "2606:4700:1:2:3:4:5:6",
    "carol.canary@mail.test",
    "CANARYTOKEN",
    "u:canarypass@8.8.4.4",
    "\u{1b}]0;canary-title\u{7}\u{1b}[31m",
    "'; DROP TABLE leaves; --canary",
    "canary\u{0}\u{202e}yranac",
];

/// A log of this format in which each poison stands wherever a client can put something.
fn log(format: Format) -> Vec<u8> {
    let mut log = Vec::new();
    for (n, poison) in POISON.iter().enumerate() {
        let escaped = poison.replace('"', "\\\"");
        let host = format!("8.8.{n}.7");
        let (day, minute) = (10 + n / 4, n * 5);
        let text = match format {
            Format::Requests | Format::Icecast => format!(
                "{host} {escaped} {escaped} [{day}/Nov/2026:12:{minute:02}:00 +0000] \
                 \"GET /{escaped}/cam.ts?{escaped} HTTP/1.1\" 200 77 \"{escaped}\" \"{escaped}\" 30\n"
            ),
            Format::MediaMtx => {
                let line = |second: u32, told: &str| {
                    format!(
                        "2026/11/{day} 12:{minute:02}:{second:02} INF [RTSP] [session 1a2b3c{n:02}] {told}\n"
                    )
                };
                let begins = line(0, &format!("created by {host}:5000"));
                let reads = line(1, &format!("is reading from path '{poison}', with TCP, {poison}"));
                begins + &reads + &line(31, &format!("destroyed: {poison}"))
            }
            Format::Owncast => {
                let moment = |minute: usize| format!("2026-11-{day}T12:{minute:02}:00Z");
                let object = serde_json::json!({
                    "ipAddress": host, "userAgent": poison, "clientID": poison, "geo": { "city": poison },
                    "firstSeen": moment(minute), "lastSeen": moment(minute + 1),
                });
                format!("{object}\n")
            }
        };
        log.extend(text.as_bytes());
        // A line in a line, half of one, bytes that are no text, a line from the future, one that has no end.
        log.extend(format!("{poison}\n{}\n", text.trim_end().split_at(20).1).as_bytes());
        log.extend(b"\xff\xfe\x00 8.8.4.4 \xf0\x28\n");
        log.extend(text.replace("2026", "2926").as_bytes());
        log.extend(text.replace("2026", "99999").as_bytes());
    }
    log.extend(POISON[0].repeat(40_000).as_bytes());
    log.push(b'\n');
    log
}

/// Everything between a file and a store, as the program does it.
async fn import(file: &Path, format: Format, data: &Path) -> Told {
    let options = analytics::Options::default();
    let store = Store::open(data, Mode::ReadWrite, options).await.unwrap();
    let mut import = Import::begin(&store, "poison", false).await.unwrap();
    let mut days = Days::new(Settings {
        format,
        privacy: Options::default(),
        paths: vec!["cam".to_owned()],
        sensitive: Vec::new(),
        now: at(NOON),
        oldest: Date::constant(2024, 10, 21),
    });
    let mut reader = Reader::new(format, TimeZone::UTC);
    let mut log = Log::open(file, format).unwrap();
    let mut done: Vec<Day> = Vec::new();
    while let Some(piece) = log.next_piece().unwrap() {
        if let Line::Watched(record) = piece.text.map_or(Line::Broken, |text| reader.line(text)) {
            done.extend(days.add(record));
        }
    }
    done.extend(std::iter::from_fn(|| days.finish_oldest()));
    for day in done {
        let went_on = day.went_on.iter().map(|session| session.to_count(false));
        let began = day.began.iter().map(|session| session.to_count(true));
        let sessions: Vec<_> = began.chain(went_on).collect();
        let names: Vec<Arc<str>> = sessions.iter().map(|session| session.path.clone()).collect();
        assert!(
            names.iter().all(|name| ["cam", "(other)"].contains(&&**name)),
            "{names:?}"
        );
        assert_eq!(import.day(day.date, &sessions).await.unwrap(), Imported::Now);
    }
    import.end().await.unwrap();
    days.told()
}

/// What of the poison, and what of people at all, is in the files.
fn found_in(data: &Path) -> Vec<String> {
    struct Finds(Vec<String>);
    impl scan::Scan for Finds {
        fn found(&mut self, file: &Path, _: bool, found: scan::Found) {
            self.0.push(format!("{}: {found:?}", file.display()));
        }
        fn named(&mut self, file: &Path, _: scan::Found) {
            self.0.push(format!("{}: its name", file.display()));
        }
        fn failed(&mut self, file: &Path, error: &scan::ScanError) {
            self.0.push(format!("{}: {error}", file.display()));
        }
    }
    let files: Vec<PathBuf> = std::fs::read_dir(data)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    let mut finds = Finds(Vec::new());
    scan::paths(&files, &mut finds);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for needle in POISON.iter().copied().chain(["canary", "CANARY", "8.8."]) {
            if bytes
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
            {
                finds.0.push(format!("{}: {needle:?}", file.display()));
            }
        }
        for n in 0..8_u8 {
            if bytes.windows(4).any(|window| window == [8, 8, n, 7]) {
                finds.0.push(format!("{}: 8.8.{n}.7 as bytes", file.display()));
            }
        }
    }
    finds.0
}

#[tokio::test]
async fn poison_in_every_place_of_every_log_leaves_counts_alone() {
    for format in [
        Format::Requests,
        Format::Icecast,
        Format::MediaMtx,
        Format::Owncast,
    ] {
        let dir = TempDir::new().unwrap();
        let (file, data) = (dir.path().join("poison.log"), dir.path().join("data"));
        std::fs::write(&file, log(format)).unwrap();
        let told = import(&file, format, &data).await;
        assert!(told.sessions >= 4 && told.days == 2, "{format:?}: {told:?}");
        assert!(
            told.not_over >= 4,
            "the future is not counted: {format:?}: {told:?}"
        );
        assert_eq!(found_in(&data), [] as [&str; 0], "{format:?}");
    }
}

#[tokio::test]
async fn the_search_would_find_poison() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("leak"), log(Format::Requests)).unwrap();
    let found = found_in(dir.path()).join("\n");
    for poison in POISON.iter().filter(|p| !p.contains('\'')) {
        assert!(
            found.contains(&format!("{poison:?}")),
            "{poison:?} is not in\n{found}"
        );
    }
}
