//! Families of players, by our own table. An agent string is looked at once and thrown away.
//!
//! The family is what statistics show. The major version only makes viewers behind one address easier to
//! tell apart: it goes into the HMAC and is never stored. An agent that the table does not know is
//! [`ClientFamily::Other`], never its own text.

use std::sync::LazyLock;

use zeroize::Zeroizing;

/// Whether somebody looks or something keeps watch. Machines are counted apart from the audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientClass {
    /// A player, a browser, a tool that somebody started.
    Person,
    /// A recorder, another relay, home automation, a monitor, a crawler.
    Machine,
}

macro_rules! families {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $class:ident;)*) => {
        /// Which software plays. A closed list: no text of a viewer's can become one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ClientFamily { $($(#[$doc])* $variant,)* }

        impl ClientFamily {
            /// Every family.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that statistics show.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// Somebody or something.
            pub fn class(self) -> ClientClass {
                match self { $(Self::$variant => ClientClass::$class,)* }
            }
        }
    };
}

families! {
    /// VLC and everything on libVLC.
    Vlc = "VLC", Person;
    /// ffplay, ffmpeg and everything that reads through libavformat.
    Ffmpeg = "FFmpeg", Person;
    GStreamer = "GStreamer", Person;
    Mpv = "mpv", Person;
    /// ExoPlayer and Media3: most Android players.
    ExoPlayer = "ExoPlayer", Person;
    /// AVFoundation: players of Apple's systems, also Safari's media stack.
    AvFoundation = "AVFoundation", Person;
    QuickTime = "QuickTime", Person;
    Chrome = "Chrome", Person;
    Firefox = "Firefox", Person;
    Safari = "Safari", Person;
    Edge = "Edge", Person;
    OtherBrowser = "other browser", Person;
    Kodi = "Kodi", Person;
    Obs = "OBS", Person;
    TinyCam = "tinyCam", Person;
    /// openRTSP and other programs on LIVE555 that are not VLC.
    Live555 = "LIVE555", Person;
    /// The RTSP library; the recorder built on it is [`Self::Moonfire`].
    Retina = "retina", Person;
    Curl = "curl", Person;
    Wget = "Wget", Person;
    /// MediaMTX and what else uses gortsplib.
    MediaMtx = "MediaMTX", Machine;
    Go2Rtc = "go2rtc", Machine;
    Frigate = "Frigate", Machine;
    HomeAssistant = "Home Assistant", Machine;
    BlueIris = "Blue Iris", Machine;
    Synology = "Synology", Machine;
    Hikvision = "Hikvision", Machine;
    Dahua = "Dahua", Machine;
    UniFi = "UniFi", Machine;
    Moonfire = "Moonfire NVR", Machine;
    OtherRecorder = "other recorder", Machine;
    /// A server that takes our streams to give them on.
    OtherRelay = "other relay", Machine;
    /// Home automation beside Home Assistant.
    OtherHome = "other home automation", Machine;
    Monitor = "monitor", Machine;
    Crawler = "crawler", Machine;
    /// Anything else, and agents that do not say.
    Other = "other", Person;
}

/// What is left of an agent string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::privacy) struct Client {
    pub(in crate::privacy) family: ClientFamily,
    /// First number after the family's word, 0 when there is none.
    pub(in crate::privacy) major: u16,
}

/// Words that give a family away, in lower case, most telling first: an agent names what it is built on and
/// whom it imitates too, so recorders come before libraries, and browsers before those whose names they
/// carry.
const TABLE: &[(&str, ClientFamily)] = &[
    ("frigate", ClientFamily::Frigate),
    ("go2rtc", ClientFamily::Go2Rtc),
    ("homeassistant", ClientFamily::HomeAssistant),
    ("home assistant", ClientFamily::HomeAssistant),
    ("blueiris", ClientFamily::BlueIris),
    ("blue iris", ClientFamily::BlueIris),
    ("surveillancestation", ClientFamily::Synology),
    ("surveillance station", ClientFamily::Synology),
    ("synology", ClientFamily::Synology),
    ("hikvision", ClientFamily::Hikvision),
    ("nkplayer", ClientFamily::Hikvision), // Hikvision's RTSP client
    ("ivms", ClientFamily::Hikvision),
    ("dahua", ClientFamily::Dahua),
    ("rtsp client/", ClientFamily::Dahua), // Dahua's recorders
    ("unifi", ClientFamily::UniFi),
    ("ubnt", ClientFamily::UniFi),
    ("moonfire", ClientFamily::Moonfire),
    ("mediamtx", ClientFamily::MediaMtx),
    ("gortsplib", ClientFamily::MediaMtx),
    ("rtsp-simple-server", ClientFamily::MediaMtx),
    ("zoneminder", ClientFamily::OtherRecorder),
    ("shinobi", ClientFamily::OtherRecorder),
    ("scrypted", ClientFamily::OtherRecorder),
    ("motioneye", ClientFamily::OtherRecorder),
    ("agentdvr", ClientFamily::OtherRecorder),
    ("agent dvr", ClientFamily::OtherRecorder),
    ("ispy", ClientFamily::OtherRecorder),
    ("milestone", ClientFamily::OtherRecorder),
    ("homebridge", ClientFamily::OtherRecorder),
    ("reolink", ClientFamily::OtherRecorder),
    ("securityspy", ClientFamily::OtherRecorder),
    ("axis camera station", ClientFamily::OtherRecorder),
    ("exacqvision", ClientFamily::OtherRecorder),
    ("genetec", ClientFamily::OtherRecorder),
    ("avigilon", ClientFamily::OtherRecorder),
    ("nx witness", ClientFamily::OtherRecorder),
    ("wisenet", ClientFamily::OtherRecorder),
    ("qvr", ClientFamily::OtherRecorder), // QNAP
    ("xeoma", ClientFamily::OtherRecorder),
    ("luxriot", ClientFamily::OtherRecorder),
    ("viseron", ClientFamily::OtherRecorder),
    ("kerberos", ClientFamily::OtherRecorder),
    ("nvr", ClientFamily::OtherRecorder),
    ("zlmediakit", ClientFamily::OtherRelay),
    ("srs/", ClientFamily::OtherRelay),
    ("wowza", ClientFamily::OtherRelay),
    ("nimble", ClientFamily::OtherRelay),
    ("antmedia", ClientFamily::OtherRelay),
    ("ant media", ClientFamily::OtherRelay),
    ("ovenmediaengine", ClientFamily::OtherRelay),
    ("flussonic", ClientFamily::OtherRelay),
    ("janus", ClientFamily::OtherRelay),
    ("louver/", ClientFamily::OtherRelay),
    ("openhab", ClientFamily::OtherHome),
    ("iobroker", ClientFamily::OtherHome),
    ("domoticz", ClientFamily::OtherHome),
    ("hubitat", ClientFamily::OtherHome),
    ("node-red", ClientFamily::OtherHome),
    ("site24x7", ClientFamily::Monitor),
    ("better uptime", ClientFamily::Monitor),
    ("betterstack", ClientFamily::Monitor),
    ("checkly", ClientFamily::Monitor),
    ("datadog", ClientFamily::Monitor),
    ("hetrixtools", ClientFamily::Monitor),
    ("monit/", ClientFamily::Monitor),
    ("monitor", ClientFamily::Monitor),
    ("uptime-kuma", ClientFamily::Monitor),
    ("uptimekuma", ClientFamily::Monitor),
    ("uptimerobot", ClientFamily::Monitor),
    ("prometheus", ClientFamily::Monitor),
    ("blackbox", ClientFamily::Monitor),
    ("telegraf", ClientFamily::Monitor),
    ("nagios", ClientFamily::Monitor),
    ("check_http", ClientFamily::Monitor),
    ("icinga", ClientFamily::Monitor),
    ("zabbix", ClientFamily::Monitor),
    ("pingdom", ClientFamily::Monitor),
    ("statuscake", ClientFamily::Monitor),
    ("gatus", ClientFamily::Monitor),
    ("kube-probe", ClientFamily::Monitor),
    ("healthcheck", ClientFamily::Monitor),
    ("googlebot", ClientFamily::Crawler),
    ("bingbot", ClientFamily::Crawler),
    ("crawler", ClientFamily::Crawler),
    ("spider", ClientFamily::Crawler),
    ("bot/", ClientFamily::Crawler),
    ("zgrab", ClientFamily::Crawler),
    ("masscan", ClientFamily::Crawler),
    ("kodi", ClientFamily::Kodi),
    ("obs-studio", ClientFamily::Obs),
    ("obs studio", ClientFamily::Obs),
    ("tinycam", ClientFamily::TinyCam),
    ("libvlc", ClientFamily::Vlc),
    ("vlc", ClientFamily::Vlc),
    ("libmpv", ClientFamily::Mpv),
    ("mpv", ClientFamily::Mpv),
    ("exoplayerlib", ClientFamily::ExoPlayer),
    ("exoplayer", ClientFamily::ExoPlayer),
    ("androidxmedia3", ClientFamily::ExoPlayer),
    ("media3", ClientFamily::ExoPlayer),
    ("gstreamer", ClientFamily::GStreamer),
    ("quicktime", ClientFamily::QuickTime),
    ("applecoremedia", ClientFamily::AvFoundation),
    ("avfoundation", ClientFamily::AvFoundation),
    ("live555", ClientFamily::Live555),
    ("openrtsp", ClientFamily::Live555),
    ("retina", ClientFamily::Retina),
    ("lavf", ClientFamily::Ffmpeg),
    ("ffmpeg", ClientFamily::Ffmpeg),
    ("ffplay", ClientFamily::Ffmpeg),
    ("curl", ClientFamily::Curl),
    ("wget", ClientFamily::Wget),
    ("edg/", ClientFamily::Edge),
    ("edga/", ClientFamily::Edge),
    ("edgios/", ClientFamily::Edge),
    ("edge/", ClientFamily::Edge),
    ("opr/", ClientFamily::OtherBrowser),
    ("samsungbrowser", ClientFamily::OtherBrowser),
    ("fxios/", ClientFamily::Firefox),
    ("firefox", ClientFamily::Firefox),
    ("crios/", ClientFamily::Chrome),
    ("chromium", ClientFamily::Chrome),
    ("headlesschrome", ClientFamily::Chrome),
    ("chrome", ClientFamily::Chrome),
    ("version/", ClientFamily::Safari), // Safari's own version stands there, not after "safari/"
    ("safari", ClientFamily::Safari),
    ("mozilla", ClientFamily::OtherBrowser),
];

/// Agents longer than this are looked at no further.
const MOST_BYTES: usize = 512;

/// Family and major version of an agent string.
pub(in crate::privacy) fn classify(user_agent: &str) -> Client {
    let agent = lower(user_agent);
    let agent = agent.as_bytes();
    // Every place is looked at once, with the few words that begin as it does.
    let mut best: Option<(usize, usize)> = None;
    for (at, &first) in agent.iter().enumerate() {
        for &row in &BY_FIRST_BYTE[usize::from(first)] {
            if best.is_none_or(|(found, _)| row < found) && agent[at..].starts_with(TABLE[row].0.as_bytes()) {
                best = Some((row, at));
            }
        }
    }
    match best {
        Some((row, at)) => Client {
            family: TABLE[row].1,
            major: major(&agent[at + TABLE[row].0.len()..]),
        },
        None => Client {
            family: ClientFamily::Other,
            major: 0,
        },
    }
}

/// Rows of [`TABLE`] by the first byte of their word.
static BY_FIRST_BYTE: LazyLock<Vec<Vec<usize>>> = LazyLock::new(|| {
    let mut rows = vec![Vec::new(); 256];
    for (row, (word, _)) in TABLE.iter().enumerate() {
        rows[usize::from(word.as_bytes()[0])].push(row);
    }
    rows
});

/// Whether the agent carries the word by which players that can set nothing else opt out.
pub(in crate::privacy) fn wants_no_statistics(user_agent: &str) -> bool {
    lower(user_agent).contains("nostats")
}

/// The part of the agent that is looked at, in lower case, wiped when it goes.
fn lower(user_agent: &str) -> Zeroizing<String> {
    let mut end = user_agent.len().min(MOST_BYTES);
    while !user_agent.is_char_boundary(end) {
        end -= 1;
    }
    Zeroizing::new(user_agent[..end].to_ascii_lowercase())
}

/// The number that follows a word: `/3.0.20` is 3. Zero when something else follows.
fn major(rest: &[u8]) -> u16 {
    let digits = match rest {
        [b'/' | b' ' | b'-' | b'_', digits @ ..] => digits,
        digits => digits,
    };
    digits
        .iter()
        .map_while(|b| b.is_ascii_digit().then(|| u16::from(b - b'0')))
        .fold(0_u16, |n, digit| n.saturating_mul(10).saturating_add(digit))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn family(agent: &str) -> ClientFamily {
        classify(agent).family
    }

    #[test]
    fn agents_as_players_send_them_are_known() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)";
        for (agent, expected, major) in [
            (
                "LibVLC/3.0.20 (LIVE555 Streaming Media v2016.11.28)",
                ClientFamily::Vlc,
                3,
            ),
            ("VLC/3.0.20 LibVLC/3.0.20", ClientFamily::Vlc, 3),
            ("Lavf60.16.100", ClientFamily::Ffmpeg, 60),
            ("Lavf/59.27.100", ClientFamily::Ffmpeg, 59),
            ("FFmpeg Frigate/0.13.2", ClientFamily::Frigate, 0),
            ("GStreamer/1.22.0", ClientFamily::GStreamer, 1),
            (
                "GStreamer souphttpsrc 1.22.0 libsoup/3.2.2",
                ClientFamily::GStreamer,
                0,
            ),
            ("mpv 0.35.1", ClientFamily::Mpv, 0),
            ("ExoPlayerLib/2.18.1", ClientFamily::ExoPlayer, 2),
            ("AndroidXMedia3/1.3.1", ClientFamily::ExoPlayer, 1),
            (
                "AppleCoreMedia/1.0.0.20G75 (iPhone; U; CPU OS 16_6 like Mac OS X)",
                ClientFamily::AvFoundation,
                1,
            ),
            ("QuickTime/7.6.6 (qtver=7.6.6)", ClientFamily::QuickTime, 7),
            (
                &format!("{chrome} Chrome/120.0.0.0 Safari/537.36"),
                ClientFamily::Chrome,
                120,
            ),
            (
                &format!("{chrome} Chrome/120.0.0.0 Safari/537.36 Edg/121.0"),
                ClientFamily::Edge,
                121,
            ),
            (
                &format!("{chrome} Version/17.1 Safari/605.1.15"),
                ClientFamily::Safari,
                17,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
                ClientFamily::Firefox,
                121,
            ),
            ("gortsplib", ClientFamily::MediaMtx, 0),
            ("go2rtc/1.9.4", ClientFamily::Go2Rtc, 1),
            (
                "HomeAssistant/2024.1.0 aiohttp/3.9.1 Python/3.12",
                ClientFamily::HomeAssistant,
                2024,
            ),
            ("BlueIris/5.8", ClientFamily::BlueIris, 5),
            ("Synology Surveillance Station 9", ClientFamily::Synology, 9),
            ("NKPlayer-1.00.00.081112", ClientFamily::Hikvision, 1),
            ("Rtsp Client/2.0", ClientFamily::Dahua, 2),
            ("UniFi Protect", ClientFamily::UniFi, 0),
            ("Kodi/20.2 (X11; Linux x86_64)", ClientFamily::Kodi, 20),
            ("OBS-Studio/30.0.0", ClientFamily::Obs, 30),
            ("curl/8.5.0", ClientFamily::Curl, 8),
            ("Wget/1.21.4", ClientFamily::Wget, 1),
            ("Uptime-Kuma/1.23.11", ClientFamily::Monitor, 1),
            ("Prometheus/2.48.1", ClientFamily::Monitor, 2),
            ("retina-examples v0.4.21", ClientFamily::Retina, 0),
            ("moonfire-nvr/0.7.11", ClientFamily::Moonfire, 0),
            (
                "openRTSP (LIVE555 Streaming Media v2023.01.19)",
                ClientFamily::Live555,
                0,
            ),
            ("CanaryPlayer/9.9 (serial 12345)", ClientFamily::Other, 0),
            ("", ClientFamily::Other, 0),
        ] {
            assert_eq!(family(agent), expected, "{agent}");
            assert_eq!(classify(agent).major, major, "{agent}");
        }
    }

    #[test]
    fn recorders_and_monitors_are_machines_and_players_are_not() {
        for agent in [
            "Frigate",
            "go2rtc/1",
            "mediamtx",
            "Prometheus/2",
            "moonfire-nvr",
            "SomeBot/1.0",
            "Reolink Client",
            "SecuritySpy/5.5",
            "ZLMediaKit(git hash:abc)",
            "SRS/6.0.48(Hang)",
            "openHAB/4.1",
            "Datadog/Synthetics",
            "My Stream Monitor 1.0",
            "iVMS-4200",
        ] {
            assert_eq!(family(agent).class(), ClientClass::Machine, "{agent}");
        }
        for agent in [
            "VLC/3",
            "Lavf60",
            "GStreamer/1.22",
            "curl/8",
            "retina",
            "something new",
            "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
            "LibVLC/3.0.20 (LIVE555 Streaming Media v2016.11.28)",
            "AppleCoreMedia/1.0.0.20G75 (iPhone; U; CPU OS 16_6 like Mac OS X)",
            "Lavf/59.27.100",
            "",
        ] {
            assert_eq!(family(agent).class(), ClientClass::Person, "{agent}");
        }
    }

    #[test]
    fn every_family_has_a_name_of_its_own() {
        let names: HashSet<_> = ClientFamily::ALL.iter().map(|f| f.name()).collect();
        assert_eq!(names.len(), ClientFamily::ALL.len());
        assert!(TABLE.iter().all(|(word, _)| *word == word.to_ascii_lowercase()));
    }

    #[test]
    fn odd_agents_are_no_trouble() {
        assert_eq!(classify("vlc/99999999999999").major, u16::MAX);
        assert_eq!(family(&"é".repeat(5000)), ClientFamily::Other);
        assert_eq!(family(&format!("{}vlc/3", "x".repeat(600))), ClientFamily::Other);
        assert_eq!(family("vLc\0/3\r\n"), ClientFamily::Vlc);
        assert!(wants_no_statistics("Lavf60 NoStats"));
        assert!(!wants_no_statistics("Lavf60"));
    }
}
