//! `louver privacy self-check`: what is wrong with the settings and the machine, each with what to do. Pure: what is known
//! of the machine comes in.

use crate::papers::options::Options;

/// The most days that 25 months can have.
const MONTHS_25: u32 = 762;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Good,
    /// Worth a thought; the exit status stays 0.
    Warning,
    /// Exit status 1.
    Bad,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub grade: Grade,
    /// A name for programs.
    pub name: &'static str,
    /// What was found, and what to do when it is not good.
    pub text: String,
}

/// What is known of the machine and the files. `None`: it cannot be told here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Whether swap is there and none of it encrypted.
    pub plain_swap: Option<bool>,
    /// Whether the build has the database overwrite deleted rows. It is set for each connection, so a file cannot tell.
    pub secure_delete: Option<bool>,
    /// Hours since the write-ahead log began to hold what it holds; 0 when it is empty.
    pub wal_hours: Option<u64>,
    /// Files of the data directory that others than the owner can read.
    pub readable: Vec<String>,
    /// Problems of the audit trail.
    pub audit_problems: Option<usize>,
}

/// All questions, answered.
pub fn self_check(o: &Options, m: &Machine) -> Vec<Finding> {
    let mut all = of_settings(o);
    all.extend(of_machine(m));
    all
}

fn finding(name: &'static str, wrong: bool, bad: Grade, good: &str, text: &str) -> Finding {
    Finding {
        name,
        grade: if wrong { bad } else { Grade::Good },
        text: (if wrong { text } else { good }).to_owned(),
    }
}

fn of_settings(o: &Options) -> Vec<Finding> {
    use Grade::Bad;
    use Grade::Warning;
    let longest = o.rows_days.max(o.hours_days).max(o.counts_days);
    vec![
        finding(
            "plaintext-admin",
            o.open_http,
            Bad,
            "the page and the API are for this machine alone, or off",
            "other machines can reach the page and the API without TLS, so passwords and statistics pass in the clear; let \
             [http] listen on 127.0.0.1 and put a proxy with TLS in front of it",
        ),
        finding(
            "small-k",
            o.k < 5,
            Bad,
            "groups below k >= 5 are hidden",
            "k is below 5, so single viewers can be worked out; raise k in [privacy]",
        ),
        finding(
            "retention",
            longest > MONTHS_25,
            Bad,
            "nothing is kept for more than 25 months",
            "something is kept for more than 25 months; lower it",
        ),
        finding(
            "core-dumps",
            o.core_dumps,
            Bad,
            "core files are switched off",
            "core files are allowed, and hold keys and addresses; set core_dumps = false in [privacy]",
        ),
        finding(
            "trusted-proxies",
            o.trusts_everybody,
            Bad,
            "no network of everybody is trusted to name addresses",
            "everybody may name any address as theirs; name your proxies alone in trusted_proxies",
        ),
        finding(
            "controller",
            o.controller.is_empty() || o.contact.is_empty(),
            Warning,
            "the notice says who is responsible",
            "the notice does not say who is responsible; set controller and contact in [notice]",
        ),
        finding(
            "plaintext-streams",
            o.open_rtsp && !o.encrypted_rtsp,
            Warning,
            "streams for other machines are encrypted, or there are none",
            "other machines can reach streams without TLS only; switch [rtsps] on",
        ),
        finding(
            "alerts",
            !o.alerts_by_mail && !o.alerts_by_webhook,
            Warning,
            "alerts go out",
            "alerts are in the log alone, as `A rule about behaviour holds.`; name smtp or webhook in [alerts], or have a program read \
             the log",
        ),
    ]
}

fn of_machine(m: &Machine) -> Vec<Finding> {
    let asked = |name, wrong: Option<bool>, bad, good: &str, text: &str| match wrong {
        Some(wrong) => finding(name, wrong, bad, good, text),
        None => {
            let unknown = match name {
                "audit-trail" => "there is no audit trail to read; the relay makes it at its first start",
                _ => "this system does not tell; look yourself",
            };
            finding(name, true, Grade::Warning, "", unknown)
        }
    };
    let mut all = vec![
        asked(
            "swap",
            m.plain_swap,
            Grade::Warning,
            "there is no swap, or it is encrypted",
            "swap is not encrypted; memory of this machine may get to disk: encrypt it, or switch it off",
        ),
        asked(
            "secure-delete",
            m.secure_delete.map(|on| !on),
            Grade::Bad,
            "this build has the database overwrite what is deleted: set on every connection, not measured here",
            "the database does not overwrite what is deleted",
        ),
        asked(
            "write-ahead-log",
            m.wal_hours.map(|hours| hours > 24),
            Grade::Bad,
            "the write-ahead log is young or empty",
            "the write-ahead log has not been emptied for more than 24 hours, so deleted rows may be in it; start the relay, \
             and close what reads the database",
        ),
        asked(
            "audit-trail",
            m.audit_problems.map(|n| n > 0),
            Grade::Bad,
            "the audit trail holds",
            "the audit trail does not hold; `louver audit verify` tells where",
        ),
    ];
    all.push(finding(
        "permissions",
        !m.readable.is_empty(),
        Grade::Bad,
        "only the owner can read the data",
        &format!(
            "others can read {}; take their rights away (chmod go=)",
            m.readable.join(", ")
        ),
    ));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> (Options, Machine) {
        let o = Options {
            controller: "c".into(),
            contact: "d".into(),
            k: 5,
            rows_days: 7,
            hours_days: 90,
            counts_days: 761,
            alerts_by_mail: true,
            ..Options::default()
        };
        let m = Machine {
            plain_swap: Some(false),
            secure_delete: Some(true),
            wal_hours: Some(0),
            readable: Vec::new(),
            audit_problems: Some(0),
        };
        (o, m)
    }

    #[test]
    fn good_settings_on_a_good_machine_have_no_finding() {
        let (o, m) = good();
        assert!(self_check(&o, &m).iter().all(|f| f.grade == Grade::Good));
    }

    #[test]
    fn each_thing_that_is_wrong_is_found_alone() {
        type Spoil = fn(&mut Options, &mut Machine);
        let cases: [(&str, Grade, Spoil); 13] = [
            ("plaintext-admin", Grade::Bad, |o, _| o.open_http = true),
            ("small-k", Grade::Bad, |o, _| o.k = 4),
            ("retention", Grade::Bad, |o, _| o.counts_days = 763),
            ("core-dumps", Grade::Bad, |o, _| o.core_dumps = true),
            ("trusted-proxies", Grade::Bad, |o, _| o.trusts_everybody = true),
            ("controller", Grade::Warning, |o, _| o.controller.clear()),
            ("plaintext-streams", Grade::Warning, |o, _| o.open_rtsp = true),
            ("alerts", Grade::Warning, |o, _| o.alerts_by_mail = false),
            ("swap", Grade::Warning, |_, m| m.plain_swap = Some(true)),
            ("secure-delete", Grade::Bad, |_, m| m.secure_delete = Some(false)),
            ("write-ahead-log", Grade::Bad, |_, m| m.wal_hours = Some(25)),
            ("audit-trail", Grade::Bad, |_, m| m.audit_problems = Some(1)),
            ("permissions", Grade::Bad, |_, m| {
                m.readable = vec!["louver.db".into()]
            }),
        ];
        for (name, grade, spoil) in cases {
            let (mut o, mut m) = good();
            spoil(&mut o, &mut m);
            let found: Vec<_> = self_check(&o, &m)
                .into_iter()
                .filter(|f| f.grade != Grade::Good)
                .map(|f| (f.name, f.grade))
                .collect();
            assert_eq!(found, [(name, grade)]);
        }
    }
}
