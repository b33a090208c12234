//! What FFmpeg's libraries say, made fit for our log: one line once, no credentials, no flood.
//!
//! Pure: the raw callback is in `av::sys`.

use std::collections::HashMap;
use std::fmt::Write;

/// How many different messages are remembered; beyond that, new ones go to the lowest level.
const REMEMBERED: usize = 256;
/// Longest message that is passed on, in bytes.
const LONGEST: usize = 400;

/// How loud a message of the libraries is, after our own judgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    Warn,
    Debug,
    Trace,
}

/// Messages that say nothing to a user, or that Louver reports itself, once and in its own words.
const KNOWN: &[&str] = &[
    "unable to decode APP fields",
    "deprecated pixel format used",
    "No accelerated colorspace conversion",
    "No longer have a reference picture",
    "Dequeued v4l2 buffer contains corrupted data",
    "EOI missing, emulating",
    "ioctl(VIDIOC_DQBUF)",
    "ioctl(VIDIOC_QBUF)",
    "Some buffers are still owned by the caller on close",
    "Estimating duration from bitrate",
    // Who joins in the middle of a stream has no parameter sets yet; that no picture comes is told by the path.
    "non-existing PPS",
    "decode_slice_header error",
    "no frame!",
];

/// Judges messages and counts the repeated ones.
#[derive(Default)]
pub(super) struct Lines {
    seen: HashMap<String, u64>,
}

impl Lines {
    /// What to log for a message of libav level `av_level` (8 fatal, 16 error, 24 warning, 32 info ...).
    /// `None` for one that was said already. A message is the same as another when only digits differ.
    pub(super) fn judge(&mut self, av_level: i32, text: &str) -> Option<(Level, String)> {
        let text = without_pointers(text.trim());
        let text = text.as_str();
        if text.is_empty() {
            return None;
        }
        let level = match av_level {
            ..=16 => Level::Warn,
            17..=24 => Level::Debug,
            _ => Level::Trace,
        };
        let known = KNOWN.iter().any(|k| text.contains(k));
        let level = if known { Level::Trace } else { level };
        let key = kind_of(text);
        if let Some(count) = self.seen.get_mut(&key) {
            *count += 1;
            return is_power_of_ten(*count).then(|| (level, repeated(text, *count)));
        }
        if self.seen.len() >= REMEMBERED {
            return Some((Level::Trace, redact(text)));
        }
        self.seen.insert(key, 1);
        Some((level, redact(text)))
    }
}

fn repeated(text: &str, count: u64) -> String {
    let mut line = redact(text);
    let _ = write!(line, " (said {count} times)");
    line
}

fn is_power_of_ten(mut n: u64) -> bool {
    while n >= 10 && n.is_multiple_of(10) {
        n /= 10;
    }
    n == 1
}

/// `[h264 @ 0x55e1acbf88c0] odd` is `[h264] odd`: where something lies in memory is nothing for a log, and would make each
/// opening's messages new ones.
fn without_pointers(text: &str) -> String {
    const POINTER: &str = " @ 0x";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(POINTER) {
        out.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    out + rest
}

/// The message without its digits, so that counters in it do not make it a new one.
fn kind_of(text: &str) -> String {
    let mut kind = String::with_capacity(text.len());
    for c in text.chars().take(LONGEST) {
        match c {
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            _ => kind.push(c),
        }
    }
    kind
}

/// Cuts overlong text, drops control characters, and hides what is behind the scheme of URLs.
fn redact(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    let mut out = String::with_capacity(clean.len());
    let mut rest = clean.as_str();
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail
            .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ','))
            .unwrap_or(tail.len());
        out.push_str("***");
        let (_, after) = tail.split_at(end);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_message_is_said_once_and_at_powers_of_ten() {
        let mut lines = Lines::default();
        let said: Vec<_> = (0..1000)
            .filter_map(|n| lines.judge(16, &format!("error while decoding MB {n} 7\n")))
            .collect();
        assert_eq!(said.len(), 4, "{said:?}"); // the 1st, 10th, 100th, 1000th
        assert_eq!(said[0].1, "error while decoding MB 0 7");
        assert!(said[3].1.ends_with("(said 1000 times)"));
    }

    #[test]
    fn levels_follow_the_libraries_but_known_noise_is_quiet() {
        let mut lines = Lines::default();
        assert_eq!(lines.judge(16, "broken header").unwrap().0, Level::Warn);
        assert_eq!(lines.judge(16, "[h264 @ 0x1] no frame!").unwrap().0, Level::Trace);
        assert_eq!(lines.judge(24, "odd").unwrap().0, Level::Debug);
        assert_eq!(lines.judge(32, "Stream 0").unwrap().0, Level::Trace);
        let app = lines
            .judge(16, "unable to decode APP fields: Invalid data")
            .unwrap();
        assert_eq!(app.0, Level::Trace);
        assert!(lines.judge(16, "  \n").is_none());
    }

    #[test]
    fn a_message_of_another_opening_is_the_same_message() {
        let mut lines = Lines::default();
        let first = lines.judge(16, "[tcp @ 0x55e1aca7d040] Connection to tcp://cam failed: odd");
        assert_eq!(first.unwrap().1, "[tcp] Connection to tcp://*** failed: odd");
        let again = lines.judge(16, "[tcp @ 0x7fabcdef0012] Connection to tcp://cam failed: odd");
        assert!(again.is_none(), "it was said");
    }

    #[test]
    fn addresses_and_control_characters_do_not_pass() {
        let line = redact("cannot open 'rtsp://bob:p@s/s@cam/1' or http://cam/x?token=y \u{1b}[31m");
        assert_eq!(line, "cannot open 'rtsp://***' or http://*** [31m");
    }

    #[test]
    fn memory_is_bounded_however_many_messages_differ() {
        let mut lines = Lines::default();
        for n in 0..2000_u32 {
            let word: String = n
                .to_string()
                .chars()
                .map(|c| (c as u8 - b'0' + b'a') as char)
                .collect();
            lines.judge(16, &word);
        }
        assert_eq!(lines.seen.len(), REMEMBERED);
    }
}
