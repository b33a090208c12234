//! A skeleton of a data protection impact assessment (Art. 35(7) GDPR): what the relay knows is filled in, what its
//! operator must judge is asked.

use crate::papers::document::Document;
use crate::papers::options::Options;
use crate::papers::record;

/// The skeleton for a relay with these settings.
pub fn dpia(o: &Options) -> Document {
    let mut d = Document::new("Data protection impact assessment: skeleton (Art. 35 GDPR)", "en");
    d.text(format!(
        "Settings: version {}. Lines that begin with TO DO are the operator's.",
        o.version()
    ));
    d.heading("1. Description");
    d.text(format!(
        "A relay sends video streams to viewers. Counted: {}. Level: {}. The record of processing lists every signal.",
        record::consent(o.policy.consent),
        o.policy.level.name()
    ));
    d.list(vec![
        format!("Controller: {}", Options::or_missing(&o.controller)),
        "TO DO: what is shown, to whom, how many viewers, and why it is relayed.".into(),
        "TO DO: are people filmed? Then signs, masks, and an assessment of their own are needed.".into(),
        match o.sensitive_paths {
            0 => "TO DO: would watching some path say something of health, faith, politics, union or sex life? Mark it sensitive."
                .into(),
            n => format!("{n} paths are marked as sensitive. TO DO: are these all?"),
        },
    ]);
    d.heading("2. Necessity and proportionality");
    d.list(vec![
        "Addresses are used to send and are not kept. Counting needs no name, no cookie, no profile.".into(),
        format!(
            "Groups below {} are hidden. Rows go after {} days, counts after {}.",
            o.k, o.rows_days, o.counts_days
        ),
        "TO DO: is the audience needed at all? `consent = \"off\"` counts nobody.".into(),
    ]);
    d.heading("3. Risks and what is done about them");
    let risk =
        |risk: &str, measure: &str, left: &str| vec![risk.to_owned(), measure.to_owned(), left.to_owned()];
    d.table(
        &["Risk to viewers", "Measure", "What is left"],
        vec![
            risk(
                "The whole disk is stolen",
                match o.core_dumps {
                    true => "TO DO: core files are allowed, and hold addresses and keys; switch them off",
                    false => "No address, agent or key is on it; numbers of the day are random",
                },
                "Counts; times of sessions of the last days",
            ),
            risk(
                "Somebody tries all addresses",
                "The key of the day is random, in memory alone, and wiped at midnight",
                "Root on the running machine can read memory of today",
            ),
            risk(
                "Staff follow a person through the statistics",
                "Small groups hidden, reads audited, rules watch for it",
                "Who knows when somebody watches can recognise a lone session time",
            ),
            risk(
                "Numbers are combined to find a hidden one",
                "No two facts are crossed, whole hours and days only, siblings hidden too",
                "Exact totals on the console: for audited staff only",
            ),
            risk(
                "Somebody listens on the way",
                if o.encrypted_rtsp {
                    "RTSP in TLS is on"
                } else {
                    "TO DO: switch RTSP in TLS on"
                },
                if o.open_rtsp {
                    "rtsp:// is open to the network without encryption"
                } else {
                    "Who watches when"
                },
            ),
            risk(
                "Memory gets to disk",
                if o.core_dumps {
                    "TO DO: core files are allowed; switch them off"
                } else {
                    "No core files; the key's page is locked"
                },
                "Hibernation and snapshots of virtual machines",
            ),
        ],
    );
    d.heading("4. Measures in force");
    d.table(&["Measure", "Setting"], record::measures(o));
    d.heading("5. Opinions");
    d.list(vec![
        format!(
            "Data protection officer: {}. TO DO: opinion and date.",
            if o.dpo.is_empty() { "none named" } else { &o.dpo }
        ),
        "TO DO: views of viewers or their representatives, or why they were not sought.".into(),
        "TO DO: decision, date, next review.".into(),
    ]);
    d
}
