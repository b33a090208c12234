//! The papers agree: a setting that is flipped is told by the notice, the record and the self-assessment alike.

use super::*;
use crate::privacy::Consent;
use crate::privacy::Level;
use crate::privacy::address::Mask;
use crate::privacy::fields;

fn usual() -> Options {
    Options {
        controller: "The Harbour Office".into(),
        contact: "harbour@example.org".into(),
        k: 5,
        time_zone: "UTC".into(),
        rows_days: 7,
        hours_days: 90,
        counts_days: 761,
        audit_days: 365,
        streams_at: "rtsp://HOST:8554/".into(),
        ..Options::default()
    }
}

/// Notice, record, self-assessment, without the line of the version, which differs anyway.
fn three(o: &Options) -> [String; 3] {
    let version = o.version();
    [
        notice(o, Lang::En).plain(),
        record(o).plain(),
        self_assessment(o).0.plain(),
    ]
    .map(|text| one_line(&text.replace(&version, "VERSION")))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The notice in French, without the version.
fn french(o: &Options) -> String {
    notice(o, Lang::Fr).plain().replace(&o.version(), "VERSION")
}

/// A31: each of the settings changes all three papers, and each says it; the French notice changes as well.
#[test]
fn a31_flipping_a_setting_changes_notice_record_and_self_assessment_consistently() {
    type Flip = fn(&mut Options);
    type Said = [&'static str; 3];
    let cases: [(&str, Flip, Said); 19] = [
        (
            "k",
            |o| o.k = 7,
            ["fewer than 7", "7 viewers", "no group below 7"],
        ),
        (
            "level",
            |o| o.policy.level = Level::Anonymous,
            [
                "no number that stands for you",
                "Setting: anonymous",
                "there are none",
            ],
        ),
        (
            "consent off",
            |o| o.policy.consent = Consent::Off,
            ["No audience is counted", "nobody (off)", "nobody (off)"],
        ),
        (
            "consent opt-in",
            |o| o.policy.consent = Consent::OptIn,
            [
                "Art. 6(1)(a)",
                "consent, Art. 6(1)(a)",
                "those who agreed (opt-in)",
            ],
        ),
        (
            "time zone",
            |o| o.time_zone = "Europe/Paris".into(),
            [
                "Europe/Paris",
                "days of Europe/Paris",
                "calendar day of Europe/Paris",
            ],
        ),
        (
            "countries",
            |o| o.policy.country = true,
            ["The country is looked up", "looked up locally", "country alone"],
        ),
        (
            "mask",
            |o| {
                o.policy.country = true;
                o.policy.mask = Mask::Strict;
            },
            ["/16, /32", "mask strict", "mask strict"],
        ),
        (
            "proxies",
            |o| o.policy.proxies = true,
            [
                "Proxies of the operator",
                "of the configured proxies alone",
                "proxies believed: true",
            ],
        ),
        (
            "sensitive paths",
            |o| o.sensitive_paths = 3,
            [
                "marked as sensitive, no session is recorded (3)",
                "3 paths",
                "3 sensitive paths",
            ],
        ),
        (
            "rows",
            |o| o.rows_days = 3,
            ["sessions: 3 days", "rows 3 days", "rows 3 days"],
        ),
        (
            "days",
            |o| o.counts_days = 900,
            [
                "counts by day: 900 days",
                "days 900 days",
                "days 900 days Result: NOT MET",
            ],
        ),
        (
            "audit",
            |o| o.audit_days = 200,
            [
                "nothing of viewers is in it): 200 days",
                "reads included, 200 days",
                "audit trail of 200 days",
            ],
        ),
        (
            "controller",
            |o| o.controller = "The Lighthouse".into(),
            ["The Lighthouse", "The Lighthouse", "The Lighthouse"],
        ),
        (
            "officer",
            |o| o.dpo = "dpo@example.org".into(),
            ["dpo@example.org", "dpo@example.org", "dpo@example.org"],
        ),
        (
            "authority",
            |o| o.authority = "The Commissioner".into(),
            [
                "The Commissioner",
                "The Commissioner",
                "authority: The Commissioner",
            ],
        ),
        (
            "mail",
            |o| o.alerts_by_mail = true,
            ["mail server", "mail server", "alerts: log, e-mail"],
        ),
        (
            "webhook",
            |o| o.alerts_by_webhook = true,
            ["signed webhook", "signed webhook", "alerts: log, webhook"],
        ),
        (
            "remote database",
            |o| o.remote_database = true,
            ["PostgreSQL", "PostgreSQL", "database is on another machine"],
        ),
        (
            "core files",
            |o| o.core_dumps = true,
            [
                "when it crashes",
                "Core files Setting: ALLOWED",
                "core files are allowed",
            ],
        ),
    ];
    let before = three(&usual());
    for (name, flip, said) in cases {
        let mut o = usual();
        flip(&mut o);
        let after = three(&o);
        for (n, paper) in ["notice", "record", "self-assessment"].into_iter().enumerate() {
            assert_ne!(before[n], after[n], "{name}: the {paper} does not change");
            let tells = after[n].contains(said[n]);
            assert!(
                tells,
                "{name}: the {paper} does not say {:?}:\n{}",
                said[n], after[n]
            );
            assert!(!before[n].contains(said[n]), "{name}: the {paper} says it anyway");
        }
        assert_ne!(
            french(&o),
            french(&usual()),
            "{name}: the French notice does not change"
        );
        // And back.
        assert_eq!(three(&usual()), before);
    }
}

#[test]
fn the_notice_tells_of_active_fields_alone() {
    let mut o = usual();
    let text = |o: &Options| notice(o, Lang::En).markdown();
    for field in fields::ALL {
        let active = field.when.holds(&o.policy);
        assert_eq!(text(&o).contains(field.what), active, "{}", field.name);
    }
    o.policy.consent = Consent::Off;
    assert!(
        !text(&o).contains("How not to be counted"),
        "there is nothing to object to"
    );
}

#[test]
fn nobody_is_invented() {
    let o = Options {
        controller: String::new(),
        contact: String::new(),
        ..usual()
    };
    let [told, recorded, _] = three(&o);
    assert!(told.contains("not named yet") && recorded.contains("[missing:"));
    assert!(notice(&o, Lang::Fr).plain().contains("pas encore indiqué"));
}

#[test]
fn the_french_notice_is_french_and_as_complete_as_the_english_one() {
    let mut o = usual();
    o.policy.country = true;
    o.policy.proxies = true;
    o.alerts_by_mail = true;
    o.alerts_by_webhook = true;
    o.remote_database = true;
    o.open_http = true;
    o.core_dumps = true;
    o.sensitive_paths = 1;
    let (en, fr) = (notice(&o, Lang::En), notice(&o, Lang::Fr));
    assert_eq!(en.blocks.len(), fr.blocks.len());
    for (one, other) in en.blocks.iter().zip(&fr.blocks) {
        match (one, other) {
            (Block::Heading(a), Block::Heading(b)) | (Block::Text(a), Block::Text(b)) => {
                assert!(a != b || a.starts_with("Version"), "not translated: {a}");
            }
            (Block::List(a), Block::List(b)) => {
                for (a, b) in a.iter().zip(b) {
                    let same = ["Contact", "sessions"].iter().any(|w| a.starts_with(w));
                    assert!(a != b || same, "not translated: {a}");
                }
            }
            (Block::Table { rows: a, .. }, Block::Table { rows: b, .. }) => {
                // A field that is newer than its translation is told in English.
                let same = a.iter().zip(b).filter(|(a, b)| a[0] == b[0]);
                assert!(same.count() <= 8, "see french.rs");
            }
            (a, b) => panic!("{a:?} is not {b:?}"),
        }
    }
    // No translation of what is no longer there.
    for (name, ..) in french::FIELDS {
        assert!(fields::ALL.iter().any(|f| f.name == *name), "{name} is no field");
    }
}

#[test]
fn the_self_assessment_has_fourteen_rows_and_names_what_is_not_met() {
    let (document, failed) = self_assessment(&usual());
    let rows = document.blocks.iter().find_map(|b| match b {
        Block::Table { rows, .. } => Some(rows.len()),
        _ => None,
    });
    assert_eq!((rows, failed), (Some(14), 0), "{}", document.plain());
    let weak = Options {
        k: 3,
        open_http: true,
        ..usual()
    };
    assert_eq!(self_assessment(&weak).1, 2);
}

#[test]
fn the_form_for_a_breach_counts_seventy_two_hours() {
    let noticed: jiff::Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
    let form = |now: &str| breach_report(&usual(), noticed, now.parse().unwrap()).plain();
    assert!(form("2026-05-02T12:00:00Z").contains("2026-05-04 12:00 UTC (48 hours are left)"));
    assert!(form("2026-05-05T12:00:00Z").contains("OVERDUE"));
    assert!(form("2026-05-04T11:59:00Z").contains("(0 hours are left)"));
    assert!(
        form("2026-05-04T12:30:00Z").contains("OVERDUE"),
        "half an hour too late is too late"
    );
    let text = form("2026-05-02T12:00:00Z");
    assert!(
        text.contains("sessions.started_ms") && !text.contains("Session.started"),
        "{text}"
    );
}

#[test]
fn papers_of_what_may_happen_know_of_core_files_and_proofs() {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let both = |o: &Options| [breach_report(o, at, at).plain(), dpia(o).plain()].map(|text| one_line(&text));
    for text in both(&usual()) {
        assert!(!text.contains("core files are allowed"), "{text}");
    }
    let dumps = Options {
        core_dumps: true,
        ..usual()
    };
    let [breach, dpia] = both(&dumps);
    assert!(breach.contains("Core files are allowed"), "{breach}");
    assert!(!breach.contains("they hold no address"), "{breach}");
    assert!(!dpia.contains("No address, agent or key is on it"), "{dpia}");
    let mut o = usual();
    o.policy.consent = Consent::OptIn;
    let [breach, _] = both(&o);
    assert!(
        breach.contains("until when Where: the file of proofs"),
        "proofs are on disk: {breach}"
    );
}

#[test]
fn a_database_on_another_machine_is_not_said_to_be_overwritten() {
    let there = Options {
        remote_database: true,
        ..usual()
    };
    let [told, recorded, _] = three(&there);
    assert!(told.contains("In the database on the other machine"), "{told}");
    assert!(!recorded.contains("overwritten in the files"), "{recorded}");
    assert!(three(&usual())[1].contains("overwritten in the files"));
}

#[test]
fn a_relay_without_a_page_promises_nothing_that_is_on_it() {
    let o = Options {
        no_page: true,
        receipts: true,
        ..usual()
    };
    for lang in [Lang::En, Lang::Fr] {
        let text = notice(&o, lang).plain();
        assert!(!text.contains("/privacy/"), "{text}");
    }
    assert!(three(&o)[2].contains("publish what `louver privacy notice` prints"));
}

/// The port is nothing that anybody agrees to: a consent does not end with it.
#[test]
fn the_notice_tells_where_streams_are_and_its_version_is_the_same() {
    let of = |streams_at: &str| Options {
        streams_at: streams_at.into(),
        ..usual()
    };
    for at in ["rtsp://HOST:554/", "rtsps://HOST:8322/", ""] {
        let text = [Lang::En, Lang::Fr].map(|lang| one_line(&notice(&of(at), lang).plain()));
        let expected = match at {
            "" => ["name of the stream", "nom du flux"].map(str::to_owned),
            _ => [
                format!("{at}nostats/NAME"),
                format!("{at}nostats/NOM").replace("HOST", "HOTE"),
            ],
        };
        for (text, expected) in text.iter().zip(&expected) {
            assert!(text.contains(expected), "{expected}: {text}");
            assert!(!text.contains("8554"), "{text}");
        }
        assert_eq!(of(at).version(), usual().version());
    }
    assert!(three(&usual())[0].contains("rtsp://HOST:8554/nostats/NAME"));
}

/// A consent ends when its version does.
#[test]
fn whatever_changes_the_notice_changes_its_version() {
    let mut there = usual();
    there.remote_database = true;
    let mut named = usual();
    named.sensitive_paths = 3;
    for o in [there, named] {
        assert_ne!(notice(&o, Lang::En).blocks, notice(&usual(), Lang::En).blocks);
        assert_ne!(o.version(), usual().version());
    }
    let changes = vec![Change {
        date: "2026-05-01".into(),
        setting: "privacy.k".into(),
        change: "5 -> 6".into(),
    }];
    assert_eq!(Options { changes, ..usual() }.version(), usual().version());
}

#[test]
fn the_same_settings_have_the_same_version_and_others_another() {
    let mut o = usual();
    assert_eq!(o.version(), usual().version());
    o.dpo = "x".into();
    assert_ne!(o.version(), usual().version());
    let mut o = usual();
    o.settings.insert("privacy.k", "6".into());
    assert_ne!(o.version(), usual().version());
}
