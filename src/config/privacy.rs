//! The rules of `[privacy]`, and what they say about other tables.

use std::path::PathBuf;

use crate::base::proxies::Cidr;
use crate::base::proxies::are_everybody;
use crate::config::Config;
use crate::config::Privacy;
use crate::config::file::File;
use crate::config::file::Flag;
use crate::config::file::PrivacyFile;
use crate::config::file::Text;
use crate::config::values::Checker;
use crate::config::values::each;
use crate::privacy::Consent;
use crate::privacy::Level;
use crate::privacy::address::Mask;

/// Larger networks are not somebody's proxies: a slip would let anybody name any address.
const LEAST_BITS: (u8, u8) = (8, 16);

/// The smallest group that others may be shown.
pub const LEAST_K: u32 = 3;

impl Checker<'_> {
    pub(super) fn privacy(&mut self, f: &PrivacyFile) -> Privacy {
        let d = Privacy::default();
        let levels = Level::ALL.map(|level| (level.name(), level));
        let modes = Consent::ALL.map(|mode| (mode.name(), mode));
        let masks = [("usual", Mask::Usual), ("strict", Mask::Strict)];
        let privacy = Privacy {
            time_zone: self.time_zone(&f.time_zone, d.time_zone),
            k: self.number("k", &f.k, 1..=1_000, d.k),
            level: self.word("level", &f.level, &levels),
            consent: self.word("consent", &f.consent, &modes),
            mask: self.word("mask", &f.mask, &masks),
            countries: self.countries(&f.countries),
            trusted_proxies: self.trusted_proxies(f),
            core_dumps: f.core_dumps.unwrap_or(d.core_dumps),
            receipts: f.receipts.unwrap_or(d.receipts),
            consent_days: self.number("consent_days", &f.consent_days, 1..=396, d.consent_days),
            retention: self.retention(&f.retention),
        };
        if let Some(level) = &f.level
            && privacy.level == Level::Identified
            && privacy.consent != Consent::OptIn
        {
            self.wrong(
                &level.span(),
                "level \"identified\" is for viewers who agreed to it, expected consent = \"opt-in\" beside it",
            );
        }
        if let Some(countries) = f.countries.as_ref().filter(|_| privacy.consent == Consent::Off) {
            self.wrong(
                &countries.span(),
                "countries are of no use while nobody is counted, expected another consent than \"off\"",
            );
        }
        privacy
    }

    /// On this machine alone, for tests and households, groups may be of one.
    pub(super) fn small_groups(&mut self, shapes: &File, config: &Config) {
        let listeners = [&config.rtsp.listen, &config.rtsps.listen, &config.http.listen];
        let open = listeners
            .into_iter()
            .flatten()
            .any(|addr| !addr.ip().is_loopback());
        if let Some(k) = shapes
            .privacy
            .k
            .as_ref()
            .filter(|_| open && config.privacy.k < LEAST_K)
        {
            let message = format!(
                "k is too small for listeners that others can reach: single viewers would be shown, expected \
                 {LEAST_K} or more"
            );
            self.wrong(&k.span(), &message);
        }
    }

    /// PROXY headers are believed from trusted proxies alone, so without any the key would do nothing.
    pub(super) fn proxy_protocol(&mut self, raw: &Flag, privacy: &PrivacyFile) -> bool {
        let Some(raw) = raw.as_ref().filter(|raw| *raw.get_ref()) else {
            return false;
        };
        let trusted = privacy.trusted_proxies.as_ref();
        if trusted.is_none_or(|trusted| each(trusted).next().is_none()) {
            self.wrong(
                &raw.span(),
                "proxy_protocol needs to know whom to believe, expected trusted_proxies in [privacy]",
            );
        }
        true
    }

    fn word<T: Copy + Default>(&mut self, key: &str, raw: &Text, words: &[(&str, T)]) -> T {
        let Some(raw) = raw else { return T::default() };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == raw.get_ref().as_str()) {
            return *value;
        }
        let names: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let message = format!("{key} is unknown, expected one of {}", names.join(", "));
        self.wrong(&raw.span(), &message);
        T::default()
    }

    fn countries(&mut self, raw: &Text) -> Option<PathBuf> {
        let raw = raw.as_ref()?;
        if raw.get_ref().trim().is_empty() {
            self.wrong(
                &raw.span(),
                "countries is empty, expected the file of a database (.mmdb), or no such line",
            );
        }
        Some(PathBuf::from(raw.get_ref()))
    }

    fn trusted_proxies(&mut self, f: &PrivacyFile) -> Vec<Cidr> {
        let mut networks = Vec::new();
        for (text, span) in f.trusted_proxies.iter().flat_map(each) {
            let Some(network) = Cidr::parse(text) else {
                self.wrong(
                    &span,
                    "this is no network, expected an address or as in \"10.0.0.0/8\" and \"fd00:1::/32\"",
                );
                continue;
            };
            if is_large(&network) {
                let (v4, v6) = LEAST_BITS;
                let message = format!(
                    "this is half the internet, and whoever is in it could name any address as theirs, \
                     expected the proxies' own networks (/{v4} or smaller, IPv6 /{v6} or smaller)"
                );
                self.wrong(&span, &message);
            }
            networks.push(network);
        }
        // Only where each is small enough by itself.
        let told = networks.iter().any(is_large);
        if let Some(raw) = f
            .trusted_proxies
            .as_ref()
            .filter(|_| !told && are_everybody(&networks))
        {
            self.wrong(
                &raw.span(),
                "together these are half the internet, and whoever is in it could name any address as theirs, \
                 expected the proxies' own networks",
            );
        }
        networks
    }
}

fn is_large(network: &Cidr) -> bool {
    let (v4, v6) = LEAST_BITS;
    network.bits() < if network.is_ipv4() { v4 } else { v6 }
}
