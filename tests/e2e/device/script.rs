//! The files of `tests/devices`: facts about a make of camera, and what it answers.
//!
//! First `key: value` lines, then sections `=== METHOD TAG ...`, each an answer with `{variables}`. Of all
//! sections of a request's method the first counts whose tags all hold of the request.

use std::collections::HashMap;
use std::path::Path;

/// A camera as its file says.
#[derive(Clone)]
pub struct Script {
    /// The name of its file.
    pub name: String,
    keys: HashMap<String, String>,
    sections: Vec<Section>,
}

#[derive(Clone)]
struct Section {
    method: String,
    tags: Vec<String>,
    lines: Vec<String>,
}

/// What a camera does about a request.
pub enum Reaction {
    Answer(Vec<u8>),
    Close,
    Nothing,
}

impl Script {
    pub fn load(name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/devices")
            .join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Self::parse(name, &text)
    }
    pub fn parse(name: &str, text: &str) -> Self {
        let mut script = Self {
            name: name.to_owned(),
            keys: HashMap::new(),
            sections: Vec::new(),
        };
        for line in text.lines() {
            if let Some(head) = line.strip_prefix("=== ") {
                let mut words = head.split_whitespace().map(str::to_owned);
                script.sections.push(Section {
                    method: words
                        .next()
                        .unwrap_or_else(|| panic!("{name}: a section without method")),
                    tags: words.collect(),
                    lines: Vec::new(),
                });
            } else if let Some(section) = script.sections.last_mut() {
                section.lines.push(line.to_owned());
            } else if let Some((key, value)) = line.split_once(": ") {
                let all = script.keys.entry(key.to_owned()).or_default();
                *all = format!("{all} {value}").trim().to_owned();
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "{name}: {line:?}");
            }
        }
        for key in ["make", "quirk", "known", "path", "video"] {
            assert!(script.keys.contains_key(key), "{name} does not say `{key}:`");
        }
        for section in &mut script.sections {
            while section.lines.last().is_some_and(String::is_empty) {
                section.lines.pop();
            }
        }
        script
    }
    /// A fact; empty if the file does not say.
    pub fn get(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", String::as_str)
    }
    /// A word among those of a key.
    pub fn has(&self, key: &str, word: &str) -> bool {
        self.get(key).split_whitespace().any(|w| w == word)
    }
    /// The N of `word=N` among those of a key.
    pub fn number(&self, key: &str, word: &str) -> Option<u32> {
        let mut words = self.get(key).split_whitespace();
        let value = words.find_map(|w| w.strip_prefix(word)?.strip_prefix('='))?;
        let parsed = match value.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => value.parse(),
        };
        Some(parsed.unwrap_or_else(|e| panic!("{}: {word}={value}: {e}", self.name)))
    }
    /// What it does about a request.
    pub fn react(&self, method: &str, tags: &[&str], variables: &HashMap<&str, String>) -> Reaction {
        let mut sections = self.sections.iter().filter(|s| s.method == method);
        let found = sections.find(|s| s.tags.iter().all(|t| tags.contains(&t.as_str())));
        let Some(section) = found else {
            let cseq = &variables["cseq"];
            return Reaction::Answer(format!("RTSP/1.0 501 Not Implemented\r\nCSeq: {cseq}\r\n\r\n").into());
        };
        match section.lines.first().map(String::as_str) {
            Some("CLOSE") => return Reaction::Close,
            Some("NOTHING") => return Reaction::Nothing,
            _ => {}
        }
        let end = if self.get("eol") == "lf" { "\n" } else { "\r\n" };
        let cut = section.lines.iter().position(String::is_empty);
        let (head, body) = section.lines.split_at(cut.unwrap_or(section.lines.len()));
        let join = |lines: &[String]| lines.iter().map(|l| fill(l, variables) + end).collect::<String>();
        let body = join(body.get(1..).unwrap_or_default());
        let head = join(head).replace("{length}", &body.len().to_string());
        Reaction::Answer(format!("{head}{end}{body}").into_bytes())
    }
}

fn fill(line: &str, variables: &HashMap<&str, String>) -> String {
    variables.iter().fold(line.to_owned(), |line, (name, value)| {
        line.replace(&format!("{{{name}}}"), value)
    })
}
