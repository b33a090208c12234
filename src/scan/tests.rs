//! Whole files: databases with what was deleted, logs in gzip, pieces of any size, directories.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Seen {
    found: Vec<(String, bool, Found)>,
    named: usize,
    failed: usize,
}

impl Scan for Seen {
    fn found(&mut self, file: &Path, unpacked: bool, found: Found) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        self.found.push((name, unpacked, found));
    }
    fn named(&mut self, _: &Path, _: Found) {
        self.named += 1;
    }
    fn failed(&mut self, _: &Path, _: &ScanError) {
        self.failed += 1;
    }
}

fn scan(paths_: &[PathBuf]) -> (Seen, Summary) {
    let mut seen = Seen::default();
    let summary = paths(paths_, &mut seen);
    (seen, summary)
}

fn in_pieces(bytes: &[u8], size: usize) -> Vec<Found> {
    let mut all = Vec::new();
    let mut stream = Stream::default();
    for piece in bytes.chunks(size) {
        stream.feed(piece, &mut |f| all.push(f));
    }
    stream.finish(&mut |f| all.push(f));
    all.sort_unstable();
    all
}

fn utf16(text: &str, little: bool) -> Vec<u8> {
    let units = text.encode_utf16();
    units
        .flat_map(|u| if little { u.to_le_bytes() } else { u.to_be_bytes() })
        .collect()
}

#[test]
fn an_address_is_found_in_text_utf16_base64_and_mapped_bytes() {
    let mapped = [
        &[7; 5][..],
        &std::net::Ipv4Addr::new(8, 8, 4, 4).to_ipv6_mapped().octets(),
    ]
    .concat();
    let cases: [(Vec<u8>, Form); 7] = [
        (b"\x00\xffx 8.8.4.4 y".to_vec(), Form::Text),
        (utf16("\u{1}at 8.8.4.4", true), Form::Utf16),
        (utf16("at 8.8.4.4", false), Form::Utf16),
        (STANDARD.encode("peer=8.8.4.4;").into_bytes(), Form::Base64),
        (
            format!("x{}", STANDARD.encode("8.8.4.4")).into_bytes(),
            Form::Base64,
        ),
        (
            base64::engine::general_purpose::URL_SAFE_NO_PAD
                .encode("???>>>8.8.4.4")
                .into_bytes(),
            Form::Base64,
        ),
        (mapped, Form::Bytes),
    ];
    for (bytes, form) in cases {
        let found = in_pieces(&bytes, 9);
        assert!(
            found.iter().any(|f| f.form == form && f.kind == Kind::Ipv4),
            "{form:?}: {found:?}"
        );
    }
}

#[test]
fn what_lies_across_a_cut_is_found_once_at_its_place() {
    for at in (65_400..65_700).chain(130_900..131_200) {
        let mut bytes = vec![b'.'; 200_000];
        bytes[at..at + 12].copy_from_slice(b" a@b-mail.de");
        let found = in_pieces(&bytes, 10_000);
        let places: Vec<_> = found.iter().map(|f| (f.offset, f.kind)).collect();
        assert_eq!(places, [(at as u64 + 1, Kind::Email)], "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_size_of_pieces_makes_no_difference(
        noise in proptest::collection::vec(any::<u8>(), 0..3000),
        words in proptest::collection::vec(0_usize..6, 1..6),
        size in 1_usize..900,
    ) {
        let mut bytes = Vec::new();
        for (n, word) in words.iter().enumerate() {
            bytes.extend_from_slice(&noise[noise.len() * n / words.len()..noise.len() * (n + 1) / words.len()]);
            bytes.extend_from_slice(match word {
                0 => b"8.8.4.4 ",
                1 => b"2a00:1450::5 ",
                2 => b"8\x00.\x008\x00.\x004\x00.\x004\x00",
                3 => b" ZnJvbSA4LjguNC40 ",
                4 => b" http://a:b@c/ ",
                _ => b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x08\x08\x04\x04",
            });
        }
        prop_assert_eq!(in_pieces(&bytes, size), in_pieces(&bytes, usize::MAX));
    }
}

#[test]
fn gzip_is_looked_into_and_a_damaged_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(b"8.8.4.4 - - \"GET / HTTP/1.1\"\n").unwrap();
    let mut packed = gz.finish().unwrap();
    // Rotated logs are often several members in one file.
    packed.extend_from_within(..);
    let file = dir.path().join("access.log.2.gz");
    fs::write(&file, &packed).unwrap();
    let (seen, summary) = scan(std::slice::from_ref(&file));
    let offsets: Vec<_> = seen.found.iter().map(|(_, gz, f)| (*gz, f.offset)).collect();
    assert_eq!(offsets, [(true, 0), (true, 29)]);
    assert_eq!((summary.files, summary.failed), (1, 0));
    fs::write(&file, &packed[..packed.len() - 12]).unwrap();
    let (seen, summary) = scan(&[file]);
    assert_eq!((seen.failed, summary.failed), (1, 1));
    assert!(!seen.found.is_empty(), "what came before the damage is searched");
}

#[tokio::test]
async fn deleted_rows_and_the_write_ahead_log_of_a_database_are_searched() {
    use sqlx::Connection;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::sqlite::SqliteJournalMode;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("old.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("secure_delete", "OFF");
    let mut db = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "CREATE TABLE v (a TEXT, b TEXT, c TEXT)",
        "INSERT INTO v VALUES ('rtsp', '8.8.4.4', 'tcp'), ('x', '9.9.9.9', 'y')",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "DELETE FROM v WHERE b = '8.8.4.4'",
    ] {
        sqlx::query(statement).execute(&mut db).await.unwrap();
    }
    let (seen, summary) = scan(&[file]);
    assert_eq!(summary.files, 3, "the database, its log and its index");
    let in_file = |name: &str| seen.found.iter().filter(|(n, ..)| n == name).count();
    assert!(in_file("old.db") >= 2, "{:?}", seen.found);
    assert!(in_file("old.db-wal") >= 1, "{:?}", seen.found);
    db.close().await.unwrap();
}

#[test]
fn directories_are_walked_links_are_not_and_names_are_read_too() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/clean"), "nothing").unwrap();
    fs::write(dir.path().join("a/8.8.4.4.log"), "nothing").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/again")).unwrap();
    let missing = dir.path().join("missing");
    let (seen, summary) = scan(&[dir.path().to_path_buf(), missing]);
    assert_eq!((seen.named, seen.found.len(), seen.failed), (1, 0, 1));
    assert_eq!((summary.files, summary.failed), (2, 1));
    #[cfg(unix)]
    assert_eq!(summary.skipped, 1);
}

/// Texts with one secret each, and where it is told to be.
const SECRETS: [(&str, u64, Kind); 8] = [
    (r#" {"token": "s3cr3tvalue"} "#, 9, Kind::Secret),
    (r#" {"access_token":"abcd.efgh"} "#, 16, Kind::Secret),
    (r#" "API_KEY" : "k-12345678", "#, 11, Kind::Secret),
    (" {'password': 'hunter22'} ", 12, Kind::Secret),
    (r#" "msg":"{\"passwd\":\"hunter22\"}" "#, 19, Kind::Secret),
    (
        " Authorization: Basic YW5uYTpwdw\r\n ",
        16,
        Kind::BasicCredentials,
    ),
    (" basic YW5uYTpwd2Q, ", 1, Kind::BasicCredentials),
    (" basic YW5uYTpwdw=. ", 1, Kind::BasicCredentials),
];

#[test]
fn secrets_in_json_and_basic_without_padding_are_found_once_wherever_they_are_cut() {
    for (text, place, kind) in &SECRETS {
        for cut in 0..=text.len() {
            let mut stream = Stream::default();
            let mut found = Vec::new();
            stream.feed(&text.as_bytes()[..cut], &mut |f| found.push(f));
            stream.feed(&text.as_bytes()[cut..], &mut |f| found.push(f));
            stream.finish(&mut |f| found.push(f));
            let places: Vec<_> = found.iter().map(|f| (f.offset, f.kind, f.form)).collect();
            assert_eq!(places, [(*place, *kind, Form::Text)], "{text}, cut at {cut}");
            // And where one region that is searched ends and the next begins.
            let at = 65_536 - cut;
            let mut bytes = vec![b'.'; 70_000];
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
            let places: Vec<_> = in_pieces(&bytes, 10_000)
                .iter()
                .map(|f| (f.offset, f.kind))
                .collect();
            assert_eq!(places, [(at as u64 + place, *kind)], "{text}, region at {cut}");
        }
    }
}

#[test]
fn keys_without_a_secret_and_words_behind_basic_are_none() {
    for text in [
        r#"{"token": null, "password": true, "secret": 12345678, "api_key": {"type": "string"}}"#,
        r#"{"token": "", "password": "***", "secret": "...", "apikey": "[redacted]", "jwt": "<JWT>"}"#,
        r#"{"token": "string", "password": "Password", "api_key": "${API_KEY}", "secret": "none"}"#,
        r#"{"password": "Enter your password here", "token_type": "bearer", "tokens": "12345678"}"#,
        r#"{"path": "token", "other": "value"}, "token", "password": ["#,
        "token: 'a', see \"secret\" and \"password\"; the token: \"quoted words\" of a sentence",
        "Basic credentials, basic authentication, basic information: basic understanding of basics",
        "basic principles, Basic Latin, basic_string basic programming language, basic requirements",
    ] {
        assert_eq!(in_pieces(text.as_bytes(), usize::MAX), [], "{text}");
    }
}
