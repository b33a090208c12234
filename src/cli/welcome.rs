//! What a person reads when the relay runs: which addresses to open, how to get in, what to do next.
//! Pure, but for [`lan_addresses`].
//!
//! It goes to stderr and is no log. Scripts read the `listening` lines instead.

use std::fmt::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::config::Required;
use crate::config::credentials::Credentials;
use crate::config::credentials::NewPassword;

/// Everything that the text depends on.
pub struct Welcome<'a> {
    /// Where RTSP listens, as bound.
    pub rtsp: &'a [SocketAddr],
    /// Where RTSP in TLS listens, as bound.
    pub rtsps: &'a [SocketAddr],
    /// SHA-256 of the certificate shown there.
    pub fingerprint: Option<&'a str>,
    /// Where HTTP listens, as bound.
    pub http: &'a [SocketAddr],
    /// This machine's addresses as others see it, the likeliest first (see [`lan_addresses`]).
    pub lan: &'a [IpAddr],
    /// Configured paths, the first is put into the addresses.
    pub paths: &'a [String],
    /// Whether publishers may open more paths.
    pub publish: bool,
    pub required: Required,
    /// `None`: nobody is asked.
    pub credentials: Option<&'a Credentials>,
    /// Whether to draw a QR code, for people at a terminal.
    pub qr: bool,
    pub hints: &'a [Hint],
}

/// Something that went another way than the user may have thought, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// No camera is there, so the test picture is shown.
    NoCamera,
}

impl Hint {
    fn text(self) -> &'static str {
        match self {
            Self::NoCamera => {
                "No camera was found, so this is a test picture. Plug one in and start again;\n  \
                 `louver devices` lists what is there, `louver webcam:DEVICE` takes a certain one."
            }
        }
    }
}

/// The text, ending with a line feed.
pub fn text(w: &Welcome<'_>) -> String {
    let mut out = String::from("\n");
    for hint in w.hints {
        let _ = writeln!(out, "  {}\n", hint.text());
    }
    let rtsp = urls(w, "rtsp", w.rtsp);
    let http = urls(w, "http", w.http);
    for url in &rtsp {
        for path in w.paths {
            let _ = writeln!(out, "  VLC, ffplay, recorders   {url}{path}");
        }
    }
    for url in &urls(w, "rtsps", w.rtsps) {
        for path in w.paths {
            let _ = writeln!(out, "  Encrypted                {url}{path}");
        }
    }
    for url in &http {
        let _ = writeln!(out, "  Browser                  {url}");
    }
    if let (true, Some(url)) = (w.publish, rtsp.first()) {
        let _ = writeln!(
            out,
            "  Publish (any new path)   ffmpeg -re -i clip.mp4 -c copy -f rtsp {url}mystream"
        );
    }
    if let Some(fingerprint) = w.fingerprint {
        let _ = writeln!(out, "\n  Certificate, SHA-256     {fingerprint}");
    }
    out.push('\n');
    out.push_str(&access(w));
    if let (true, true, Some(url)) = (w.qr, reachable(w), http.first().or(rtsp.first())) {
        out.push_str(&qr(url));
    }
    out
}

/// Whether another machine could open one of the addresses.
fn reachable(w: &Welcome<'_>) -> bool {
    w.rtsp
        .iter()
        .chain(w.rtsps)
        .chain(w.http)
        .any(|a| !a.ip().is_loopback())
}

/// Who gets in, and how.
fn access(w: &Welcome<'_>) -> String {
    let mut out = String::new();
    match w.credentials {
        Some(Credentials {
            new: Some(NewPassword { user, password }),
            ..
        }) => {
            let password = password.as_str();
            let _ = writeln!(
                out,
                "  User {user}, password {password} (in the addresses above). Keep it: it is not shown\n  \
                 again. For a new one, delete credentials.toml in the data directory and start again.\n"
            );
        }
        Some(_) => out.push_str(
            "  User and password are asked for. `louver user list` tells who has one, `louver user add NAME`\n  \
             sets a new one.\n\n",
        ),
        None => {}
    }
    if !reachable(w) {
        out.push_str("  For this machine only. `louver --lan` opens it to the network, with a password.\n\n");
    } else if w.lan.is_empty() {
        out.push_str("  This machine has no network address yet; others cannot reach it before it has.\n\n");
    } else {
        let mut ports: Vec<String> = w
            .rtsp
            .iter()
            .chain(w.rtsps)
            .chain(w.http)
            .map(|a| a.port().to_string())
            .collect();
        ports.dedup();
        let _ = writeln!(
            out,
            "  If other machines cannot connect, allow TCP {} in this machine's firewall.\n",
            ports.join(" and ")
        );
    }
    out
}

/// One address per place that a person could type, with the password when it is new.
fn urls(w: &Welcome<'_>, scheme: &str, bound: &[SocketAddr]) -> Vec<String> {
    let mut urls = Vec::new();
    for listener in bound {
        let user = match w.credentials {
            Some(Credentials { new: Some(new), .. }) if w.required.at(listener) => {
                format!("{}:{}@", new.user, new.password.as_str())
            }
            _ => String::new(),
        };
        for host in hosts(listener, w.lan) {
            let url = format!("{scheme}://{user}{}/", SocketAddr::new(host, listener.port()));
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    urls
}

/// The addresses under which a listener is found.
fn hosts(listener: &SocketAddr, lan: &[IpAddr]) -> Vec<IpAddr> {
    if !listener.ip().is_unspecified() {
        return vec![listener.ip()];
    }
    // A listener on [::] takes IPv4 too, unless the system was told otherwise.
    let mut hosts: Vec<IpAddr> = lan
        .iter()
        .copied()
        .filter(|ip| ip.is_ipv4() || listener.is_ipv6())
        .collect();
    if hosts.is_empty() {
        hosts.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    hosts
}

/// Black on white whatever the terminal's colours are, two rows of modules per line.
fn qr(url: &str) -> String {
    let Ok(code) = QrCode::new(url) else {
        return String::new();
    };
    let drawn = code.render::<Dense1x2>().quiet_zone(true).build();
    let lines: Vec<String> = drawn
        .lines()
        .map(|l| format!("  \u{1b}[30;107m{l}\u{1b}[0m\n"))
        .collect();
    format!("{}  (opens {url})\n\n", lines.concat())
}

/// This machine's addresses that others on its network could type, the likeliest first.
pub fn lan_addresses() -> Vec<IpAddr> {
    let mut found: Vec<(String, IpAddr)> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|i| (i.name.clone(), i.ip()))
        .filter(|(_, ip)| is_typeable(ip))
        .collect();
    found.sort_by_key(|(name, ip)| rank(name, ip));
    found.into_iter().map(|(_, ip)| ip).collect()
}

/// Link-local addresses need a zone, which most players do not take.
fn is_typeable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// Real networks before those of containers, virtual machines and tunnels; IPv4 before IPv6.
fn rank(interface: &str, ip: &IpAddr) -> (bool, bool, String) {
    const VIRTUAL: [&str; 10] = [
        "docker", "br-", "veth", "virbr", "vmnet", "vbox", "tun", "tap", "cni", "podman",
    ];
    let is_virtual = VIRTUAL
        .iter()
        .any(|v| interface.to_ascii_lowercase().starts_with(v));
    (is_virtual, ip.is_ipv6(), interface.to_owned())
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn addr(text: &str) -> Vec<SocketAddr> {
        vec![text.parse().unwrap()]
    }

    fn shown(rtsp: &str, http: &str, lan: &[&str], credentials: Option<&Credentials>, qr: bool) -> String {
        let lan: Vec<IpAddr> = lan.iter().map(|a| a.parse().unwrap()).collect();
        text(&Welcome {
            rtsp: &addr(rtsp),
            rtsps: &[],
            fingerprint: None,
            http: &addr(http),
            lan: &lan,
            paths: &["webcam".to_owned()],
            publish: true,
            required: Required::Auto,
            credentials,
            qr,
            hints: &[],
        })
    }

    fn new_password() -> Credentials {
        let password = Zeroizing::new("abcdefgh23456789".to_owned());
        Credentials {
            users: vec![],
            new: Some(NewPassword {
                user: "louver",
                password,
            }),
        }
    }

    #[test]
    fn on_loopback_there_are_plain_addresses_and_the_way_to_the_network() {
        let got = shown("127.0.0.1:8554", "127.0.0.1:8080", &["192.168.1.20"], None, true);
        assert_eq!(
            got,
            "
  VLC, ffplay, recorders   rtsp://127.0.0.1:8554/webcam
  Browser                  http://127.0.0.1:8080/
  Publish (any new path)   ffmpeg -re -i clip.mp4 -c copy -f rtsp rtsp://127.0.0.1:8554/mystream

  For this machine only. `louver --lan` opens it to the network, with a password.

"
        );
    }

    #[test]
    fn on_the_network_a_new_password_is_in_the_addresses() {
        let new = new_password();
        let lan = ["192.168.1.20", "10.0.0.3", "2001:db8::20"];
        let got = shown("0.0.0.0:8554", "[::]:8080", &lan, Some(&new), false);
        for url in [
            "rtsp://louver:abcdefgh23456789@192.168.1.20:8554/webcam\n",
            "rtsp://louver:abcdefgh23456789@10.0.0.3:8554/webcam\n",
            "http://louver:abcdefgh23456789@[2001:db8::20]:8080/\n",
            "allow TCP 8554 and 8080",
        ] {
            assert!(got.contains(url), "{url} is not in:\n{got}");
        }
        assert!(
            !got.contains("@[2001:db8::20]:8554") && !got.contains("0.0.0.0"),
            "{got}"
        );
    }

    #[test]
    fn a_password_that_is_not_new_is_nowhere() {
        let old = Credentials {
            users: vec![],
            new: None,
        };
        let got = shown(
            "0.0.0.0:8554",
            "0.0.0.0:8080",
            &["192.168.1.20"],
            Some(&old),
            false,
        );
        assert!(got.contains("rtsp://192.168.1.20:8554/webcam\n"), "{got}");
        assert!(got.contains("User and password are asked for."), "{got}");
    }

    #[test]
    fn an_open_loopback_listener_gets_no_password_beside_one_on_the_network() {
        let new = new_password();
        let got = shown(
            "127.0.0.1:8554",
            "0.0.0.0:8080",
            &["192.168.1.20"],
            Some(&new),
            false,
        );
        assert!(got.contains("   rtsp://127.0.0.1:8554/webcam\n"), "{got}");
        assert!(
            got.contains("   http://louver:abcdefgh23456789@192.168.1.20:8080/\n"),
            "{got}"
        );
    }

    #[test]
    fn without_a_network_it_says_so() {
        let got = shown("0.0.0.0:8554", "0.0.0.0:8080", &[], None, true);
        assert!(
            got.contains("rtsp://127.0.0.1:8554/webcam") && got.contains("no network address"),
            "{got}"
        );
    }

    #[test]
    fn the_drawn_code_has_the_modules_of_the_address_and_a_quiet_zone() {
        let got = shown("0.0.0.0:8554", "0.0.0.0:8080", &["192.168.1.20"], None, true);
        let rows: Vec<&str> = got
            .lines()
            .filter_map(|l| l.strip_prefix("  \u{1b}[30;107m"))
            .collect();
        let half = |c: char| match c {
            '█' => (true, true),
            '▀' => (true, false),
            '▄' => (false, true),
            _ => (false, false),
        };
        let mut dark = Vec::new();
        for row in rows {
            let pairs: Vec<_> = row.trim_end_matches("\u{1b}[0m").chars().map(half).collect();
            dark.push(pairs.iter().map(|p| p.0).collect::<Vec<_>>());
            dark.push(pairs.iter().map(|p| p.1).collect::<Vec<_>>());
        }
        let code = QrCode::new("http://192.168.1.20:8080/").unwrap();
        let (width, colors) = (code.width(), code.to_colors());
        for y in 0..width {
            for x in 0..width {
                let want = colors[y * width + x] == qrcode::Color::Dark;
                assert_eq!(dark[y + 4][x + 4], want, "{x},{y}");
            }
        }
        assert!(dark[..4].iter().flatten().all(|d| !d));
        let loopback = shown("127.0.0.1:1", "127.0.0.1:2", &["192.168.1.20"], None, true);
        assert!(!loopback.contains('█'), "no phone can open {loopback}");
    }

    #[test]
    fn no_camera_says_what_to_do() {
        let w = Welcome {
            rtsp: &addr("127.0.0.1:1"),
            rtsps: &[],
            fingerprint: None,
            http: &[],
            lan: &[],
            paths: &["webcam".to_owned()],
            publish: false,
            required: Required::Auto,
            credentials: None,
            qr: false,
            hints: &[Hint::NoCamera],
        };
        let got = text(&w);
        assert!(
            got.contains("No camera was found") && got.contains("louver devices"),
            "{got}"
        );
        assert!(!got.contains("Browser") && !got.contains("Publish"), "{got}");
    }

    #[test]
    fn real_networks_come_before_virtual_ones() {
        let v4 = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let v6 = IpAddr::V6("2001:db8::1".parse().unwrap());
        assert!(rank("wlan0", &v4) < rank("docker0", &v4));
        assert!(rank("wlan0", &v4) < rank("eth0", &v6));
        assert!(rank("eth0", &v6) < rank("br-12ab", &v4));
        assert!(!is_typeable(&"fe80::1".parse().unwrap()) && !is_typeable(&"169.254.0.1".parse().unwrap()));
    }
}
