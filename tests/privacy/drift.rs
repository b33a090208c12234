//! The register of fields (`privacy::fields`) and the program say the same: every column and every field that could hold
//! something of a viewer is registered, and nothing is registered that is not there.

use std::collections::BTreeSet;
use std::path::Path;

use louver::analytics::Mode;
use louver::analytics::Options;
use louver::analytics::Store;
use louver::privacy::fields::ALL;
use louver::privacy::fields::When;
use sqlx::Connection;
use sqlx::Row;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::sqlite::SqliteConnection;

/// Types that carry something of a viewer, and where they are.
const TYPES: &[(&str, &str)] = &[
    ("RawViewer", "src/privacy/raw.rs"),
    ("Pseudonym", "src/privacy/mod.rs"),
    ("Session", "src/analytics/recorder.rs"),
];

/// Headers and words that come with a viewer and are not looked at: no file of the program may name them.
const NEVER_NAMED: &[&str] = &[
    "ACCEPT_LANGUAGE",
    "accept-language",
    "header::COOKIE",
    "\"cookie\"",
    "header::REFERER",
    "\"referer\"",
    "IF_NONE_MATCH",
    "if-none-match",
    "sec-ch-ua",
    "\"Via\"",
    "\"From\"",
    "\"Bandwidth\"",
    "ja3",
    "ja4",
];

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `Type.field` of each field of a struct.
fn fields_of(name: &str, file: &str) -> BTreeSet<String> {
    let text = source(file);
    let start = text
        .find(&format!("struct {name} {{"))
        .unwrap_or_else(|| panic!("{file} has no struct {name}; where has it gone?"));
    let body = text[start..].lines().skip(1).take_while(|line| *line != "}");
    let fields = body.filter_map(|line| {
        let line = line.trim();
        let line = line.rsplit_once(") ").map_or(line, |(_, rest)| rest);
        let (field, _) = line.trim_start_matches("pub ").split_once(": ")?;
        let is_name = field
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_name.then(|| format!("{name}.{field}"))
    });
    let fields: BTreeSet<_> = fields.collect();
    assert!(!fields.is_empty(), "{file}: no field of {name} was understood");
    fields
}

/// `table.column` of every table, as SQLite has them after all migrations.
async fn columns() -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    drop(
        Store::open(dir.path(), Mode::ReadWrite, Options::default())
            .await
            .unwrap(),
    );
    let options = SqliteConnectOptions::new().filename(dir.path().join("louver.db"));
    let mut db = SqliteConnection::connect_with(&options).await.unwrap();
    let all = "SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '_sqlx_%'";
    let rows = sqlx::query(all).fetch_all(&mut db).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn every_column_and_field_is_registered_and_nothing_else_is() {
    let registered: BTreeSet<String> = ALL
        .iter()
        .flat_map(|f| f.places)
        .map(|p| (*p).to_owned())
        .collect();
    let mut there = columns().await;
    for (name, file) in TYPES {
        there.extend(fields_of(name, file));
    }
    let unregistered: Vec<_> = there.difference(&registered).collect();
    assert!(
        unregistered.is_empty(),
        "not in src/privacy/fields/table.rs (add each to `places` of the signal it is made of): {unregistered:?}"
    );
    let absent: Vec<_> = registered.difference(&there).collect();
    assert!(
        absent.is_empty(),
        "registered in src/privacy/fields/table.rs, but not in the program: {absent:?}"
    );
}

#[test]
fn no_place_belongs_to_two_signals() {
    let mut seen = BTreeSet::new();
    for (field, place) in ALL.iter().flat_map(|f| f.places.iter().map(move |p| (f, p))) {
        assert!(
            seen.insert(place),
            "{place} is registered twice, once in {}",
            field.name
        );
    }
}

#[test]
fn what_is_registered_as_not_looked_at_is_named_nowhere() {
    assert!(ALL.iter().any(|f| f.when == When::Never));
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut wrong = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            // The load generator and the fuzz targets are no part of the relay.
            if path.is_dir() {
                dirs.push(path);
            } else if name.ends_with(".rs") && !name.contains("/bin/") && !name.contains("tests") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                for (line, number) in code.zip(1..) {
                    for word in NEVER_NAMED.iter().filter(|w| line.contains(**w)) {
                        wrong.push(format!("{name}:{number}: {word}"));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "registered as never looked at (src/privacy/fields/table.rs), but named here:\n{}",
        wrong.join("\n")
    );
}
