//! The record of processing activities (Art. 30(1) GDPR, letters a to g). English.

use crate::papers::Lang;
use crate::papers::document::Document;
use crate::papers::notice::kept_for;
use crate::papers::options::Options;
use crate::privacy::Consent;
use crate::privacy::fields;
use crate::privacy::fields::Basis;
use crate::privacy::fields::Purpose;

/// The record of a relay with these settings.
pub fn record(o: &Options) -> Document {
    let mut d = Document::new("Record of processing activities (Art. 30 GDPR)", "en");
    d.text(format!(
        "Made by the relay from its settings, version {}. Check it, and complete what is missing.",
        o.version()
    ));
    d.heading("(a) Controller");
    d.table(
        &["What", "Who"],
        vec![
            vec!["Controller".into(), Options::or_missing(&o.controller).into()],
            vec!["Contact".into(), Options::or_missing(&o.contact).into()],
            vec![
                "Data protection officer".into(),
                if o.dpo.is_empty() {
                    "none named".into()
                } else {
                    o.dpo.clone()
                },
            ],
            vec![
                "Supervisory authority".into(),
                if o.authority.is_empty() {
                    "the one of the controller's seat".into()
                } else {
                    o.authority.clone()
                },
            ],
        ],
    );
    d.heading("(b) Purposes, (c) data, (f) time limits");
    d.text(
        "Data subjects: those who watch streams of the relay. Filmed people are not covered by this record.",
    );
    let rows = fields::in_force(&o.policy).map(|field| {
        vec![
            purpose(field.purpose).to_owned(),
            basis(field.basis(&o.policy)).to_owned(),
            field.what.to_owned(),
            field.used_for.to_owned(),
            field.kept.unwrap_or("nothing").to_owned(),
            kept_for(field.retention, o, Lang::En),
        ]
    });
    d.table(
        &["Purpose", "Ground", "Data", "Use", "Kept form", "Time limit"],
        rows.collect(),
    );
    d.heading("(d) Recipients");
    let recipients = o.recipients();
    d.list(match recipients.is_empty() {
        true => vec!["none: nothing leaves the machine of the relay".to_owned()],
        false => recipients.iter().map(|r| (*r).to_owned()).collect(),
    });
    d.heading("(e) Transfers to third countries");
    d.text("By the relay itself none. Where recipients of (d) are elsewhere, name the safeguards here.");
    d.heading("(g) Technical and organisational measures");
    d.table(&["Measure", "Setting"], measures(o));
    d
}

/// Measures of security, each with the setting in force.
pub(super) fn measures(o: &Options) -> Vec<Vec<String>> {
    let yes = |is: bool, yes: &str, no: &str| if is { yes.to_owned() } else { no.to_owned() };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    vec![
        row("Who is counted", consent(o.policy.consent).to_owned()),
        row(
            "Level",
            format!("{}; days of {}", o.policy.level.name(), o.time_zone),
        ),
        row("Smallest group that is shown", format!("{} viewers", o.k)),
        row(
            "Sensitive streams",
            format!("{} paths, of which no session is recorded", o.sensitive_paths),
        ),
        row(
            "Country",
            match o.policy.country {
                true => format!("looked up locally, mask {:?}", o.policy.mask).to_lowercase(),
                false => "not looked up".to_owned(),
            },
        ),
        row(
            "Key of the day",
            "random, in locked memory alone, wiped at midnight, never derived".to_owned(),
        ),
        row(
            "Core files",
            yes(
                o.core_dumps,
                "ALLOWED: they may hold keys and addresses",
                "switched off",
            ),
        ),
        row(
            "Addresses told by proxies",
            yes(
                o.policy.proxies,
                "of the configured proxies alone",
                "nobody is believed",
            ),
        ),
        row(
            "Encryption on the way",
            format!(
                "RTSP: {}; RTSP in TLS: {}; page and API: {}",
                yes(
                    o.open_rtsp,
                    "open to the network, not encrypted",
                    "this machine only, or off"
                ),
                yes(o.encrypted_rtsp, "on", "off"),
                yes(
                    o.open_http,
                    "open to the network, not encrypted by the relay",
                    "this machine only, or off"
                ),
            ),
        ),
        row(
            "Access",
            yes(
                o.always_credentials,
                "credentials on every listener",
                "credentials on listeners that others can reach",
            ),
        ),
        row(
            "Deletion",
            format!(
                "{}; rows {} days, hours {} days, days {} days",
                match o.remote_database {
                    true =>
                        "tables are written anew; logs and backups of the database server are its administrator's",
                    false => "overwritten in the files",
                },
                o.rows_days,
                o.hours_days,
                o.counts_days
            ),
        ),
        row(
            "Audit trail",
            format!(
                "chained and signed, reads included, {} days, nothing of viewers",
                o.audit_days
            ),
        ),
        row(
            "Alerts about misuse",
            match (o.alerts_by_mail, o.alerts_by_webhook) {
                (true, true) => "log, e-mail, signed webhook",
                (true, false) => "log, e-mail",
                (false, true) => "log, signed webhook",
                (false, false) => "log",
            }
            .to_owned(),
        ),
    ]
}

pub(super) fn consent(mode: Consent) -> &'static str {
    match mode {
        Consent::Off => "nobody (off)",
        Consent::Exempt => "all who did not object (exempt)",
        Consent::OptIn => "those who agreed (opt-in)",
    }
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Service => "service: to send what was asked for",
        Purpose::Security => "security: to keep strangers and floods out",
        Purpose::Audience => "audience: to know how many watch",
        Purpose::Choice => "choice: to obey who objects",
        Purpose::Operation => "operation: to run the relay",
    }
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Consent => "consent, Art. 6(1)(a)",
        Basis::Request => "what the viewer asked for, Art. 6(1)(b)",
        Basis::LegitimateInterest => "legitimate interest, Art. 6(1)(f)",
        Basis::NotPersonal => "none needed: not about a person",
    }
}
