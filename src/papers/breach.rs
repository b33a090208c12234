//! The form of a notification of a breach (Art. 33(3) GDPR), with what the relay knows filled in and the 72 hours
//! counted.

use jiff::Timestamp;
use jiff::ToSpan;

use crate::papers::document::Document;
use crate::papers::options::Options;
use crate::papers::record;
use crate::privacy::fields;
use crate::privacy::fields::Retention;

/// The form. `noticed`: when the controller became aware; `now`: when the form is made.
pub fn breach_report(o: &Options, noticed: Timestamp, now: Timestamp) -> Document {
    let mut d = Document::new("Notification of a personal data breach (Art. 33 GDPR)", "en");
    let time = |t: Timestamp| t.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let deadline = noticed.checked_add(72.hours()).unwrap_or(Timestamp::MAX);
    let left = deadline.duration_since(now);
    d.list(vec![
        format!("Noticed: {}", time(noticed)),
        format!(
            "To be notified by: {} ({})",
            time(deadline),
            if left.is_positive() {
                format!("{} hours are left", left.as_hours())
            } else {
                "OVERDUE: give the reasons for the delay".to_owned()
            }
        ),
        format!(
            "Authority: {}",
            if o.authority.is_empty() {
                "TO DO: the competent one"
            } else {
                &o.authority
            }
        ),
    ]);
    d.heading("(a) What happened, to whose data, how many");
    d.list(vec![
        "TO DO: what happened, when, how it was found; a copy of the audit trail and the result of `louver audit verify`.".into(),
        "Data subjects: viewers. Number: TO DO (`louver stats` tells sessions and viewer-days of the time).".into(),
    ]);
    d.text("What lies on disk at all, by these settings:");
    let rows = fields::in_force(&o.policy).filter(|f| f.kept.is_some()).map(|f| {
        let places: Vec<&str> = f
            .places
            .iter()
            .copied()
            .filter(|p| !p.chars().any(char::is_uppercase))
            .collect();
        let places = match places.is_empty() {
            true if f.retention == Retention::Proofs => "the file of proofs".to_owned(),
            true => "memory alone".to_owned(),
            false => places.join(", "),
        };
        vec![f.what.to_owned(), f.kept.unwrap_or_default().to_owned(), places]
    });
    d.table(&["Data", "Form", "Where"], rows.collect());
    if o.core_dumps {
        d.text("Core files are allowed: one that was written holds memory of the program, with addresses and keys.");
    }
    d.heading("(b) Contact");
    d.list(vec![
        format!("Controller: {}", Options::or_missing(&o.controller)),
        format!("Contact: {}", Options::or_missing(&o.contact)),
        format!(
            "Data protection officer: {}",
            if o.dpo.is_empty() { "none named" } else { &o.dpo }
        ),
    ]);
    d.heading("(c) Likely consequences");
    let files = match o.core_dumps {
        true => {
            "From its other files alone no viewer can be named, but from core files those who watched then."
        }
        false => {
            "From the files alone no viewer can be named: they hold no address, and numbers of a day are random."
        }
    };
    d.text(format!(
        "{files} TO DO: say what else was reached (memory of the running program, traffic, logs of proxies in front of it, filmed \
         pictures)."
    ));
    d.heading("(d) Measures");
    d.table(&["Measure", "Setting"], record::measures(o));
    d.text("TO DO: what was done to end the breach and to soften what it did; whether viewers are told (Art. 34).");
    d
}
