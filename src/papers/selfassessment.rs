//! Fourteen criteria for measuring an audience without consent, in our words, each with the setting that answers it.
//!
//! They follow what the French authority asks vendors to assess themselves since 2025. Its own text decides, not this.

use crate::papers::document::Document;
use crate::papers::options::Options;
use crate::papers::record;
use crate::privacy::Level;

/// The most days that 25 months can have, and days in 13.
const MONTHS_25: u32 = 762;
const MONTHS_13: u32 = 396;

/// The assessment of a relay with these settings, and how many criteria fail.
pub fn self_assessment(o: &Options) -> (Document, usize) {
    let mut d = Document::new("Self-assessment: audience measurement without consent", "en");
    d.text(format!(
        "Fourteen criteria in our own words, answered from the settings, version {}. The text of the authority decides.",
        o.version()
    ));
    let criteria = criteria(o);
    let failed = criteria.iter().filter(|(_, _, held)| !held).count();
    let rows = criteria.into_iter().zip(1..).map(|((what, evidence, held), n)| {
        let held = if held { "met" } else { "NOT MET" };
        vec![n.to_string(), what.to_owned(), evidence, held.to_owned()]
    });
    d.table(&["No.", "Criterion", "Evidence", "Result"], rows.collect());
    d.text(match failed {
        0 => "All criteria are met by these settings.".to_owned(),
        n => format!("{n} criteria are not met: ask viewers for their consent, or change the settings."),
    });
    d.heading("Settings in force");
    d.table(&["Measure", "Setting"], record::measures(o));
    (d, failed)
}

type Criterion = (&'static str, String, bool);

fn criteria(o: &Options) -> Vec<Criterion> {
    let named = !o.controller.is_empty() && !o.contact.is_empty();
    let recipients = o.recipients();
    vec![
        (
            "The only purpose is to measure the audience of the publisher's own streams",
            format!("counted: {}; the register of fields has no other purpose that keeps data", record::consent(o.policy.consent)),
            true,
        ),
        (
            "It is done for the publisher alone",
            format!("controller: {}", Options::or_missing(&o.controller)),
            named,
        ),
        (
            "Data are not combined with other processing, nor given to third parties",
            match recipients.is_empty() {
                true => "nothing leaves the machine".to_owned(),
                false => format!("recipients, all the operator's own: {}", recipients.join("; ")),
            },
            true,
        ),
        (
            "Nobody is followed over several sites, programs or devices",
            "numbers are random for each installation and each day; nothing is stored on the viewer's device".to_owned(),
            o.policy.level != Level::Identified,
        ),
        (
            "Viewers are informed",
            format!(
                "{}; contact: {}; officer: {}; authority: {}",
                match o.no_page {
                    true => "TO DO: there is no page; publish what `louver privacy notice` prints",
                    false => "/privacy, made of these settings",
                },
                Options::or_missing(&o.contact),
                if o.dpo.is_empty() { "none named" } else { &o.dpo },
                if o.authority.is_empty() { "where the viewer lives" } else { &o.authority },
            ),
            named,
        ),
        (
            "Viewers can object easily, on every device and player",
            "?stats=off, /nostats/, DNT, Sec-GPC, X-Stats, nostats in the agent; nothing of who objects is kept".to_owned(),
            true,
        ),
        (
            "Identifiers live 13 months at most",
            match o.policy.level {
                Level::Anonymous => "there are none".to_owned(),
                Level::Pseudonymous => format!("one calendar day of {}, then the key is destroyed", o.time_zone),
                Level::Identified => format!("{MONTHS_13} days at most, with consent"),
            },
            true,
        ),
        (
            "Data are kept for 25 months at most",
            format!("rows {} days, hours {} days, days {} days", o.rows_days, o.hours_days, o.counts_days),
            o.rows_days.max(o.hours_days).max(o.counts_days) <= MONTHS_25,
        ),
        (
            "Addresses are cut before they are used to find a place, and no place is finer than a town",
            match o.policy.country {
                true => format!("country alone, from an address cut by mask {:?}", o.policy.mask).to_lowercase(),
                false => "no place is looked up".to_owned(),
            },
            true,
        ),
        (
            "What comes out is anonymous statistics",
            format!("no group below {} is shown; no two facts are crossed; {} sensitive paths without rows", o.k, o.sensitive_paths),
            o.k >= 5,
        ),
        (
            "What comes with a connection is kept no longer than needed",
            match o.core_dumps {
                true => "core files are allowed: memory with addresses may get to disk".to_owned(),
                false => "addresses and agents are in memory alone; no core files".to_owned(),
            },
            !o.core_dumps,
        ),
        (
            "Only who needs them sees the data, and reads are recorded",
            format!(
                "audit trail of {} days; alerts: {}; credentials: {}",
                o.audit_days,
                match (o.alerts_by_mail, o.alerts_by_webhook) {
                    (false, false) => "log",
                    (true, false) => "log, e-mail",
                    (false, true) => "log, webhook",
                    (true, true) => "log, e-mail, webhook",
                },
                if o.always_credentials { "always" } else { "where others can reach it" },
            ),
            o.audit_days >= 180,
        ),
        (
            "Data are safe on the way and from false names",
            format!(
                "page and API open to the network without TLS of their own: {}; rtsp open without TLS: {}; rtsps: {}; proxies believed: {}",
                o.open_http,
                o.open_rtsp,
                o.encrypted_rtsp,
                o.policy.proxies
            ),
            !o.open_http && !o.trusts_everybody,
        ),
        (
            "Processors may use the data for nothing of their own, and nothing leaves the union",
            match o.remote_database {
                true => "the database is on another machine: see the contract with whoever runs it".to_owned(),
                false => "there is no processor: program and database are on this machine".to_owned(),
            },
            true,
        ),
    ]
}
