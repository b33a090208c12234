//! The privacy notice for viewers, in plain words. Only what is done is told; what is not, where people would expect it.

use crate::papers::Lang;
use crate::papers::document::Document;
use crate::papers::french;
use crate::papers::options::Options;
use crate::privacy::Consent;
use crate::privacy::Level;
use crate::privacy::address::Mask;
use crate::privacy::fields;
use crate::privacy::fields::Field;
use crate::privacy::fields::Retention;

/// The notice of a relay with these settings.
pub fn notice(options: &Options, lang: Lang) -> Document {
    let mut d = told(options, lang);
    version(&mut d, options, lang);
    d
}

/// All of it but its version, which is made of this.
pub(super) fn told(options: &Options, lang: Lang) -> Document {
    let mut d = Document::new(
        lang.say("Privacy notice", "Information sur la protection des données"),
        lang.tag(),
    );
    who(&mut d, options, lang);
    what_for(&mut d, options, lang);
    choice(&mut d, options, lang);
    consent(&mut d, options, lang);
    fields_in_force(&mut d, options, lang);
    how_long(&mut d, options, lang);
    who_sees(&mut d, options, lang);
    rights(&mut d, options, lang);
    d
}

fn missing(text: &str, lang: Lang) -> String {
    match text {
        "" => lang
            .say(
                "[not named yet by the operator of this relay]",
                "[pas encore indiqué par l'exploitant de ce relais]",
            )
            .to_owned(),
        text => text.to_owned(),
    }
}

fn who(d: &mut Document, o: &Options, lang: Lang) {
    d.heading(lang.say("Who is responsible", "Qui est responsable"));
    let mut lines = vec![
        format!(
            "{}: {}",
            lang.say("Controller", "Responsable du traitement"),
            missing(&o.controller, lang)
        ),
        format!(
            "{}: {}",
            lang.say("Contact", "Contact"),
            missing(&o.contact, lang)
        ),
    ];
    if !o.dpo.is_empty() {
        lines.push(format!(
            "{}: {}",
            lang.say("Data protection officer", "Délégué à la protection des données"),
            o.dpo
        ));
    }
    d.list(lines);
}

fn what_for(d: &mut Document, o: &Options, lang: Lang) {
    d.heading(lang.say("What for, and on what ground", "Pourquoi, et sur quelle base"));
    d.text(lang.say(
        "To send you the stream that you ask for, and to keep intruders out, this relay uses your network address while \
         you are connected (Art. 6(1)(b) and (f) GDPR). It does not write it down.",
        "Pour vous envoyer le flux demandé et pour tenir les intrus à l'écart, ce relais utilise votre adresse réseau \
         pendant la connexion (art. 6, par. 1, b et f du RGPD). Il ne l'enregistre pas.",
    ));
    d.text(match o.policy.consent {
        Consent::Off => lang.say(
            "No audience is counted here. Nothing about your watching is kept.",
            "Aucune audience n'est mesurée ici. Rien de ce que vous regardez n'est conservé.",
        ),
        Consent::Exempt => lang.say(
            "To know how many people watch, the relay counts its audience, for its operator alone (legitimate interest, \
             Art. 6(1)(f) GDPR). You can object at any time, see below.",
            "Pour savoir combien de personnes regardent, le relais mesure son audience, pour son seul exploitant (intérêt \
             légitime, art. 6, par. 1, f du RGPD). Vous pouvez vous y opposer à tout moment, voir plus bas.",
        ),
        Consent::OptIn => lang.say(
            "The relay counts its audience only among those who agreed to it (consent, Art. 6(1)(a) GDPR). You can take \
             your consent back at any time.",
            "Le relais ne mesure son audience que parmi les personnes qui y ont consenti (consentement, art. 6, par. 1, a \
             du RGPD). Vous pouvez retirer votre consentement à tout moment.",
        ),
    });
    if !o.counts() {
        return;
    }
    d.text(match o.policy.level {
        Level::Anonymous => lang.say(
            "What is kept has no number that stands for you, not even for a day.",
            "Ce qui est conservé ne contient aucun numéro qui vous désigne, pas même pour un jour.",
        ),
        Level::Pseudonymous => lang.say(
            "For one calendar day a random number stands for you. It is not computed from your address; the key that finds \
             it again is only in memory and is destroyed at midnight. Days cannot be linked.",
            "Pendant un jour civil, un numéro tiré au hasard vous désigne. Il n'est pas calculé à partir de votre adresse ; la \
             clé qui permet de le retrouver n'existe qu'en mémoire et est détruite à minuit. Les jours ne peuvent être reliés.",
        ),
        Level::Identified => lang.say(
            "As far as you agreed, you can be recognised on several days.",
            "Dans la mesure où vous y avez consenti, vous pouvez être reconnu plusieurs jours.",
        ),
    });
    d.text(format!(
        "{} {}.",
        lang.say(
            "Days are calendar days of the time zone",
            "Les jours sont ceux du fuseau horaire"
        ),
        o.time_zone
    ));
    if o.policy.country {
        let bits = match o.policy.mask {
            Mask::Usual => "/24, /48",
            Mask::Strict => "/16, /32",
        };
        d.text(format!(
            "{} ({bits}). {}",
            lang.say(
                "The country is looked up on this machine, with the end of your address cut off",
                "Le pays est recherché sur cette machine, après suppression de la fin de votre adresse"
            ),
            lang.say("Nobody is asked.", "Personne n'est interrogé.")
        ));
    }
    if o.sensitive_paths > 0 {
        d.text(format!(
            "{} ({}).",
            lang.say(
                "Of streams that the operator marked as sensitive, no session is recorded",
                "Des flux que l'exploitant a marqués comme sensibles, aucune session n'est enregistrée"
            ),
            o.sensitive_paths
        ));
    }
}

fn choice(d: &mut Document, o: &Options, lang: Lang) {
    if !o.counts() {
        return;
    }
    d.heading(lang.say("How not to be counted", "Comment ne pas être compté"));
    d.text(lang.say(
        "Any of these is enough, works at once, and leaves nothing of you in the statistics, not even that you objected. You \
         still count where the relay must know how full it is.",
        "Un seul de ces moyens suffit, agit aussitôt et ne laisse rien de vous dans les statistiques, pas même votre \
         opposition. Vous comptez encore là où le relais doit connaître sa charge.",
    ));
    let at = match &*o.streams_at {
        "" => String::new(),
        at => {
            let (colon, name) = (lang.say(": ", " : "), lang.say("NAME", "NOM"));
            let at = at.replace("HOST", lang.say("HOST", "HOTE"));
            format!("{colon}{at}nostats/{name}")
        }
    };
    let before = lang.say(
        "put nostats/ before the name of the stream",
        "mettez nostats/ devant le nom du flux",
    );
    let before = format!("{before}{at}");
    let mut ways = vec![
        lang.say(
            "add ?stats=off to the address of the stream",
            "ajoutez ?stats=off à l'adresse du flux",
        ),
        &before,
        lang.say(
            "switch on \"Do Not Track\" or \"Global Privacy Control\" in the browser",
            "activez « Do Not Track » ou « Global Privacy Control » dans le navigateur",
        ),
        lang.say(
            "send the header X-Stats: off, or a User-Agent with the word nostats",
            "envoyez l'en-tête X-Stats: off, ou un User-Agent contenant le mot nostats",
        ),
    ];
    if !o.no_page {
        ways.push(lang.say(
            "for all of your network, until midnight: the button at /privacy/choices",
            "pour tout votre réseau, jusqu'à minuit : le bouton sur /privacy/choices",
        ));
    }
    d.list(ways.into_iter().map(str::to_owned).collect());
}

/// Consent, where it is asked for.
fn consent(d: &mut Document, o: &Options, lang: Lang) {
    if o.policy.consent != Consent::OptIn {
        return;
    }
    d.heading(lang.say(
        "How to agree, and to take it back",
        "Comment consentir, et retirer son consentement",
    ));
    d.text(format!(
        "{} ({} {}).",
        lang.say(
            "At /privacy/choices you get a token; with ?consent=TOKEN in the address of a stream you are counted. The relay keeps a \
             keyed hash of it as proof, with the hour, and nothing of you. Taking it back, there too, stops it at once and erases the \
             sessions that hang on it, as far as their rows still have a number. It ends by itself, also when this notice changes",
            "Sur /privacy/choices vous obtenez un jeton ; avec ?consent=JETON dans l'adresse d'un flux, vous êtes compté. Le relais en \
             conserve une empreinte à clé comme preuve, avec l'heure, et rien de vous. Le retirer, au même endroit, y met fin \
             aussitôt et efface les sessions qui en dépendent, tant que leurs lignes ont un numéro. Il prend fin de lui-même, aussi \
             quand cette information change"
        ),
        o.consent_days,
        lang.say("days", "jours")
    ));
}

fn fields_in_force(d: &mut Document, o: &Options, lang: Lang) {
    d.heading(lang.say("What, exactly", "Quoi, exactement"));
    let nothing = lang.say("nothing", "rien");
    let rows = fields::in_force(&o.policy)
        .map(|field| {
            let text = words(field, lang);
            vec![
                text.0.to_owned(),
                text.1.to_owned(),
                text.2.unwrap_or(nothing).to_owned(),
                kept_for(field.retention, o, lang),
            ]
        })
        .collect();
    d.table(
        &[
            lang.say(
                "What comes with a connection or is made of it",
                "Ce qui accompagne une connexion ou en est tiré",
            ),
            lang.say("What it is used for", "À quoi cela sert"),
            lang.say("What is kept of it", "Ce qui en est conservé"),
            lang.say("How long", "Combien de temps"),
        ],
        rows,
    );
    d.text(lang.say(
        "Not used for anything: cookies, languages, the page you came from, fingerprints of your device or of its \
         encryption. No cookie is set. Nothing is sold, and nothing is used for advertising.",
        "Ne servent à rien : les cookies, les langues, la page d'où vous venez, les empreintes de votre appareil ou de son \
         chiffrement. Aucun cookie n'est déposé. Rien n'est vendu ni utilisé à des fins publicitaires.",
    ));
    d.text(lang.say(
        "Known errors of the count: people behind one address with the same player are one; who changes network is two.",
        "Erreurs connues du comptage : des personnes derrière une même adresse avec le même lecteur ne font qu'une ; qui \
         change de réseau en fait deux.",
    ));
}

/// The texts of a field in a language: what, what for, what is kept.
fn words(field: &Field, lang: Lang) -> (&str, &str, Option<&str>) {
    let english = (field.what, field.used_for, field.kept);
    match lang {
        Lang::En => english,
        Lang::Fr => french::field(field.name).map_or(english, |(what, used_for, kept)| {
            (what, used_for, field.kept.map(|_| kept))
        }),
    }
}

/// How long, in words.
pub(super) fn kept_for(retention: Retention, o: &Options, lang: Lang) -> String {
    let days = |n: u32| format!("{n} {}", lang.say("days", "jours"));
    match retention {
        Retention::None => lang.say("not at all", "pas du tout").to_owned(),
        Retention::Session => lang
            .say(
                "in memory, until the session ends",
                "en mémoire, jusqu'à la fin de la session",
            )
            .to_owned(),
        Retention::Day => lang
            .say("in memory, until midnight", "en mémoire, jusqu'à minuit")
            .to_owned(),
        Retention::DayAfter => lang
            .say(
                "until 24 hours after its day closed",
                "jusqu'à 24 heures après la fin de son jour",
            )
            .to_owned(),
        Retention::Rows => days(o.rows_days),
        Retention::Counts => days(o.counts_days),
        Retention::Proofs => lang
            .say(
                "as long as the consent must be proven",
                "tant que le consentement doit pouvoir être prouvé",
            )
            .to_owned(),
    }
}

fn how_long(d: &mut Document, o: &Options, lang: Lang) {
    d.heading(lang.say("How long it is kept", "Durées de conservation"));
    let days = lang.say("days", "jours");
    let mut rows = Vec::new();
    if o.counts() {
        rows.push(format!(
            "{}: {} {days}",
            lang.say("sessions", "sessions"),
            o.rows_days
        ));
        rows.push(format!(
            "{}: {} {days}",
            lang.say("counts by hour", "comptages par heure"),
            o.hours_days
        ));
        rows.push(format!(
            "{}: {} {days}",
            lang.say("counts by day", "comptages par jour"),
            o.counts_days
        ));
    }
    rows.push(format!(
        "{}: {} {days}",
        lang.say(
            "record of who read or changed the statistics (nothing of viewers is in it)",
            "journal de qui a lu ou modifié les statistiques (rien sur les spectateurs)"
        ),
        o.audit_days
    ));
    d.list(rows);
    d.text(lang.say(
        "What is deleted is overwritten in the files of this machine.",
        "Ce qui est supprimé est écrasé dans les fichiers de cette machine.",
    ));
    if o.remote_database {
        d.text(lang.say(
            "In the database on the other machine, tables are written anew without it; how long that database's own logs and \
             backups keep it is up to the operator.",
            "Dans la base sur l'autre machine, les tables sont réécrites sans lui ; la durée pendant laquelle les journaux et \
             sauvegardes de cette base le gardent dépend de l'exploitant.",
        ));
    }
    if o.core_dumps {
        d.text(lang.say(
            "The operator lets the program write its memory to a file when it crashes. Such a file may hold addresses of those \
             who watched then.",
            "L'exploitant permet au programme d'écrire sa mémoire dans un fichier en cas de panne. Un tel fichier peut contenir \
             les adresses de ceux qui regardaient alors.",
        ));
    }
}

fn who_sees(d: &mut Document, o: &Options, lang: Lang) {
    d.heading(lang.say("Who sees it", "Qui le voit"));
    if o.counts() {
        d.text(format!(
            "{} {} {}",
            lang.say(
                "The operator's staff see counts. Groups of fewer than",
                "Le personnel de l'exploitant voit des comptages. Les groupes de moins de"
            ),
            o.k,
            lang.say(
                "viewers are not broken down.",
                "spectateurs ne sont pas détaillés."
            )
        ));
    }
    let recipients = o.recipients();
    if recipients.is_empty() {
        d.text(lang.say(
            "Nobody else gets anything, and nothing leaves this machine.",
            "Personne d'autre ne reçoit rien, et rien ne quitte cette machine.",
        ));
    } else {
        d.list(
            recipients
                .iter()
                .map(|r| french::recipient(r, lang).to_owned())
                .collect(),
        );
    }
    let mut ways = Vec::new();
    if o.open_rtsp {
        ways.push(lang.say(
            "Streams by rtsp:// are not encrypted: others on the way can see that and what you watch.",
            "Les flux rtsp:// ne sont pas chiffrés : d'autres, en chemin, peuvent voir que vous regardez, et quoi.",
        ));
    }
    if o.encrypted_rtsp {
        ways.push(lang.say(
            "Streams by rtsps:// are encrypted.",
            "Les flux rtsps:// sont chiffrés.",
        ));
    }
    if o.open_http {
        ways.push(lang.say(
            "The web page of this relay is not encrypted, unless a proxy in front of it does so.",
            "La page web de ce relais n'est pas chiffrée, sauf par un proxy placé devant.",
        ));
    }
    if o.policy.proxies {
        ways.push(lang.say(
            "Proxies of the operator tell the relay your address.",
            "Des proxys de l'exploitant indiquent votre adresse au relais.",
        ));
    }
    if !ways.is_empty() {
        d.list(ways.into_iter().map(str::to_owned).collect());
    }
}

fn rights(d: &mut Document, o: &Options, lang: Lang) {
    d.heading(lang.say("Your rights", "Vos droits"));
    d.text(lang.say(
        "You have the rights of access, rectification, erasure, restriction, portability and objection (Art. 15 to 21 GDPR). \
         The relay does not know who you are, and keeps nothing to find out (Art. 11): write to the contact above, and it will \
         be said what can be found and what cannot. No decision about you is made by a machine (Art. 22).",
        "Vous disposez des droits d'accès, de rectification, d'effacement, de limitation, de portabilité et d'opposition (art. 15 \
         à 21 du RGPD). Le relais ne sait pas qui vous êtes et ne conserve rien pour l'apprendre (art. 11) : écrivez au contact \
         ci-dessus, il vous sera dit ce qui peut être retrouvé et ce qui ne le peut pas. Aucune décision vous concernant n'est \
         prise par une machine (art. 22).",
    ));
    if o.counts() && o.receipts && !o.no_page {
        d.text(lang.say(
            "With the receipt of a session you can do so yourself, without saying who you are: it comes in the header \
             Privacy-Receipt of the answer with which the session begins (RTSP: to PLAY). At /privacy/choices, or with GET and DELETE \
             of /privacy/receipt/RECEIPT, you see all that is kept of that session and erase it. Counts stay as they are. Keep it \
             to yourself: whoever has it can do the same.",
            "Avec le reçu d'une session, vous pouvez le faire vous-même, sans dire qui vous êtes : il se trouve dans l'en-tête \
             Privacy-Receipt de la réponse par laquelle la session commence (RTSP : à PLAY). Sur /privacy/choices, ou par GET et \
             DELETE de /privacy/receipt/REÇU, vous voyez tout ce qui est conservé de cette session et l'effacez. Les comptages \
             restent tels quels. Gardez-le pour vous : qui l'a peut en faire autant.",
        ));
    }
    d.text(format!(
        "{}: {}.",
        lang.say(
            "You may complain to a supervisory authority",
            "Vous pouvez vous plaindre auprès d'une autorité de contrôle"
        ),
        match o.authority.as_str() {
            "" => lang.say("the one of where you live", "celle de votre lieu de résidence"),
            named => named,
        }
    ));
}

fn version(d: &mut Document, o: &Options, lang: Lang) {
    d.heading(lang.say("This version", "Cette version"));
    let since = o.changes.first().map(|c| c.date.as_str());
    d.text(format!(
        "{} {}{}. {}",
        lang.say("Version", "Version"),
        o.version(),
        since.map_or(String::new(), |date| format!(
            ", {} {date}",
            lang.say("in force since", "en vigueur depuis le")
        )),
        lang.say(
            "This page is made of the settings that the relay runs on.",
            "Cette page est établie à partir des réglages sur lesquels le relais fonctionne."
        )
    ));
    if !o.changes.is_empty() {
        d.text(lang.say("Last changes:", "Derniers changements :"));
        d.list(
            o.changes
                .iter()
                .map(|c| format!("{}: {} {}", c.date, c.setting, c.change))
                .collect(),
        );
    }
}
