//! What is wrong in a configuration file, at which line, and what was expected. Secrets stay hidden.

use std::fmt;
use std::ops::Range;

/// One mistake, as `FILE:LINE: what, and what was expected` and the line itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    /// From 1; `None` when the file as a whole is meant.
    line: Option<usize>,
    /// The line with its secrets masked; empty when it cannot be shown.
    shown: String,
    message: String,
}

impl ConfigError {
    /// A mistake at the place where `span` begins in `text`.
    pub(super) fn at(file: &str, text: &str, span: &Range<usize>, message: &str) -> Self {
        let start = span.start.min(text.len());
        let before = text.get(..start).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        Self {
            file: file.to_owned(),
            line: Some(line),
            shown: shown_line(text, before, line),
            message: mask(&plain(message)),
        }
    }

    /// A mistake of the whole file: missing, unreadable.
    pub(super) fn whole(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            shown: String::new(),
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            None => write!(f, "{}: {}", self.file, self.message),
            Some(line) if self.shown.is_empty() => write!(f, "{}:{line}: {}", self.file, self.message),
            Some(line) => write!(
                f,
                "{}:{line}: {}\n  {line} | {}",
                self.file, self.message, self.shown
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Every mistake that was found, in the order of the lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.0))]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// The mistakes in the order of their lines.
    pub(super) fn sorted(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by_key(|e| e.line);
        Self(errors)
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

fn list(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The line as it stands in the file, without what must not be shown.
fn shown_line(text: &str, before: &str, line: usize) -> String {
    // Inside a text of several lines we cannot see whose value this is.
    let inside = |quotes: &str| !before.matches(quotes).count().is_multiple_of(2);
    if inside("\"\"\"") || inside("'''") {
        return String::new();
    }
    mask(text.lines().nth(line - 1).unwrap_or("").trim())
}

/// The parser's message in the user's words, without the offending value: the shown line has it, masked.
fn plain(message: &str) -> String {
    if message == "duplicate key" {
        return "duplicate key, expected each key and table once".to_owned();
    }
    let Some((what, expected)) = message.split_once(", expected ") else {
        return message.to_owned();
    };
    // The parser thinks of its shapes; who writes the file thinks of keys.
    let what = &what.replacen("unknown field", "unknown key", 1);
    let what = match what.find(['"', '`']) {
        Some(value) if what.starts_with("invalid ") => what[..value].trim_end(),
        _ => what,
    };
    let expected = match expected {
        "i64" => "a whole number",
        "a boolean" => "true or false",
        other => other,
    };
    format!("{what}, expected {expected}")
}

/// Words in the name of a key whose value is a secret.
const SECRET_KEYS: [&str; 5] = ["password", "passwd", "secret", "token", "ha1"];
const MASK: &str = "***";

/// Hides the values of secret keys (`password = "x"`, `?token=x`) and the user part of URLs.
pub fn mask(text: &str) -> String {
    mask_values(&mask_user_parts(text))
}

/// `rtsp://anna:pw@host/` becomes `rtsp://***@host/`.
fn mask_user_parts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let authority = tail.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(tail.len());
        rest = tail;
        if let Some(user) = tail[..authority].rfind('@') {
            out.push_str(MASK);
            rest = &tail[user..];
        }
    }
    out + rest
}

fn mask_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('=') {
        out.push_str(head);
        out.push('=');
        rest = if ends_with_secret_key(head) {
            mask_value(tail, &mut out)
        } else {
            tail
        };
    }
    out + rest
}

fn ends_with_secret_key(head: &str) -> bool {
    let head = head.trim_end().trim_end_matches(['"', '\'']);
    let key = head
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .next()
        .unwrap_or("")
        .to_ascii_lowercase();
    SECRET_KEYS.iter().any(|word| key.contains(word))
}

/// Replaces the value at the start of `rest`; returns what comes after it.
fn mask_value<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let value = rest.trim_start();
    out.push_str(&rest[..rest.len() - value.len()]);
    if value.starts_with(['[', '{']) {
        out.push_str(MASK);
        return "";
    }
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else {
        out.push_str(MASK);
        let end = value
            .find(['&', '"', '\'', ',', '}', ']', ' '])
            .unwrap_or(value.len());
        return &value[end..];
    };
    out.push(quote);
    out.push_str(MASK);
    let mut escaped = false;
    let end = value[1..].find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && quote == '"' && !escaped;
        ends
    });
    end.map_or("", |end| &value[1..][end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand_in_a_line() {
        let cases = [
            ("password = \"hunter2\"", "password = \"***\""),
            ("password = \"hun\\\",ter2\" # mine", "password = \"***\" # mine"),
            (
                "{ name = \"anna\", ha1_md5 = \"00ff\", x = 1 }",
                "{ name = \"anna\", ha1_md5 = \"***\", x = 1 }",
            ),
            (
                "source = \"rtsp://u:p@ss@cam/1\"",
                "source = \"rtsp://***@cam/1\"",
            ),
            (
                "source = \"http://cam/1?Token=abc&x=1\"",
                "source = \"http://cam/1?Token=***&x=1\"",
            ),
            ("\"api-secret\"='x'", "\"api-secret\"='***'"),
            ("secret=unquoted", "secret=***"),
            ("password = [\"a\", \"b\"]", "password = ***"),
            ("password = \"never closed", "password = \"***"),
            ("listen = \"127.0.0.1:1\"", "listen = \"127.0.0.1:1\""),
        ];
        for (text, masked) in cases {
            assert_eq!(mask(text), masked, "{text}");
        }
    }

    #[test]
    fn a_line_inside_a_text_of_several_lines_is_not_shown() {
        let text = "password = \"\"\"\nhunter2 \\q\n\"\"\"";
        let e = ConfigError::at("f", text, &(22..23), "bad escape");
        assert_eq!(e.to_string(), "f:2: bad escape");
    }

    #[test]
    fn a_span_outside_of_the_text_does_not_panic() {
        assert_eq!(
            ConfigError::at("f", "ä", &(1..99), "x").to_string(),
            "f:1: x\n  1 | ä"
        );
        assert_eq!(ConfigError::at("f", "", &(7..9), "x").to_string(), "f:1: x");
    }
}
