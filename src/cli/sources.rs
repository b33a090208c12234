//! `[PATH=]SOURCE` words of the command line become configured paths. Pure.

use crate::config;
use crate::config::PathEntry;

/// The first path without a name; the next are `webcam2`, `webcam3`.
pub(super) const DEFAULT_PATH: &str = "webcam";

/// Why a word is no `[PATH=]SOURCE`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SourceWordError {
    #[error("`{0}` is neither a command nor a source; `louver --help` lists both")]
    Neither(String),
    #[error("`{0}` is no source: {1}")]
    Source(String, String),
    #[error("{0}")]
    Path(String),
    #[error("path `{0}` is named twice; give each source a path of its own as in {0}2=SOURCE")]
    Twice(String),
}

/// Adds the words to the configured paths. A word wins over a configured path of the same name.
pub(super) fn add(words: &[String], paths: &mut Vec<PathEntry>) -> Result<(), SourceWordError> {
    let mut given: Vec<PathEntry> = Vec::new();
    let mut unnamed = Vec::new();
    for word in words {
        let (name, source) = split(word);
        if !word.contains([':', '=']) {
            return Err(SourceWordError::Neither(word.clone()));
        }
        if let Some(why) = config::source_error(source) {
            return Err(SourceWordError::Source(config::mask(word), why));
        }
        let Some(name) = name else {
            unnamed.push(source);
            continue;
        };
        if let Some(why) = config::path_name_error(name) {
            return Err(SourceWordError::Path(why));
        }
        if given.iter().any(|e| e.name.eq_ignore_ascii_case(name)) {
            return Err(SourceWordError::Twice(name.to_owned()));
        }
        given.push(PathEntry {
            name: name.to_owned(),
            source: source.to_owned(),
            sensitive: false,
        });
    }
    paths.retain(|p| !given.iter().any(|e| e.name.eq_ignore_ascii_case(&p.name)));
    paths.append(&mut given);
    for source in unnamed {
        paths.push(PathEntry {
            name: free_name(paths),
            source: source.to_owned(),
            sensitive: false,
        });
    }
    paths.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

/// A source has `=` too (`?size=1x1`), but then a `:` stands before it, which no path name has.
fn split(word: &str) -> (Option<&str>, &str) {
    match word.split_once('=') {
        Some((name, source)) if !name.contains([':', '?']) => (Some(name), source),
        _ => (None, word),
    }
}

fn free_name(paths: &[PathEntry]) -> String {
    let taken = |name: &str| paths.iter().any(|p| p.name.eq_ignore_ascii_case(name));
    let numbered = (2..).map(|n| format!("{DEFAULT_PATH}{n}"));
    std::iter::once(DEFAULT_PATH.to_owned())
        .chain(numbered)
        .find(|name| !taken(name))
        .expect("one of more names than paths is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(words: &[&str], configured: &[&str]) -> Result<Vec<String>, SourceWordError> {
        let entry = |name: &&str| PathEntry {
            name: (*name).to_owned(),
            source: "publish:".to_owned(),
            sensitive: false,
        };
        let mut paths: Vec<PathEntry> = configured.iter().map(entry).collect();
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        add(&words, &mut paths)?;
        Ok(paths
            .into_iter()
            .map(|p| format!("{}={}", p.name, p.source))
            .collect())
    }

    #[test]
    fn names_are_given_taken_and_made() {
        let words = [
            "pattern:?size=640x360&fps=15",
            "door=webcam:/dev/video0?size=1280x720",
            "pattern:",
        ];
        assert_eq!(
            added(&words, &[]).unwrap(),
            [
                "door=webcam:/dev/video0?size=1280x720",
                "webcam=pattern:?size=640x360&fps=15",
                "webcam2=pattern:"
            ]
        );
        assert_eq!(
            added(&["pattern:"], &["Webcam"]).unwrap(),
            ["Webcam=publish:", "webcam2=pattern:"]
        );
        assert_eq!(
            added(&["a/b=pattern:"], &["a/b", "c"]).unwrap(),
            ["a/b=pattern:", "c=publish:"]
        );
    }

    #[test]
    fn mistakes_say_what_to_type() {
        let error = |words: &[&str]| added(words, &[]).unwrap_err().to_string();
        assert!(error(&["devics"]).starts_with("`devics` is neither a command nor a source; "));
        assert!(error(&["a=pattern:", "A=pattern:"]).contains("named twice"));
        assert!(error(&["a//b=pattern:"]).contains("no path name"));
        assert!(error(&["=pattern:"]).contains("no path name"));
        assert!(!error(&["x=bogus://anna:pw@cam"]).contains("pw"));
    }
}
