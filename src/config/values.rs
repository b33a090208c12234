//! The rules for single values: each reads one key, or tells what is wrong and goes on with the default.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::ops::Range;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use tracing_subscriber::EnvFilter;

use crate::config::error::ConfigError;
use crate::config::file::Number;
use crate::config::file::OneOrMore;
use crate::config::file::Text;
use crate::config::units;

/// Collects what is wrong.
pub(super) struct Checker<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) errors: Vec<ConfigError>,
}

impl Checker<'_> {
    pub(super) fn wrong(&mut self, span: &Range<usize>, message: &str) {
        self.errors
            .push(ConfigError::at(self.file, self.text, span, message));
    }

    pub(super) fn addresses(
        &mut self,
        raw: &Option<Spanned<OneOrMore>>,
        example: u16,
        default: Vec<SocketAddr>,
    ) -> Vec<SocketAddr> {
        let Some(raw) = raw else { return default };
        let mut addrs = Vec::new();
        for (text, span) in each(raw) {
            let Ok(addr) = text.parse() else {
                self.wrong(
                    &span,
                    &format!(
                        "this is no address with a port, expected \"127.0.0.1:{example}\", \
                     \"0.0.0.0:{example}\" (every interface) or \"[::1]:{example}\""
                    ),
                );
                continue;
            };
            addrs.push(addr);
        }
        addrs
    }

    pub(super) fn udp_ports(
        &mut self,
        raw: &Option<Spanned<Vec<i64>>>,
        default: Option<(u16, u16)>,
    ) -> Option<(u16, u16)> {
        let Some(raw) = raw else { return default };
        let port = |n: i64| u16::try_from(n).ok();
        match raw.get_ref().as_slice() {
            [] => return None,
            [0, 0] => return Some((0, 0)),
            [rtp, rtcp] => {
                if let (Some(rtp @ 1..), Some(rtcp)) = (port(*rtp), port(*rtcp))
                    && rtp.is_multiple_of(2)
                    && rtcp == rtp + 1
                {
                    return Some((rtp, rtcp));
                }
            }
            _ => {}
        }
        self.wrong(
            &raw.span(),
            "these are no ports for RTP and RTCP, expected an even number and the next as in [8000, 8001], \
             [0, 0] (the system chooses) or [] (TCP only)",
        );
        default
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        raw: &Text,
        seconds: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        let Some(raw) = raw else { return default };
        let [least, most] = [*seconds.start(), *seconds.end()].map(Duration::from_secs);
        match units::duration(raw.get_ref()) {
            Some(d) if (least..=most).contains(&d) => return d,
            Some(_) => self.wrong(
                &raw.span(),
                &format!(
                    "{key} is out of range, expected {} to {}",
                    units::show_duration(least),
                    units::show_duration(most)
                ),
            ),
            None => self.wrong(
                &raw.span(),
                &format!(
                    "{key} is no duration, expected {} as in \"{}\"",
                    units::DURATION_FORM,
                    units::show_duration(default)
                ),
            ),
        }
        default
    }

    pub(super) fn size(
        &mut self,
        key: &str,
        raw: &Text,
        range: RangeInclusive<u64>,
        default: usize,
    ) -> usize {
        let Some(raw) = raw else { return default };
        match units::size(raw.get_ref()) {
            Some(n) if range.contains(&n) => return usize::try_from(n).unwrap_or(default),
            Some(_) => self.wrong(
                &raw.span(),
                &format!(
                    "{key} is out of range, expected {} to {}",
                    units::show_size(*range.start()),
                    units::show_size(*range.end())
                ),
            ),
            None => self.wrong(
                &raw.span(),
                &format!(
                    "{key} is no size, expected {} as in \"{}\"",
                    units::SIZE_FORM,
                    units::show_size(default as u64)
                ),
            ),
        }
        default
    }

    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        raw: &Number,
        range: RangeInclusive<i64>,
        default: T,
    ) -> T {
        let Some(raw) = raw else { return default };
        let n = *raw.get_ref();
        if let (true, Ok(n)) = (range.contains(&n), T::try_from(n)) {
            return n;
        }
        let message = format!(
            "{key} is out of range, expected {} to {}",
            range.start(),
            range.end()
        );
        self.wrong(&raw.span(), &message);
        default
    }

    pub(super) fn time_zone(&mut self, raw: &Text, default: String) -> String {
        let Some(raw) = raw else { return default };
        if crate::config::time_zone(raw.get_ref()).is_none() {
            self.wrong(
                &raw.span(),
                "time_zone is unknown here, expected \"UTC\" or a name as in \"Europe/Paris\" \
                 (such names need the system's package tzdata)",
            );
        }
        raw.get_ref().clone()
    }

    pub(super) fn log_filter(&mut self, raw: &Text) -> Option<String> {
        let raw = raw.as_ref()?;
        if EnvFilter::builder().parse(raw.get_ref()).is_err() {
            self.wrong(
                &raw.span(),
                "filter is not understood, expected a level (error, warn, info, debug, trace), or pairs as in \
                 \"louver=debug,louver::egress=trace\"",
            );
        }
        Some(raw.get_ref().clone())
    }

    pub(super) fn directory(&mut self, raw: &Text) -> Option<PathBuf> {
        let raw = raw.as_ref()?;
        if raw.get_ref().trim().is_empty() {
            self.wrong(
                &raw.span(),
                "dir is empty, expected a directory, or no such line for the platform's",
            );
        }
        Some(PathBuf::from(raw.get_ref()))
    }
}

/// A range of multicast groups: the first, and how many. None if it is no such range, or one of the groups that
/// routers keep to the local network (RFC 5771 section 4).
pub(super) fn groups(text: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
    let first: Ipv4Addr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok().filter(|bits| (8..=32).contains(bits))?;
    let count = 1_u32 << (32 - bits);
    let good =
        first.is_multicast() && first >= Ipv4Addr::new(224, 0, 1, 0) && first.to_bits().is_multiple_of(count);
    good.then_some((first, count))
}

/// The texts of a list, each at its own place.
pub(super) fn each(raw: &Spanned<OneOrMore>) -> impl Iterator<Item = (&str, Range<usize>)> {
    let (one, more) = match raw.get_ref() {
        OneOrMore::One(text) => (Some((text.as_str(), raw.span())), [].as_slice()),
        OneOrMore::More(list) => (None, list.as_slice()),
    };
    one.into_iter()
        .chain(more.iter().map(|t| (t.get_ref().as_str(), t.span())))
}
