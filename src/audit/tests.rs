//! The trail under attack: edited, cut, moved, spliced, full, torn, pruned.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use super::*;
use crate::audit::trail::Trail;
use crate::base::clock::ManualClock;
use crate::base::clock::SharedClock;
use crate::base::master::Master;
use crate::base::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

const START: i64 = 1_700_000_000;

fn trail(dir: &Path, master: u8) -> Trail {
    Trail::new(dir, Keys::new(&Master::of(master)), Options::default())
}

fn event(n: u64) -> Event {
    Event::new(Actor::Shell, Action::Exported, Purpose::Audience)
        .object("door")
        .amount(n)
}

/// A trail of `n` entries, a minute apart, sealed.
fn written(n: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut trail = trail(dir.path(), 1);
    for i in 0..n {
        trail.append(&event(i), 0, START + 60 * i as i64).unwrap();
    }
    trail.seal(START + 60 * n as i64).unwrap();
    dir
}

fn verified(dir: &Path) -> Verified {
    verify(dir, &Keys::new(&Master::of(1)), "").unwrap()
}

fn segment(dir: &Path) -> PathBuf {
    let mut found: Vec<_> = fs::read_dir(dir.join("audit"))
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|f| f.to_str().unwrap().ends_with(".log"))
        .collect();
    found.sort();
    found.pop().unwrap()
}

fn edit(dir: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let file = segment(dir);
    let mut lines: Vec<String> = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    change(&mut lines);
    fs::write(file, lines.iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
}

#[test]
fn a_trail_that_nobody_touched_holds() {
    let dir = written(600);
    let found = verified(dir.path());
    assert_eq!(found.problems, []);
    assert_eq!((found.entries, found.range), (600, Some((1, 600))));
    assert!(found.checkpoints >= 3, "{found:?}");
    assert!(found.clock_back.is_empty());
}

/// A20: each way of meddling is found and named by its number.
#[test]
fn a20_edits_gaps_moves_and_copies_are_pinpointed() {
    type Attack = fn(&mut Vec<String>);
    let attacks: [(&str, Attack, &[Problem]); 7] = [
        (
            "edited",
            |l| l[9] = l[9].replace("\"amount\":9", "\"amount\":1"),
            &[Problem::Changed { seq: 10 }],
        ),
        (
            "deleted",
            |l| drop(l.remove(9)),
            &[Problem::Missing { from: 10, to: 10 }],
        ),
        (
            "three deleted",
            |l| drop(l.drain(4..7)),
            &[Problem::Missing { from: 5, to: 7 }],
        ),
        (
            "swapped",
            |l| l.swap(9, 10),
            &[
                Problem::Missing { from: 10, to: 10 },
                Problem::OutOfOrder { seq: 10 },
            ],
        ),
        (
            "doubled",
            |l| l.insert(9, l[8].clone()),
            &[Problem::OutOfOrder { seq: 9 }],
        ),
        (
            "first deleted",
            |l| drop(l.remove(0)),
            &[Problem::NoBeginning { first: 2 }],
        ),
        (
            "scribbled",
            |l| l.insert(3, "{}".into()),
            &[Problem::NoEntry { after: 3 }],
        ),
    ];
    for (name, attack, want) in attacks {
        let dir = written(30);
        edit(dir.path(), attack);
        assert_eq!(verified(dir.path()).problems, want, "{name}");
    }
}

#[test]
fn a20_a_tail_that_was_cut_off_is_found_by_the_checkpoint() {
    let dir = written(30);
    edit(dir.path(), |l| l.truncate(20));
    assert_eq!(
        verified(dir.path()).problems,
        [Problem::CutOff {
            last: 20,
            checkpoint: 30
        }]
    );
    let dir = written(30);
    fs::remove_file(segment(dir.path())).unwrap();
    assert_eq!(
        verified(dir.path()).problems,
        [Problem::CutOff {
            last: 0,
            checkpoint: 30
        }]
    );
}

/// Who cuts the checkpoints as well is found by a copy of them, such as the log has.
#[test]
fn a20_a_copy_of_the_checkpoints_elsewhere_finds_what_was_cut_here() {
    let dir = written(30);
    let file = dir.path().join("audit/checkpoints");
    let log = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|l| format!("INFO louver::audit: line=\"{l}\"\n"))
        .collect::<String>();
    fs::write(&file, "").unwrap();
    edit(dir.path(), |l| l.truncate(20));
    assert_eq!(verified(dir.path()).problems, [], "nothing here knows better");
    let found = verify(dir.path(), &Keys::new(&Master::of(1)), &log).unwrap();
    assert_eq!(
        found.problems,
        [Problem::CutOff {
            last: 20,
            checkpoint: 30
        }]
    );
}

#[test]
fn a20_entries_and_checkpoints_of_another_installation_do_not_pass() {
    let ours = written(10);
    let theirs = tempfile::tempdir().unwrap();
    let mut other = trail(theirs.path(), 2);
    for i in 0..10 {
        other.append(&event(i), 0, START + 60 * i as i64).unwrap();
    }
    let spliced = fs::read_to_string(segment(theirs.path())).unwrap();
    let spliced: Vec<&str> = spliced.lines().collect();
    edit(ours.path(), |l| l[5] = spliced[5].to_owned());
    let problems = verified(ours.path()).problems;
    assert!(problems.contains(&Problem::Changed { seq: 6 }), "{problems:?}");
    // The whole trail of the other.
    let found = verify(theirs.path(), &Keys::new(&Master::of(1)), "").unwrap();
    assert!(found.problems.contains(&Problem::Changed { seq: 1 }), "{found:?}");
    assert!(found.problems.contains(&Problem::ForeignCheckpoint), "{found:?}");
}

/// Whoever writes the trail anew with the right key cannot also have the checkpoints that were signed before.
#[test]
fn a20_a_trail_that_was_written_anew_disagrees_with_what_was_signed() {
    let dir = written(30);
    fs::remove_file(segment(dir.path())).unwrap();
    let again = tempfile::tempdir().unwrap();
    let mut forged = trail(again.path(), 1);
    for i in 0..40 {
        forged.append(&event(i + 1), 0, START + 60 * i as i64).unwrap();
    }
    fs::copy(
        segment(again.path()),
        dir.path().join("audit/trail-000000000001.log"),
    )
    .unwrap();
    let problems = verified(dir.path()).problems;
    assert!(problems.contains(&Problem::Replaced { seq: 30 }), "{problems:?}");
}

#[test]
fn a20_a_clock_that_went_back_is_told_and_breaks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut trail = trail(dir.path(), 1);
    for (i, ts) in [START, START + 60, START - 9_000, START + 120]
        .into_iter()
        .enumerate()
    {
        trail.append(&event(i as u64), 0, ts).unwrap();
    }
    let found = verified(dir.path());
    assert_eq!((found.problems.len(), found.clock_back), (0, vec![3]));
}

#[test]
fn a_line_that_a_crash_tore_is_cut_off_and_the_chain_goes_on() {
    let dir = written(5);
    let file = segment(dir.path());
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("{\"action\":\"rep");
    fs::write(&file, text).unwrap();
    trail(dir.path(), 1).append(&event(9), 0, START + 999).unwrap();
    let found = verified(dir.path());
    assert_eq!((found.problems.len(), found.entries), (0, 6));
}

#[test]
fn a_trail_that_a_crash_left_in_the_middle_of_a_line_holds_before_it_is_written_again() {
    let dir = written(5);
    let whole = fs::read_to_string(segment(dir.path())).unwrap();
    fs::write(segment(dir.path()), format!("{whole}{}", &whole[..100])).unwrap();
    let found = verified(dir.path());
    assert_eq!((found.entries, found.problems), (5, vec![]));
}

#[test]
fn a_segment_that_a_crash_left_without_an_entry_is_passed_over() {
    for torn in ["", "{\"action\":\"exp"] {
        let dir = written(5);
        fs::write(dir.path().join("audit/trail-000000000006.log"), torn).unwrap();
        trail(dir.path(), 1).append(&event(5), 0, START + 300).unwrap();
        let found = verified(dir.path());
        assert_eq!((found.entries, found.problems), (6, vec![]), "{torn:?}");
    }
}

#[test]
fn an_entry_whose_checkpoint_cannot_be_written_is_not_written_twice() {
    let dir = written(100);
    let file = dir.path().join("audit/checkpoints");
    let before = fs::read(&file).unwrap();
    let mut trail = trail(dir.path(), 1);
    trail.append(&event(100), 0, START + 6000).unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let late = START + 20_000; // one is due
    assert_eq!(trail.append(&event(101), 0, late).unwrap().checkpoint, None);
    fs::remove_dir(&file).unwrap();
    fs::write(&file, before).unwrap();
    assert!(trail.append(&event(102), 0, late).unwrap().checkpoint.is_some());
    let found = verified(dir.path());
    assert_eq!((found.entries, found.problems), (103, vec![]));
}

#[test]
fn two_writers_at_a_time_make_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut trail = trail(dir.path(), 1);
                for i in 0..40 {
                    trail.append(&event(i), 0, START).unwrap();
                }
            });
        }
    });
    let found = verified(dir.path());
    assert_eq!((found.problems.len(), found.entries), (0, 120), "{found:?}");
}

#[test]
fn old_segments_go_by_size_and_by_age_and_what_is_left_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        keep: Duration::from_secs(86_400 * 30),
        max_bytes: 64 << 10,
    };
    let mut trail = Trail::new(dir.path(), Keys::new(&Master::of(1)), options);
    for i in 0..600 {
        trail.append(&event(i), 0, START + i as i64).unwrap();
    }
    let total = |dir: &Path| -> u64 {
        let files = fs::read_dir(dir.join("audit")).unwrap();
        files.map(|f| f.unwrap().metadata().unwrap().len()).sum()
    };
    assert!(total(dir.path()) < 80 << 10, "{}", total(dir.path()));
    let found = verified(dir.path());
    assert_eq!(found.problems, []);
    let (first, last) = found.range.unwrap();
    assert!(first > 100 && last == 600, "{first} to {last}");
    // Two months later nothing of then is left.
    for i in 600..700 {
        trail
            .append(&event(i), 0, START + 86_400 * 60 + i as i64)
            .unwrap();
    }
    let found = verified(dir.path());
    assert_eq!(found.problems, []);
    let mut oldest = i64::MAX;
    show(dir.path(), 0, |e| oldest = oldest.min(e.ts)).unwrap();
    assert!(found.range.unwrap().0 > first, "{found:?}");
}

#[test]
fn a_crash_while_old_segments_go_leaves_a_trail_that_holds() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        max_bytes: 1 << 20,
        ..Options::default()
    };
    let mut trail = Trail::new(dir.path(), Keys::new(&Master::of(1)), options);
    for i in 0..600 {
        trail.append(&event(i), 0, START + i as i64).unwrap();
    }
    let files = fs::read_dir(dir.path().join("audit")).unwrap();
    let files = files.map(|f| f.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|f| f.extension().is_some_and(|e| e == "log"))
        .collect();
    segments.sort();
    assert!(segments.len() > 2);
    for pair in segments.windows(2) {
        trail.anchor(&pair[1], START + 600).unwrap();
        assert_eq!(verified(dir.path()).problems, [], "signed, and not gone yet");
        fs::remove_file(&pair[0]).unwrap();
        assert_eq!(
            verified(dir.path()).problems,
            [],
            "gone, and the checkpoints not yet"
        );
    }
}

#[test]
fn what_is_told_is_written_folded_and_sealed_when_the_program_ends() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(START as u64));
    let shared: SharedClock = clock;
    let master = Master::of(1);
    let tasks = Tasks::new();
    let (sent, alerts) = std::sync::mpsc::channel();
    let audit = Audit::start(
        &tasks,
        dir.path(),
        &master,
        Options::default(),
        shared.clone(),
        Metrics::new(),
        Box::new(move |alert| sent.send(alert).is_ok()),
    )
    .unwrap();
    let view = Event::new(audit.user("anna"), Action::ReportViewed, Purpose::Audience).object("door");
    for _ in 0..30 {
        audit.note(view.clone().params("since=2026-01-01"));
    }
    audit.note(
        Event::new(Actor::Relay, Action::Setting, Purpose::Operation)
            .object("privacy.k")
            .detail("5 -> 3"),
    );
    drop(audit);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert!(runtime.block_on(tasks.shutdown(Duration::from_secs(20))));
    let found = verified(dir.path());
    assert_eq!(found.problems, []);
    let mut entries = Vec::new();
    show(dir.path(), 0, |e| entries.push(e.clone())).unwrap();
    let told: Vec<_> = entries.iter().map(|e| (e.action, e.repeats)).collect();
    assert_eq!(
        told,
        [
            (Action::ReportViewed, 0),
            (Action::AlertRaised, 0),
            (Action::Setting, 0),
            (Action::ReportViewed, 29)
        ]
    );
    assert_eq!(alerts.try_recv().unwrap().rule, rules::Rule::Downgrade);
    let text = fs::read_to_string(segment(dir.path())).unwrap();
    assert!(!text.contains("anna") && !text.contains("2026-01-01"), "{text}");
    assert_eq!(found.checkpoints, 2, "at the first entry and at the end");
    assert_eq!(last_settings(dir.path()).unwrap()["privacy.k"], "3");
    assert!(!shared.wall().duration_since(UNIX_EPOCH).unwrap().is_zero());
    let _ = Arc::clone(&shared);
}

#[test]
fn entries_older_than_is_kept_go_also_where_little_happens() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        keep: Duration::from_secs(86_400 * 30),
        ..Options::default()
    };
    let mut trail = Trail::new(dir.path(), Keys::new(&Master::of(1)), options);
    for day in 0..100 {
        trail.append(&event(1), 0, START + 86_400 * day).unwrap();
    }
    let mut oldest = i64::MAX;
    show(dir.path(), 0, |e| oldest = oldest.min(e.ts)).unwrap();
    let days = (START + 86_400 * 99 - oldest) / 86_400;
    assert!((30..=31).contains(&days), "{days} days");
    assert_eq!(verified(dir.path()).problems, []);
}

#[test]
fn a_command_deletes_nothing_that_the_relay_is_to_keep() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        keep: Duration::from_secs(86_400 * 365 * 5),
        ..Options::default()
    };
    let mut trail = Trail::new(dir.path(), Keys::new(&Master::of(1)), options);
    trail.append(&event(1), 0, START).unwrap();
    trail.append(&event(2), 0, START + 86_400).unwrap();
    let later = Duration::from_secs(START as u64 + 86_400 * 400);
    let clock: SharedClock = ManualClock::new(UNIX_EPOCH + later);
    write_now(dir.path(), &Master::of(1), &clock, &event(3)).unwrap();
    assert_eq!(verified(dir.path()).range, Some((1, 3)));
}

/// A trail that is being kept, and what its rules tell.
fn kept(dir: &Path, metrics: Arc<Metrics>) -> (Tasks, Audit, Arc<ManualClock>, Alerts) {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(START as u64));
    let tasks = Tasks::new();
    let (sent, alerts) = std::sync::mpsc::channel();
    let audit = Audit::start(
        &tasks,
        dir,
        &Master::of(1),
        Options::default(),
        clock.clone(),
        metrics,
        Box::new(move |alert| sent.send(alert).is_ok()),
    )
    .unwrap();
    (tasks, audit, clock, alerts)
}

type Alerts = std::sync::mpsc::Receiver<rules::Alert>;

/// Lets the thread look at the clock until a rule tells something.
fn told(alerts: &Alerts, clock: &ManualClock) -> rules::Rule {
    for _ in 0..200 {
        clock.advance(Duration::from_secs(1));
        if let Ok(alert) = alerts.recv_timeout(Duration::from_millis(100)) {
            return alert.rule;
        }
    }
    panic!("no rule told anything");
}

#[test]
fn what_was_redacted_and_purges_that_fail_are_in_the_trail_and_raise_alerts() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new();
    let (tasks, audit, clock, alerts) = kept(dir.path(), metrics.clone());
    metrics.lose(Reason::Redacted, 3);
    assert_eq!(told(&alerts, &clock), rules::Rule::Redaction);
    metrics.lose(Reason::PurgeFailed, 2);
    assert_eq!(told(&alerts, &clock), rules::Rule::Late);
    drop(audit);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert!(runtime.block_on(tasks.shutdown(Duration::from_secs(20))));
    let mut found = Vec::new();
    show(dir.path(), 0, |e| found.push((e.action, e.amount))).unwrap();
    assert!(
        found.contains(&(Action::Redacted, 3)) && found.contains(&(Action::Purged, 2)),
        "{found:?}"
    );
}

#[test]
fn rules_are_for_what_commands_do_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (_tasks, audit, clock, alerts) = kept(dir.path(), Metrics::new());
    audit.note(Event::new(Actor::Relay, Action::Started, Purpose::Operation));
    let shared: SharedClock = clock.clone();
    while verified(dir.path()).entries == 0 {
        std::thread::yield_now();
    }
    let broken = Event::new(Actor::Shell, Action::AuditVerified, Purpose::Accountability);
    write_now(
        dir.path(),
        &Master::of(1),
        &shared,
        &broken.outcome(Outcome::Failed),
    )
    .unwrap();
    assert_eq!(told(&alerts, &clock), rules::Rule::TrailBroken);
    write_now(dir.path(), &Master::of(1), &shared, &event(5_000)).unwrap();
    assert_eq!(told(&alerts, &clock), rules::Rule::ManyRows);
}

#[test]
fn questions_at_the_shell_are_judged_as_those_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let (_tasks, audit, clock, alerts) = kept(dir.path(), Metrics::new());
    audit.note(Event::new(Actor::Relay, Action::Started, Purpose::Operation));
    let shared: SharedClock = clock.clone();
    while verified(dir.path()).entries == 0 {
        std::thread::yield_now();
    }
    let ask = |path: &str, until: u32| {
        let look = Event::new(Actor::Shell, Action::ReportViewed, Purpose::Audience)
            .object(path)
            .hidden(2)
            .params(format!("since=1&until={until}"));
        write_now(dir.path(), &Master::of(1), &shared, &look).unwrap();
    };
    // Six pairs that differ in one word.
    (1..=4).for_each(|until| ask("door", until));
    assert_eq!(told(&alerts, &clock), rules::Rule::Differencing);
    clock.advance(Duration::from_secs(3 * 3600));
    (1..=11).for_each(|until| ask("ward-3", until));
    let raised = [told(&alerts, &clock), told(&alerts, &clock)];
    assert!(raised.contains(&rules::Rule::OnePathOften), "{raised:?}");
    let mut looks = 0;
    show(dir.path(), 0, |entry| {
        if entry.action == Action::ReportViewed {
            looks += 1;
            assert_eq!(entry.hidden, 2);
            assert!(!entry.params.contains("since=1&"), "values are digests");
        }
    })
    .unwrap();
    assert_eq!(looks, 15);
}
