//! The headers that a server reads and writes: CSeq, Session, Transport, Range, RTP-Info, Require (RFC 2326
//! section 12).
//!
//! Tolerant where clients differ. Not here: Authorization (`auth`), which transport is taken (`server`).

/// The value of `CSeq` to echo: digits, however many zeros before.
pub fn cseq(value: &str) -> Option<&str> {
    let digits = !value.is_empty() && value.len() <= 20 && value.bytes().all(|b| b.is_ascii_digit());
    digits.then_some(value)
}

/// The id in a `Session` header, which some clients echo with its parameters (section 12.37).
pub fn session_id(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// What a transport wants to carry its packets in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lower {
    /// `RTP/AVP` or `RTP/AVP/UDP`, unicast.
    Udp,
    /// The same with `multicast`.
    Multicast,
    /// `RTP/AVP/TCP`: interleaved on the RTSP connection.
    Tcp,
    /// RAW, or a word that is not in the standard.
    Other,
}

/// Which way a transport is to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Play,
    /// `RECORD`, or `RECEIVE` as live555 and FFmpeg's listener say.
    Record,
}

/// One of the transports that a client offers (section 12.39). What it says of addresses
/// (`destination`, `source`) is not even read: media goes to the RTSP peer alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transport {
    pub lower: Lower,
    /// The first word, as the client spelled it, for the reply.
    pub protocol: String,
    /// RTP and RTCP port of the client.
    pub client_port: Option<(u16, u16)>,
    /// RTP and RTCP channel.
    pub interleaved: Option<(u8, u8)>,
    pub mode: Option<Mode>,
    /// SRTP (`RTP/SAVP`, `RTP/SAVPF`).
    pub sealed: bool,
}

impl Transport {
    /// Reads a comma list, best first. Keys have no case, unknown ones and empty entries are passed over.
    pub fn parse_list(value: &str) -> Vec<Self> {
        let entries = split_outside_quotes(value, ',');
        entries
            .into_iter()
            .map(str::trim)
            .filter(|e| !e.is_empty())
            .map(Self::parse)
            .collect()
    }

    fn parse(entry: &str) -> Self {
        let mut words = split_outside_quotes(entry, ';').into_iter().map(str::trim);
        let protocol = words.next().unwrap_or_default().to_owned();
        let name = protocol.to_ascii_uppercase();
        let sealed = name.starts_with("RTP/SAVP");
        let lower = match name
            .replace("RTP/SAVPF", "RTP/AVP")
            .replace("RTP/SAVP", "RTP/AVP")
            .as_str()
        {
            "RTP/AVP" | "RTP/AVP/UDP" => Lower::Udp,
            "RTP/AVP/TCP" => Lower::Tcp,
            _ => Lower::Other,
        };
        let mut transport = Self {
            lower,
            protocol,
            client_port: None,
            interleaved: None,
            mode: None,
            sealed,
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "multicast" if transport.lower == Lower::Udp => transport.lower = Lower::Multicast,
                "client_port" => transport.client_port = pair(value, |p: u16| p.checked_add(1)),
                "interleaved" => transport.interleaved = pair(value, |c: u8| c.checked_add(1)),
                "mode" => transport.mode = mode(value),
                _ => {}
            }
        }
        transport
    }
}

/// `a-b`, or `a` alone, which means `a` and the number after it.
fn pair<T: Copy + std::str::FromStr>(value: &str, next: impl Fn(T) -> Option<T>) -> Option<(T, T)> {
    match value.split_once('-') {
        Some((a, b)) => Some((a.trim().parse().ok()?, b.trim().parse().ok()?)),
        None => {
            let a = value.parse().ok()?;
            Some((a, next(a)?))
        }
    }
}

/// `PLAY`, `RECORD`, quoted or not, or a list of both, of which the first counts.
fn mode(value: &str) -> Option<Mode> {
    let first = value.split(',').next()?.trim().trim_matches('"');
    match first.to_ascii_lowercase().as_str() {
        "play" => Some(Mode::Play),
        "record" | "receive" => Some(Mode::Record),
        _ => None,
    }
}

/// `unicast`, ports or channels: what a reply's `Transport` says after the protocol.
pub fn udp_reply(protocol: &str, client: (u16, u16), server: (u16, u16), ssrc: Option<u32>) -> String {
    let (a, b) = client;
    let (c, d) = server;
    format!(
        "{protocol};unicast;client_port={a}-{b};server_port={c}-{d}{}",
        ssrc_parameter(ssrc)
    )
}

/// The reply for multicast: where to join, and on which ports.
pub fn multicast_reply(protocol: &str, destination: &str, ports: (u16, u16), ttl: u8, ssrc: u32) -> String {
    let (a, b) = ports;
    let ssrc = ssrc_parameter(Some(ssrc));
    format!("{protocol};multicast;destination={destination};port={a}-{b};ttl={ttl}{ssrc}")
}

/// The reply for interleaved frames.
pub fn tcp_reply(protocol: &str, channels: (u8, u8), ssrc: Option<u32>) -> String {
    let (a, b) = channels;
    format!("{protocol};unicast;interleaved={a}-{b}{}", ssrc_parameter(ssrc))
}

/// Always eight digits: the standard says so, and some clients count them.
fn ssrc_parameter(ssrc: Option<u32>) -> String {
    ssrc.map(|ssrc| format!(";ssrc={ssrc:08X}")).unwrap_or_default()
}

/// The `Range` of a reply to PLAY. Live has no other: a wish for a time is answered by what there is
/// (section 12.29).
pub fn live_range(asked: Option<&str>) -> &'static str {
    let npt = asked.and_then(|a| a.trim().strip_prefix("npt="));
    match npt.map(str::trim_start) {
        Some(from) if from.starts_with("now") => "npt=now-",
        _ => "npt=0.000-",
    }
}

/// One entry of `RTP-Info` (section 12.33); entries are joined by commas.
pub fn rtp_info(url: &str, sequence: u16, rtp_time: u32) -> String {
    // A comma or semicolon in the URL would end it for those who read the header.
    let url = url.replace(',', "%2C").replace(';', "%3B").replace(' ', "%20");
    format!("url={url};seq={sequence};rtptime={rtp_time}")
}

/// The option with which readers ask to speak (ONVIF streaming specification). Whether there is a back channel, each
/// path says for itself.
pub const BACKCHANNEL: &str = "www.onvif.org/ver20/backchannel";

/// Whether a list of options has the back channel.
pub fn wants_backchannel(value: &str) -> bool {
    value
        .split(',')
        .any(|o| o.trim().eq_ignore_ascii_case(BACKCHANNEL))
}

/// The options of `Require` or `Proxy-Require` that we do not have, for `Unsupported` (section 12.32).
pub fn unsupported_options(value: &str) -> Vec<String> {
    let plain = |option: &str| option.chars().filter(char::is_ascii_graphic).take(100).collect();
    let options = value.split(',').map(str::trim).filter(|o| !o.is_empty());
    options
        .filter(|o| !o.eq_ignore_ascii_case(BACKCHANNEL))
        .map(plain)
        .collect()
}

/// Splits at a character that is not between double quotes; a backslash there hides what follows it.
pub(super) fn split_outside_quotes(text: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut hidden) = (false, false);
    text.split(|c| {
        quoted ^= c == '"' && !hidden;
        hidden = quoted && c == '\\' && !hidden;
        c == at && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> Transport {
        let mut list = Transport::parse_list(value);
        assert_eq!(list.len(), 1, "{value}");
        list.remove(0)
    }

    #[test]
    fn the_transports_of_real_clients_are_read() {
        let ffmpeg = one("RTP/AVP/UDP;unicast;client_port=14496-14497");
        assert_eq!(ffmpeg.lower, Lower::Udp);
        assert_eq!(ffmpeg.protocol, "RTP/AVP/UDP");
        assert_eq!(ffmpeg.client_port, Some((14496, 14497)));
        assert_eq!(ffmpeg.mode, None);

        let publisher = one("RTP/AVP/TCP;unicast;interleaved=2-3;mode=record");
        assert_eq!(
            (publisher.lower, publisher.mode),
            (Lower::Tcp, Some(Mode::Record))
        );
        assert_eq!(publisher.interleaved, Some((2, 3)));

        let live555 = one("RTP/AVP;unicast;client_port=50000-50001;mode=receive");
        assert_eq!((live555.lower, live555.mode), (Lower::Udp, Some(Mode::Record)));

        let gstreamer = Transport::parse_list(
            "RTP/AVP;unicast;client_port=38526-38527,RTP/AVP;multicast,RTP/AVP/TCP;unicast;interleaved=0-1",
        );
        let lower: Vec<Lower> = gstreamer.iter().map(|t| t.lower).collect();
        assert_eq!(lower, [Lower::Udp, Lower::Multicast, Lower::Tcp]);
    }

    #[test]
    fn case_quotes_spaces_and_a_last_semicolon_do_not_matter() {
        let t = one(" rtp/avp/tcp ; Unicast ; Interleaved = 4-5 ; MODE=\"PLAY\" ; ");
        assert_eq!(
            (t.lower, t.interleaved, t.mode),
            (Lower::Tcp, Some((4, 5)), Some(Mode::Play))
        );
        assert_eq!(t.protocol, "rtp/avp/tcp");
        assert_eq!(
            one("RTP/AVP;mode=\"RECORD,PLAY\";client_port=2-3").mode,
            Some(Mode::Record)
        );
        assert_eq!(one("RTP/AVP;unicast;client_port=2-3;").client_port, Some((2, 3)));
        assert_eq!(
            one("RTP/AVP;x-new=\"a,b;c\";client_port=2-3").client_port,
            Some((2, 3))
        );
    }

    #[test]
    fn a_port_alone_means_the_next_one_for_rtcp() {
        assert_eq!(one("RTP/AVP;client_port=5000").client_port, Some((5000, 5001)));
        assert_eq!(one("RTP/AVP/TCP;interleaved=6").interleaved, Some((6, 7)));
        for bad in ["65535", "65536", "x", "", "5000-", "-5", "1-99999"] {
            assert_eq!(
                one(&format!("RTP/AVP;client_port={bad}")).client_port,
                None,
                "{bad}"
            );
        }
        assert_eq!(one("RTP/AVP/TCP;interleaved=255").interleaved, None);
        assert_eq!(one("RTP/AVP/TCP;interleaved=256-257").interleaved, None);
    }

    #[test]
    fn what_we_cannot_carry_is_known_as_such() {
        for other in ["RAW/RAW/UDP", "x"] {
            assert_eq!(one(other).lower, Lower::Other, "{other}");
        }
        assert_eq!(one("RTP/AVP;multicast;port=5000").lower, Lower::Multicast);
        assert_eq!(one("RTP/AVP/TCP;multicast").lower, Lower::Tcp);
        assert_eq!(Transport::parse_list(""), []);
        assert_eq!(Transport::parse_list(" , ,"), []);
    }

    #[test]
    fn a_session_id_is_known_again_with_its_parameters() {
        assert_eq!(session_id("0123abcd"), "0123abcd");
        assert_eq!(session_id(" 0123abcd ;timeout=60"), "0123abcd");
        assert_eq!(session_id(""), "");
    }

    #[test]
    fn cseq_is_a_number_and_is_echoed_as_written() {
        assert_eq!(cseq("0"), Some("0"));
        assert_eq!(cseq("007"), Some("007"));
        for bad in ["", "-1", "1 2", "x", "123456789012345678901"] {
            assert_eq!(cseq(bad), None, "{bad}");
        }
    }

    #[test]
    fn replies_name_one_transport_and_no_address() {
        assert_eq!(
            udp_reply("RTP/AVP/UDP", (5000, 5001), (8000, 8001), Some(0xab)),
            "RTP/AVP/UDP;unicast;client_port=5000-5001;server_port=8000-8001;ssrc=000000AB"
        );
        assert_eq!(
            tcp_reply("RTP/AVP/TCP", (2, 3), None),
            "RTP/AVP/TCP;unicast;interleaved=2-3"
        );
    }

    #[test]
    fn a_range_is_now_or_from_the_beginning() {
        assert_eq!(live_range(None), "npt=0.000-");
        assert_eq!(live_range(Some("npt=12.5-")), "npt=0.000-");
        assert_eq!(live_range(Some("clock=19960213T143205Z-")), "npt=0.000-");
        assert_eq!(live_range(Some("npt=now-")), "npt=now-");
    }

    #[test]
    fn rtp_info_keeps_its_separators_to_itself() {
        assert_eq!(
            rtp_info("rtsp://h/a?x=1,2;y/trackID=0", 7, 4_000_000_000),
            "url=rtsp://h/a?x=1%2C2%3By/trackID=0;seq=7;rtptime=4000000000"
        );
    }

    #[test]
    fn required_options_are_refused_by_name_except_the_back_channel() {
        assert_eq!(
            unsupported_options("implicit-play, onvif-replay"),
            ["implicit-play", "onvif-replay"]
        );
        assert!(unsupported_options("www.onvif.org/ver20/backchannel").is_empty());
        assert_eq!(unsupported_options("a\\r\\nb c"), ["a\\r\\nbc"]);
    }
}
