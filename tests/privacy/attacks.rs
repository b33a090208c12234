//! The list of attacks, and what holds against each: tests by name, or a stub for an output that does not exist yet.
//!
//! A stub fails the build when its output appears in the program and no test attacks it: whoever adds HLS, backups or
//! tenants writes the test that the stub names, in the same commit.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One attack.
struct Attack {
    number: u8,
    /// What somebody tries.
    tries: &'static str,
    /// Tests that try it.
    tests: &'static [&'static str],
    /// Where it cannot be tried yet.
    stubs: &'static [Stub],
}

/// An output that does not exist yet.
struct Stub {
    output: &'static str,
    /// Files (by the end of their path) and what would stand in their code once it exists. A folder: that it is there.
    marks: &'static [(&'static str, &'static str)],
    /// How the names of its tests begin.
    tests: &'static str,
}

const fn held(number: u8, tries: &'static str, tests: &'static [&'static str]) -> Attack {
    Attack {
        number,
        tries,
        tests,
        stubs: &[],
    }
}

impl Attack {
    const fn but(self, stubs: &'static [Stub]) -> Self {
        Self { stubs, ..self }
    }
}

const fn stub(
    output: &'static str,
    marks: &'static [(&'static str, &'static str)],
    tests: &'static str,
) -> Stub {
    Stub { output, marks, tests }
}

const ROUTES: &str = "src/web/route.rs";
const MANIFEST: &str = "Cargo.toml";
const COMMANDS: &str = "src/cli/args.rs";
const SETTINGS: &str = "src/config/file.rs";

const ATTACKS: &[Attack] = &[
    held(
        1,
        "all addresses, with everything on the disk as key",
        &["a01_trying_all_addresses_with_everything_on_the_disk_as_key_finds_nobody"],
    ),
    held(
        2,
        "the key of the day in files, before and after its day",
        &["a02_no_key_is_in_any_file_before_or_after_its_day_ends"],
    ),
    held(
        3,
        "making a key again from what is kept",
        &["a03_nothing_that_is_kept_makes_a_number_again"],
    ),
    held(
        4,
        "deleted rows, with readers and power cuts in between",
        &[
            "a04_what_was_deleted_right_before_a_power_cut_is_in_no_file_after_the_next_start",
            "numbers_of_viewers_and_sessions_are_in_no_file_after_the_purge",
            "somebody_who_reads_delays_the_purge_but_does_not_stop_it",
        ],
    ),
    held(
        5,
        "what an older version wrote, samples and indexes of it",
        &["a05_of_tables_of_the_first_version_no_value_is_left_in_any_file"],
    ),
    held(
        6,
        "logs and panics, at every level, with every error",
        &[
            "a06_errors_of_all_kinds_tell_nothing_at_any_level_of_the_log",
            "nothing_that_leaves_us_names_the_viewer",
            "nothing_is_left_of_the_viewer_after_a_power_cut",
            "a_panic_tells_its_place_and_static_text_only",
        ],
    )
    .but(&[
        stub(
            "WebRTC, whose offers hold addresses and fingerprints",
            &[
                (ROUTES, "whep"),
                (ROUTES, "whip"),
                (MANIFEST, "webrtc"),
                (MANIFEST, "str0m"),
            ],
            "a06_webrtc",
        ),
        stub(
            "hooks, which get an environment and arguments",
            &[(SETTINGS, "run_on"), (SETTINGS, " hook")], // [alerts] webhook is none
            "a06_hook",
        ),
    ]),
    held(
        7,
        "labels of metrics",
        &["a07_metrics_stay_the_same_series_however_many_different_viewers_come"],
    )
    .but(&[stub(
        "metrics that are sent to a collector",
        &[(MANIFEST, "opentelemetry")],
        "a07_collector",
    )]),
    held(
        8,
        "every question that the API takes",
        &["a08_no_question_to_the_api_singles_a_viewer_out"],
    )
    .but(&[
        stub(
            "a language of questions",
            &[(ROUTES, "graphql"), (MANIFEST, "graphql")],
            "a08_graphql",
        ),
        stub(
            "a stream of events",
            &[(ROUTES, "events"), ("src/web/reply.rs", "text/event-stream")],
            "a08_events",
        ),
    ]),
    held(
        9,
        "differences of published answers",
        &[
            "no_number_of_viewers_can_be_computed_from_what_is_published",
            "what_can_be_computed_of_published_numbers_is_told",
        ],
    ),
    held(
        10,
        "the open day, again and again",
        &["an_open_day_is_not_published_and_a_closed_one_never_changes"],
    ),
    held(
        11,
        "exports before and after an erasure",
        &[
            "a_row_can_be_deleted_and_what_was_added_up_stays",
            "a_receipt_shows_and_erases_one_session_and_reports_stay_the_same",
        ],
    )
    .but(&[stub(
        "receipts, by which viewers erase",
        &[(ROUTES, "receipt")],
        "a_receipt_shows_and_erases_one_session",
    )]),
    held(
        12,
        "matching rows of different days",
        &["rows_of_different_days_cannot_be_matched"],
    ),
    held(13, "matching viewers of different tenants", &[]).but(&[stub(
        "tenants: one relay has one",
        &[(SETTINGS, "tenant"), (COMMANDS, "tenant")],
        "a13_",
    )]),
    held(
        14,
        "times that are known from elsewhere",
        &[
            "a14_who_has_a_log_to_the_second_finds_a_crowd_behind_every_row",
            "what_is_rare_loses_its_player_then_its_hour_and_at_last_its_row",
            "one_viewer_who_comes_often_is_not_many",
        ],
    ),
    held(
        15,
        "sketches of who was there",
        &["a15_what_is_found_again_by_the_key_is_in_memory_alone"],
    ),
    held(
        16,
        "addresses in disguise",
        &[
            "a16_every_disguise_of_a_host_is_one_viewer_in_one_country",
            "a16_no_disguise_lets_more_than_the_mask_through",
            "a16_zones_are_no_part_of_a_viewer",
        ],
    ),
    held(
        17,
        "headers that name others",
        &[
            "a17_strangers_name_no_addresses",
            "a17_behind_a_proxy_nothing_that_the_viewer_wrote_itself_counts",
            "a17_only_a_trusted_proxy_names_viewers",
            "a17_a_proxy_header_is_read_from_a_trusted_proxy_alone",
            "a17_a_bad_proxy_header_ends_the_connection_and_a_strangers_is_no_header",
        ],
    ),
    held(
        18,
        "forged receipts and consents, and guesses at what there is",
        &[
            "a18_no_time_tells_whether_there_is_a_user_of_a_name",
            "a18_no_time_tells_whether_there_is_a_share_a_consent_or_a_session",
            "a18_a_hundred_thousand_guesses_open_nothing",
            "a18_who_has_no_credentials_gets_the_same_answer_whatever_there_is",
            "a18_tokens_that_do_not_count_get_the_same_answer_whatever_they_name",
            "forged_receipts_are_unknown_and_tries_are_limited_but_not_for_who_has_a_right_one",
            "only_who_shows_a_consent_that_counts_is_counted",
            "a_link_shows_the_days_before_today_until_it_expires_or_is_revoked",
        ],
    )
    .but(&[
        stub(
            "receipts",
            &[(ROUTES, "receipt"), ("src/rights", "")],
            "forged_receipts_",
        ),
        stub(
            "consent tokens",
            &[(ROUTES, "consent")],
            "only_who_shows_a_consent_that_counts",
        ),
        stub(
            "links to share a report",
            &[(ROUTES, "/share")],
            "a_link_shows_the_days_before_today",
        ),
    ]),
    held(
        19,
        "whether who objects is anywhere",
        &[
            "a19_who_objects_by_any_sign_is_in_no_statistics",
            "who_opts_out_leaves_nothing",
        ],
    ),
    held(
        20,
        "changes of the audit trail",
        &[
            "a20_edits_gaps_moves_and_copies_are_pinpointed",
            "a20_a_tail_that_was_cut_off_is_found_by_the_checkpoint",
            "a20_a_copy_of_the_checkpoints_elsewhere_finds_what_was_cut_here",
            "a20_entries_and_checkpoints_of_another_installation_do_not_pass",
            "a20_a_trail_that_was_written_anew_disagrees_with_what_was_signed",
            "a20_a_clock_that_went_back_is_told_and_breaks_nothing",
        ],
    ),
    held(
        21,
        "backups",
        &["there_is_no_backup_that_could_bring_back_who_was_erased"],
    )
    .but(&[stub(
        "backups",
        &[(SETTINGS, "backup"), ("src/backup", "")],
        "a21_",
    )]),
    held(
        22,
        "what a crash leaves",
        &["a22_the_key_is_locked_in_memory_and_a_crash_leaves_no_core_file"],
    ),
    held(
        23,
        "what an ending leaves",
        &["a23_an_ending_under_load_leaves_the_database_and_nothing_more"],
    ),
    held(
        24,
        "where the program connects to",
        &[
            "the_page_asks_no_other_server_for_anything",
            "a24_a_relay_asks_nobody_outside_for_anything",
        ],
    )
    .but(&[stub(
        "alerts that are sent by e-mail or to a webhook",
        &[(MANIFEST, "lettre"), ("src/alerts", "")],
        "a24_",
    )]),
    held(
        25,
        "traces beside the media: names of files, caches, referrers",
        &[
            "every_answer_has_the_security_headers_and_no_cookie",
            "a25_no_answer_tells_one_visitor_from_another_or_repeats_what_was_asked",
        ],
    )
    .but(&[stub(
        "HLS, whose playlists carry tokens",
        &[
            (ROUTES, "m3u8"),
            ("src/egress/hls", ""),
            ("src/egress/hls.rs", ""),
        ],
        "a25_hls",
    )]),
    held(
        26,
        "rows of one viewer on several streams",
        &[
            "a26_at_level_anonymous_no_two_rows_share_a_number",
            "a26_at_the_usual_level_rows_of_one_viewer_share_one_number_within_the_day_and_none_across",
        ],
    ),
    held(
        27,
        "a sensitive stream",
        &[
            "a27_of_a_sensitive_path_no_row_is_written",
            "a27_on_a_sensitive_path_nobody_is_counted",
        ],
    ),
    held(
        28,
        "weakening the settings",
        &[
            "a31_flipping_a_setting_changes_notice_record_and_self_assessment_consistently",
            "the_self_check_is_content_with_the_defaults_and_not_with_an_open_page",
            "a28_weaker_settings_and_guessed_passwords_are_told_to_a_webhook",
            "a28_what_is_longer_or_smaller_than_may_be_is_refused_and_no_secret_is_shown",
        ],
    )
    .but(&[stub(
        "settings that are changed over the network",
        &[
            (ROUTES, "Method::PUT"),
            (ROUTES, "Method::PATCH"),
            (ROUTES, "/settings"),
        ],
        "a28_",
    )]),
    held(
        29,
        "logs of others that are poisoned",
        &["poison_in_every_place_of_every_log_leaves_counts_alone"],
    ),
    held(
        30,
        "diagnostics",
        &[
            "secrets_are_masked_wherever_they_stand_in_a_line",
            "there_is_no_bundle_for_support_that_could_hold_secrets",
        ],
    )
    .but(&[stub(
        "bundles for support",
        &[
            (COMMANDS, "Doctor"),
            (COMMANDS, "Bundle"),
            (COMMANDS, "print_config"),
        ],
        "a30_",
    )]),
    held(
        31,
        "papers that say something else than the settings",
        &["a31_flipping_a_setting_changes_notice_record_and_self_assessment_consistently"],
    ),
    held(
        32,
        "two relays of one configuration",
        &["a32_two_relays_of_one_configuration_have_nothing_in_common"],
    ),
];

/// Rust files and the manifest: path from the root of the repository, and text.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![(
        MANIFEST.to_owned(),
        fs::read_to_string(root.join(MANIFEST)).unwrap(),
    )];
    let mut dirs = vec![root.join("src"), root.join("tests")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// Names of functions that are tests.
fn tests(files: &[(String, String)]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (_, text) in files {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            }
            let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if let Some(name) = name.and_then(|rest| rest.split('(').next())
                && std::mem::take(&mut is_test)
            {
                names.insert(name);
            }
        }
        // `on_both!(a, b);` makes two tests of each.
        for list in text.split("on_both!(").skip(1) {
            let list = list.split(')').next().unwrap_or_default();
            names.extend(list.split(',').map(str::trim).filter(|name| !name.is_empty()));
        }
    }
    names
}

/// Where a stub's output shows, in code that is no comment and no test.
fn appears(stub: &Stub, files: &[(String, String)]) -> Option<String> {
    for (file, mark) in stub.marks {
        let (folder, one) = (format!("{file}/"), file.to_string());
        for (path, text) in files {
            if mark.is_empty() && (path.starts_with(&folder) || *path == one) {
                return Some(path.clone());
            }
            if mark.is_empty() || *path != one {
                continue;
            }
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let mut lines = code
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default());
            let comment = |line: &str| one == MANIFEST && line.trim_start().starts_with('#');
            if lines.any(|line| line.contains(mark) && !comment(line)) {
                return Some(format!("{path} ({mark})"));
            }
        }
    }
    None
}

#[test]
fn every_attack_of_the_list_is_tried_or_waits_for_its_output() {
    let files = code();
    let tests = tests(&files);
    assert!(tests.len() > 500, "{} tests were found", tests.len());
    let numbers: Vec<u8> = ATTACKS.iter().map(|attack| attack.number).collect();
    assert_eq!(numbers, (1..=32).collect::<Vec<u8>>());
    let mut wrong = Vec::new();
    for attack in ATTACKS {
        let Attack {
            number,
            tries,
            tests: by,
            stubs,
        } = attack;
        assert!(
            !by.is_empty() || !stubs.is_empty(),
            "A{number} ({tries}): nothing holds"
        );
        for test in by.iter().filter(|test| !tests.contains(**test)) {
            wrong.push(format!("A{number} ({tries}): the test {test} is gone"));
        }
        for stub in *stubs {
            // A mark in a file that was moved would wait for ever.
            for (file, _) in stub.marks.iter().filter(|(_, mark)| !mark.is_empty()) {
                let there = files.iter().any(|(path, _)| path == file);
                assert!(there, "A{number} ({tries}): {file}, where a stub looks, is gone");
            }
            let tried = tests.iter().any(|test| test.starts_with(stub.tests));
            if let Some(place) = appears(stub, &files).filter(|_| !tried) {
                wrong.push(format!(
                    "A{number} ({tries}): {place} has {}; attack it in a test named {}...",
                    stub.output, stub.tests
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_output_that_appears_without_its_test_is_noticed() {
    let hls = &ATTACKS[24].stubs[0];
    let file = |path: &str, text: &str| vec![(path.to_owned(), text.to_owned())];
    assert_eq!(hls.tests, "a25_hls");
    for (files, there) in [
        (file(ROUTES, "\"index.m3u8\" => Self::Hls"), true),
        (file("src/egress/hls/playlist.rs", ""), true),
        (file("src/egress/hls.rs", ""), true),
        (file("src/egress/hlsx.rs", ""), false),
        (file(ROUTES, "// no m3u8 yet"), false),
        (
            file(ROUTES, "fn a() {}\n#[cfg(test)]\nmod tests { \"m3u8\" }"),
            false,
        ),
        (file("src/web/site.rs", "m3u8"), false),
    ] {
        assert_eq!(appears(hls, &files).is_some(), there, "{files:?}");
    }
    let mail = &ATTACKS[23].stubs[0];
    assert!(appears(mail, &file(MANIFEST, "lettre = \"0.11\"")).is_some());
    assert!(appears(mail, &file(MANIFEST, "# no lettre")).is_none());
    assert_eq!(
        tests(&file(
            "a.rs",
            "#[test]\nfn b() {\n}\nfn c() {}\non_both!(\n d,\n e,\n);"
        )),
        BTreeSet::from(["b", "d", "e"])
    );
}
