//! What the rules are applied to: the code of the crate without comments, strings and tests, and the texts of
//! the repository.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Rust files under src, by path from the repository's root.
pub(crate) struct Sources {
    pub(crate) files: Vec<(String, String)>,
    /// Files and folders (ending in `/`) of modules under `#[cfg(test)]`.
    tests: BTreeSet<String>,
}

impl Sources {
    pub(crate) fn read() -> Self {
        let mut files = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        walk(&root.join("src"), root, &mut |path, text| {
            if path.ends_with(".rs") {
                files.push((path, text));
            }
        });
        assert!(files.len() > 50, "only {} files were found", files.len());
        Self::new(files)
    }

    pub(crate) fn new(files: Vec<(String, String)>) -> Self {
        let mut tests = BTreeSet::new();
        for (path, text) in &files {
            let (folder, file) = path.rsplit_once('/').expect("all are under src");
            let stem = file.trim_end_matches(".rs");
            let folder = if ["mod", "lib", "main"].contains(&stem) {
                folder.to_owned()
            } else {
                format!("{folder}/{stem}")
            };
            let mut lines = text.lines().map(str::trim).peekable();
            while let Some(line) = lines.next() {
                if line != "#[cfg(test)]" && !line.contains("cfg(any(fuzzing, test))") {
                    continue;
                }
                let declared = lines
                    .peek()
                    .and_then(|l| l.rsplit_once("mod "))
                    .and_then(|(_, m)| m.split_once(';'))
                    .map(|(module, _)| module);
                if let Some(module) = declared {
                    tests.extend([format!("{folder}/{module}.rs"), format!("{folder}/{module}/")]);
                }
            }
        }
        Self { files, tests }
    }

    pub(crate) fn is_test(&self, path: &str) -> bool {
        self.tests
            .iter()
            .any(|t| path == t || t.ends_with('/') && path.starts_with(t))
    }

    /// Each file without comments, the contents of strings, and tests: those may do more.
    pub(crate) fn code(&self) -> impl Iterator<Item = (&str, String)> {
        let code = self.files.iter().filter(|(path, _)| !self.is_test(path));
        code.map(|(path, text)| (path.as_str(), without_tests(&code_of(text))))
    }
}

/// Blanks every item under `#[cfg(test)]` out of code that has no comments and strings any more.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let (before, item) = rest.split_at(at);
        out.push_str(before);
        let mut depth = 0;
        let end = item.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0 && matches!(c, '}' | ';')
        });
        let (item, after) = item.split_at(end.map_or(item.len(), |(at, _)| at + 1));
        out.extend(item.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    out + rest
}

/// Blanks comments and the contents of strings out; lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let hashes = rest
            .trim_start_matches('r')
            .chars()
            .take_while(|c| *c == '#')
            .count();
        let raw = rest.starts_with('r') && rest[1 + hashes..].starts_with('"') && !out.ends_with(is_word);
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if raw {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..]
                .find(&end)
                .map_or(rest.len(), |at| start + at + end.len())
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            quoted(rest, '\'')
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.push(' ');
        out.extend(rest[..taken].chars().filter(|c| *c == '\n'));
        rest = &rest[taken..];
    }
    out
}

/// The length of a literal with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in the line by itself; its ends that are no letters need nothing around them.
pub(crate) fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let open = word.starts_with(is_word) && line[..at].ends_with(is_word);
        let close = word.ends_with(is_word) && line[at + word.len()..].starts_with(is_word);
        !open && !close
    })
}

/// The paths that follow `start`; empty where a tree (`{`) or a `*` follows.
pub(crate) fn items_after<'a>(line: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(start).map(move |(at, _)| {
        let item = &line[at + start.len()..];
        let end = item.find(|c| !is_word(c) && c != ':').unwrap_or(item.len());
        item[..end].trim_end_matches(':')
    })
}

/// Every text that belongs to the repository: what git knows of, else all but what is built.
pub(crate) fn repository() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git")
        .args(args)
        .current_dir(root)
        .output()
        .ok()
        .filter(|o| o.status.success());
    let listed = String::from_utf8(listed.map(|o| o.stdout).unwrap_or_default()).expect("paths are UTF-8");
    for path in listed.split('\0').filter(|p| !p.is_empty()) {
        files.extend(
            std::fs::read_to_string(root.join(path))
                .ok()
                .map(|text| (path.to_owned(), text)),
        );
    }
    if files.is_empty() {
        walk(root, root, &mut |path, text| files.push((path, text)));
    }
    assert!(
        files.iter().any(|(path, _)| path == "Cargo.toml"),
        "the repository was not found"
    );
    files
}

fn walk(folder: &Path, root: &Path, see: &mut impl FnMut(String, String)) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|e| e.expect("the folder can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path
            .strip_prefix(root)
            .ok()
            .and_then(Path::to_str)
            .expect("paths are UTF-8")
            .replace('\\', "/");
        if path.is_dir() {
            if !["target", ".git", "fuzz/target", "fuzz/artifacts"].contains(&name.as_str()) {
                walk(&path, root, see);
            }
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            see(name, text);
        }
    }
}
