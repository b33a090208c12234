//! Rules over the stream of events: signs that somebody uses the statistics against viewers, or weakens what protects
//! them. Pure; time comes in as seconds since 1970.
//!
//! What a rule remembers is bounded and about who acts, never about who watches. What an actor usually does is learnt
//! from the trail of the last thirty days. Three rules of the list that this follows have nothing to look at yet: a new
//! device of an administrator (devices are not known here, on purpose), backups, break-glass.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;

use crate::audit::entry::Action;
use crate::audit::entry::Actor;
use crate::audit::entry::Entry;
use crate::audit::entry::Event;
use crate::audit::entry::Outcome;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Rows that may leave in an hour whatever is usual.
const EXPORT_ROWS: u64 = 1_000;
/// Different questions in ten minutes whose answers had hidden cells. (Cells themselves say nothing: where few watch,
/// every page has dozens.)
const HIDDEN_ANSWERS: usize = 20;
/// Pairs of questions about one path that differ in one word, in ten minutes, where something is hidden.
const SIMILAR_PAIRS: usize = 5;
/// Accesses after which an actor's hours are known.
const KNOWN_HABIT: u32 = 50;
/// Wrong credentials in ten minutes.
const FAILED_LOGINS: usize = 5;
/// Looks at one path with few viewers, in an hour.
const SAME_PATH: usize = 10;
/// The same rule is told once in so long, for an actor.
const QUIET: i64 = HOUR;

/// Actors that are remembered.
const MOST_ACTORS: usize = 256;
/// Events of an actor that are remembered.
const MOST_EVENTS: usize = 128;

/// What was noticed. It has nothing of a viewer, and no name of who acted but their tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    pub rule: Rule,
    pub actor: Actor,
    /// Seconds since 1970.
    pub ts: i64,
}

/// The rules, numbered as in the list that they follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    ManyRows = 1,
    Differencing = 2,
    UnusualHour = 3,
    ExportByNewUser = 5,
    FailedLogins = 6,
    OnePathOften = 7,
    Downgrade = 8,
    TrailBroken = 9,
    Late = 11,
    Redaction = 12,
}

impl Rule {
    /// All there are.
    pub const ALL: [Self; 10] = [
        Self::ManyRows,
        Self::Differencing,
        Self::UnusualHour,
        Self::ExportByNewUser,
        Self::FailedLogins,
        Self::OnePathOften,
        Self::Downgrade,
        Self::TrailBroken,
        Self::Late,
        Self::Redaction,
    ];
    /// A name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::ManyRows => "many-rows",
            Self::Differencing => "differencing",
            Self::UnusualHour => "unusual-hour",
            Self::ExportByNewUser => "export-by-new-user",
            Self::FailedLogins => "failed-logins",
            Self::OnePathOften => "one-path-often",
            Self::Downgrade => "privacy-downgrade",
            Self::TrailBroken => "trail-broken",
            Self::Late => "late",
            Self::Redaction => "redaction",
        }
    }
    /// A sentence for people: what was noticed, and what to do.
    pub fn text(self) -> &'static str {
        match self {
            Self::ManyRows => {
                "Far more rows than usual left in an hour. Ask who exported them, and what for."
            }
            Self::Differencing => {
                "Questions were asked that differ in one word, or many hidden cells were asked for: somebody may try to \
                 work out single viewers. Look at the trail."
            }
            Self::UnusualHour => {
                "The statistics were read at an hour at which this account never read them. Ask its owner."
            }
            Self::ExportByNewUser => {
                "Statistics were exported less than a day after users were changed. Check that the change was meant."
            }
            Self::FailedLogins => {
                "Wrong credentials came again and again. Somebody may be guessing: use long passwords, and limit who can \
                 reach the listener."
            }
            Self::OnePathOften => {
                "The statistics of one path with few viewers were opened again and again. Somebody may be following a person."
            }
            Self::Downgrade => {
                "A setting that protects viewers was weakened. Check that this was decided, and that the notice says so."
            }
            Self::TrailBroken => {
                "The audit trail does not hold, or lost events. `louver audit verify` tells where."
            }
            Self::Late => {
                "A key outlived its day, or a deletion failed. Look at the log, and at the clock of this machine."
            }
            Self::Redaction => {
                "Something that could name a viewer was taken out of a log line. It is a bug: please report it."
            }
        }
    }
}

/// What the rules remember.
#[derive(Default)]
pub struct Watch {
    actors: HashMap<Actor, Habits>,
    logins: VecDeque<i64>,
    users_changed: Option<i64>,
    told: HashMap<(Rule, Actor), i64>,
}

/// What one actor does.
#[derive(Default)]
struct Habits {
    /// Reads by hour of the day (UTC).
    hours: [u32; 24],
    /// Rows exported, by hour since 1970; the last thirty days.
    exports: BTreeMap<i64, u64>,
    reports: VecDeque<Report>,
}

/// A page that asks again by itself within this is one look.
const SAME_LOOK: i64 = 2 * MINUTE;

struct Report {
    ts: i64,
    last: i64,
    path: String,
    params: String,
    hidden: u32,
}

impl Watch {
    /// Learns what is usual from an entry that was written before. Raises nothing.
    pub fn learn(&mut self, entry: &Entry) {
        match entry.action {
            Action::ReportViewed | Action::Exported => {
                let Some(habits) = self.habits(entry.actor) else {
                    return;
                };
                habits.note_hour(entry.ts);
                if entry.action == Action::Exported {
                    habits.note_export(entry.ts, entry.amount);
                }
            }
            Action::Setting if entry.object == "auth.users" => self.users_changed = Some(entry.ts),
            _ => {}
        }
    }

    /// Looks at what just happened.
    pub fn see(&mut self, event: &Event, now: i64) -> Vec<Alert> {
        let rules = match event.action {
            Action::ReportViewed => self.report(event, now),
            Action::Exported => self.export(event, now),
            Action::LoginFailed => self.login(now),
            Action::Setting => {
                if event.object == "auth.users" {
                    self.users_changed = Some(now);
                }
                rule_if(weakens(&event.object, &event.detail), Rule::Downgrade)
            }
            Action::AuditVerified => rule_if(event.outcome == Outcome::Failed, Rule::TrailBroken),
            Action::KeyRotated | Action::Purged => rule_if(event.outcome == Outcome::Failed, Rule::Late),
            Action::Redacted => vec![Rule::Redaction],
            _ => Vec::new(),
        };
        let mut alerts = Vec::new();
        self.told.retain(|_, at| (0..QUIET).contains(&(now - *at)));
        for rule in rules {
            if self.told.insert((rule, event.actor), now).is_none() || rule == Rule::Downgrade {
                alerts.push(Alert {
                    rule,
                    actor: event.actor,
                    ts: now,
                });
            }
        }
        alerts
    }

    fn habits(&mut self, actor: Actor) -> Option<&mut Habits> {
        if self.actors.len() >= MOST_ACTORS && !self.actors.contains_key(&actor) {
            return None;
        }
        Some(self.actors.entry(actor).or_default())
    }

    fn report(&mut self, event: &Event, now: i64) -> Vec<Rule> {
        let Some(habits) = self.habits(event.actor) else {
            return Vec::new();
        };
        let mut rules = rule_if(habits.is_unusual(now), Rule::UnusualHour);
        habits.note_hour(now);
        rules.extend(habits.question(event, now));
        rules
    }

    fn export(&mut self, event: &Event, now: i64) -> Vec<Rule> {
        let changed = self.users_changed.is_some_and(|at| now - at < DAY);
        let mut rules = rule_if(changed, Rule::ExportByNewUser);
        let Some(habits) = self.habits(event.actor) else {
            return rules;
        };
        rules.extend(rule_if(habits.is_unusual(now), Rule::UnusualHour));
        habits.note_hour(now);
        // A file answers the same questions as a page.
        rules.extend(habits.question(event, now));
        let usual = habits.usual_rows(now);
        let rows = habits.note_export(now, event.amount);
        rules.extend(rule_if(
            rows > EXPORT_ROWS.max(usual.saturating_mul(3)),
            Rule::ManyRows,
        ));
        rules
    }

    fn login(&mut self, now: i64) -> Vec<Rule> {
        self.logins.retain(|at| (0..10 * MINUTE).contains(&(now - at)));
        if self.logins.len() < MOST_EVENTS {
            self.logins.push_back(now);
        }
        rule_if(self.logins.len() >= FAILED_LOGINS, Rule::FailedLogins)
    }
}

fn rule_if(holds: bool, rule: Rule) -> Vec<Rule> {
    if holds { vec![rule] } else { Vec::new() }
}

impl Habits {
    /// Remembers a question, and what the last ones were for together.
    fn question(&mut self, event: &Event, now: i64) -> Vec<Rule> {
        self.reports.retain(|r| (0..HOUR).contains(&(now - r.last)));
        let same =
            |r: &&mut Report| r.path == event.object && r.params == event.params && now - r.last <= SAME_LOOK;
        if let Some(report) = self.reports.iter_mut().find(same) {
            report.last = now;
            return Vec::new();
        }
        if self.reports.len() == MOST_EVENTS {
            self.reports.pop_front();
        }
        self.reports.push_back(Report {
            ts: now,
            last: now,
            path: event.object.clone(),
            params: event.params.clone(),
            hidden: event.hidden,
        });
        let small =
            |r: &&Report| r.hidden > 0 && !r.path.is_empty() && r.path == event.object && now - r.ts < HOUR;
        let often = self.reports.iter().filter(small).count() > SAME_PATH;
        let mut rules = rule_if(often, Rule::OnePathOften);
        rules.extend(rule_if(self.tries_differences(now), Rule::Differencing));
        rules
    }

    fn note_hour(&mut self, ts: i64) {
        let hour = &mut self.hours[hour_of_day(ts)];
        *hour = hour.saturating_add(1);
    }

    /// An hour in which, and beside which, this actor was never seen before.
    fn is_unusual(&self, now: i64) -> bool {
        let at = hour_of_day(now);
        let near = [at, (at + 1) % 24, (at + 23) % 24];
        let known: u32 = self.hours.iter().fold(0, |sum, n| sum.saturating_add(*n));
        known >= KNOWN_HABIT && near.iter().all(|h| self.hours[*h] == 0)
    }

    /// Adds rows to this hour's; how many it has now.
    fn note_export(&mut self, ts: i64, rows: u64) -> u64 {
        let hour = ts.div_euclid(HOUR);
        self.exports.retain(|h, _| hour - h < 30 * 24);
        let of_hour = self.exports.entry(hour).or_default();
        *of_hour = of_hour.saturating_add(rows);
        *of_hour
    }

    /// The 95th percentile of the hours with exports, without this one.
    fn usual_rows(&self, now: i64) -> u64 {
        let hour = now.div_euclid(HOUR);
        let mut rows: Vec<u64> = self
            .exports
            .iter()
            .filter(|(h, _)| **h != hour)
            .map(|(_, n)| *n)
            .collect();
        rows.sort_unstable();
        let at = (rows.len() * 95).div_ceil(100).saturating_sub(1);
        rows.get(at).copied().unwrap_or(0)
    }

    fn tries_differences(&self, now: i64) -> bool {
        let recent: Vec<&Report> = self.reports.iter().filter(|r| now - r.ts < 10 * MINUTE).collect();
        let hidden = || recent.iter().filter(|r| r.hidden > 0);
        let mut pairs: HashMap<&str, usize> = HashMap::new();
        for (n, one) in hidden().enumerate() {
            for other in hidden().take(n).filter(|o| o.path == one.path) {
                *pairs.entry(&one.path).or_default() +=
                    usize::from(differ_in_one(&one.params, &other.params));
            }
        }
        hidden().count() >= HIDDEN_ANSWERS || pairs.values().any(|n| *n >= SIMILAR_PAIRS)
    }
}

fn hour_of_day(ts: i64) -> usize {
    usize::try_from(ts.rem_euclid(DAY) / HOUR).expect("a day has 24 hours")
}

/// Questions are `name=value` pairs with `&` between them.
fn differ_in_one(a: &str, b: &str) -> bool {
    let words = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let (left, right) = (words(a), words(b));
    let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
    names.sort();
    names.dedup();
    names.iter().filter(|n| left.get(**n) != right.get(**n)).count() == 1
}

/// Whether a change (`old -> new`) of a setting protects viewers less.
fn weakens(setting: &str, change: &str) -> bool {
    let Some((old, new)) = change.split_once(" -> ") else {
        return false; // the first start: nothing was before
    };
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    };
    let rank = |order: &[&str], text: &str| order.iter().position(|word| *word == text);
    let grows = |order: &[&str]| rank(order, new) > rank(order, old);
    match setting {
        "privacy.k" => number(new) < number(old),
        "privacy.consent" => grows(&["off", "opt-in", "exempt"]),
        "privacy.level" => grows(&["anonymous", "pseudonymous", "identified"]),
        "privacy.mask" => grows(&["strict", "usual"]),
        "privacy.sensitive_paths" => {
            let of = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let kept = of(new);
            // Of many paths there is a digest, which does not tell what went.
            old != "none" && (new.contains('#') || of(old).iter().any(|path| !kept.contains(path)))
        }
        "auth.required" => grows(&["always", "auto"]),
        "privacy.core_dumps" | "privacy.countries" => new == "true",
        "privacy.receipts" => new == "false",
        "stats.database" => new == "a server",
        "alerts.mail" | "alerts.webhook" => new == "off",
        "audit.keep" => number(new) < number(old),
        "privacy.consent_days" => number(new) > number(old),
        "http.reach" => grows(&["off", "this machine", "network"]),
        _ if setting.starts_with("retention.") => number(new) > number(old),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::entry::Purpose;

    const NOON: i64 = 1_700_000_000 / DAY * DAY + 12 * HOUR;

    fn event(action: Action) -> Event {
        Event::new(Actor::Local, action, Purpose::Audience)
    }

    fn rules(alerts: Vec<Alert>) -> Vec<Rule> {
        alerts.into_iter().map(|alert| alert.rule).collect()
    }

    #[test]
    fn many_rows_are_those_beyond_three_times_the_usual() {
        let mut watch = Watch::default();
        for day in 0..20 {
            let usual = event(Action::Exported).amount(900);
            assert!(watch.see(&usual, NOON + day * DAY).is_empty());
        }
        let now = NOON + 20 * DAY;
        assert!(watch.see(&event(Action::Exported).amount(2_700), now).is_empty());
        assert_eq!(
            rules(watch.see(&event(Action::Exported).amount(1), now)),
            [Rule::ManyRows]
        );
        assert!(
            watch
                .see(&event(Action::Exported).amount(9_000), now + 5)
                .is_empty(),
            "told once in an hour"
        );
    }

    #[test]
    fn questions_that_slide_over_a_range_are_an_attempt_and_the_same_page_again_is_none() {
        let mut watch = Watch::default();
        let ask = |until: u32| {
            event(Action::ReportViewed)
                .hidden(1)
                .params(format!("since=1&until={until}"))
        };
        for n in 0..200 {
            assert!(watch.see(&ask(2), NOON + n).is_empty());
        }
        let told = (3..6).flat_map(|until| watch.see(&ask(until), NOON + 200));
        assert_eq!(rules(told.collect()), [Rule::Differencing]);
        let mut watch = Watch::default();
        let open = |until: u32| event(Action::ReportViewed).params(format!("since=1&until={until}"));
        assert!(
            (0..50).all(|n| watch.see(&open(n), NOON).is_empty()),
            "nothing was hidden"
        );
    }

    #[test]
    fn questions_whose_answers_leave_as_files_count_as_well() {
        let mut watch = Watch::default();
        let ask = |until: u32| {
            let export = event(Action::Exported).hidden(1).amount(1);
            export.params(format!("since=1&until={until}"))
        };
        let told = (2..6).flat_map(|until| watch.see(&ask(until), NOON));
        assert_eq!(rules(told.collect()), [Rule::Differencing]);
    }

    #[test]
    fn paging_through_paths_and_periods_is_no_attempt() {
        let mut watch = Watch::default();
        for path in ["", "a", "b", "c"] {
            for since in 0..3 {
                let page = event(Action::ReportViewed).object(path).hidden(60);
                assert!(watch.see(&page.params(format!("since={since}")), NOON).is_empty());
            }
        }
    }

    #[test]
    fn twenty_answers_with_hidden_cells_in_ten_minutes_are_an_attempt() {
        let mut watch = Watch::default();
        let page = |n: i64| {
            let path = format!("path{}", n % 10);
            let page = event(Action::ReportViewed).object(&path).hidden(6);
            page.params(format!("since={n}&until={n}"))
        };
        let slow: Vec<_> = (0..40).flat_map(|n| watch.see(&page(n), NOON + n * 60)).collect();
        assert_eq!(slow, []);
        let fast: Vec<_> = (100..120)
            .flat_map(|n| watch.see(&page(n), NOON + 9_000))
            .collect();
        assert_eq!(rules(fast), [Rule::Differencing]);
    }

    #[test]
    fn an_hour_is_unusual_once_the_habit_is_known() {
        let mut watch = Watch::default();
        for n in 0..60 {
            watch.learn(&Entry {
                seq: 1,
                ts: NOON + n,
                actor: Actor::Local,
                action: Action::ReportViewed,
                object: String::new(),
                detail: String::new(),
                purpose: Purpose::Audience,
                outcome: Outcome::Done,
                amount: 0,
                hidden: 0,
                params: String::new(),
                repeats: 0,
                prev: [0; 32],
            });
        }
        assert!(
            watch
                .see(&event(Action::ReportViewed), NOON + DAY + HOUR)
                .is_empty()
        );
        let night = NOON + DAY + 15 * HOUR;
        assert_eq!(
            rules(watch.see(&event(Action::ReportViewed), night)),
            [Rule::UnusualHour]
        );
        let other = Event::new(Actor::User([1; 4]), Action::ReportViewed, Purpose::Audience);
        assert!(watch.see(&other, night).is_empty(), "nothing is known of them");
    }

    #[test]
    fn one_path_with_few_viewers_may_be_looked_at_ten_times_an_hour() {
        let mut watch = Watch::default();
        let look = event(Action::ReportViewed).object("ward-3").hidden(1);
        let often = |watch: &mut Watch, every: i64| {
            let looks = (0..11).flat_map(|n| watch.see(&look, NOON + n * every));
            rules(looks.collect())
        };
        assert_eq!(often(&mut watch, 150), [Rule::OnePathOften]);
        assert_eq!(often(&mut Watch::default(), 400), [], "slower is allowed");
        assert_eq!(
            often(&mut Watch::default(), 60),
            [],
            "a page that refreshes itself"
        );
        let mut watch = Watch::default();
        let look = event(Action::ReportViewed).object("square");
        assert!((0..50).all(|n| watch.see(&look, NOON + n).is_empty()));
    }

    #[test]
    fn five_wrong_logins_and_an_export_after_users_changed_are_told() {
        let mut watch = Watch::default();
        let wrong = Event::new(Actor::Stranger, Action::LoginFailed, Purpose::Security);
        let times: Vec<_> = (0..5).flat_map(|n| watch.see(&wrong, NOON + n)).collect();
        assert_eq!(rules(times), [Rule::FailedLogins]);
        let users = event(Action::Setting).object("auth.users").detail("1 -> 2");
        assert!(watch.see(&users, NOON).is_empty());
        let export = event(Action::Exported).amount(1);
        assert_eq!(rules(watch.see(&export, NOON + HOUR)), [Rule::ExportByNewUser]);
    }

    #[test]
    fn whatever_weakens_protection_is_told_every_time_and_what_strengthens_it_never() {
        let cases = [
            ("privacy.k", "5 -> 3", true),
            ("privacy.k", "5 -> 10", false),
            ("privacy.level", "pseudonymous -> identified", true),
            ("privacy.level", "pseudonymous -> anonymous", false),
            ("privacy.consent", "opt-in -> exempt", true),
            ("privacy.consent", "exempt -> off", false),
            ("privacy.sensitive_paths", "a b -> b", true),
            ("privacy.sensitive_paths", "none -> b", false),
            ("alerts.webhook", "on -> off", true),
            ("alerts.mail", "off -> on", false),
            ("retention.days", "761 d -> 3650 d", true),
            ("retention.sessions", "7 d -> 1 d", false),
            ("audit.keep", "365 d -> 30 d", true),
            ("audit.keep", "30 d -> 365 d", false),
            ("privacy.receipts", "true -> false", true),
            ("stats.database", "a file -> a server", true),
            ("privacy.countries", "false -> true", true),
            ("privacy.consent_days", "180 -> 365", true),
            ("http.reach", "this machine -> network", true),
            ("http.reach", "network -> off", false),
            ("privacy.sensitive_paths", "a b -> 90 #00ff00ff", true),
            ("privacy.sensitive_paths", "90 #00ff00ff -> 89 #11ff00ff", true),
            ("privacy.sensitive_paths", "90 #00ff00ff -> none", true),
            ("privacy.sensitive_paths", "none -> 90 #00ff00ff", false),
            ("privacy.time_zone", "UTC -> Europe/Paris", false),
            ("privacy.k", "5", false),
        ];
        let mut watch = Watch::default();
        for (object, detail, worse) in cases {
            let change = event(Action::Setting).object(object).detail(detail);
            let told = rules(watch.see(&change, NOON));
            let want: &[Rule] = if worse { &[Rule::Downgrade] } else { &[] };
            assert_eq!(told, want, "{object}: {detail}");
        }
    }

    #[test]
    fn what_goes_wrong_in_the_relay_is_told() {
        let mut watch = Watch::default();
        let failed = |action| event(action).outcome(Outcome::Failed);
        assert_eq!(
            rules(watch.see(&failed(Action::AuditVerified), NOON)),
            [Rule::TrailBroken]
        );
        assert_eq!(rules(watch.see(&failed(Action::Purged), NOON)), [Rule::Late]);
        assert!(watch.see(&event(Action::KeyRotated).amount(1), NOON).is_empty());
        assert_eq!(
            rules(watch.see(&failed(Action::KeyRotated), NOON + 2 * HOUR)),
            [Rule::Late]
        );
        assert_eq!(
            rules(watch.see(&event(Action::Redacted), NOON)),
            [Rule::Redaction]
        );
    }

    #[test]
    fn every_rule_has_a_name_and_says_what_to_do() {
        let names: std::collections::HashSet<_> = Rule::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Rule::ALL.len());
        assert!(
            Rule::ALL
                .iter()
                .all(|r| r.text().ends_with('.') && r.text().len() > 40)
        );
    }
}
