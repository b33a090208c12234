//! A document as a tree, and its forms: Markdown, plain text, HTML, CSV of its tables. Pure.

/// A paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub title: String,
    /// The language tag.
    pub lang: &'static str,
    pub blocks: Vec<Block>,
}

/// A part of a paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    Heading(String),
    Text(String),
    List(Vec<String>),
    Table {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
    },
}

impl Document {
    /// A paper without content.
    pub(super) fn new(title: impl Into<String>, lang: &'static str) -> Self {
        Self {
            title: title.into(),
            lang,
            blocks: Vec::new(),
        }
    }
    pub(super) fn heading(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Heading(text.into()));
    }
    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }
    pub(super) fn list(&mut self, items: Vec<String>) {
        self.blocks.push(Block::List(items));
    }
    pub(super) fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) {
        let head = head.iter().map(|h| (*h).to_owned()).collect();
        self.blocks.push(Block::Table { head, rows });
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let cell = |text: &String| text.replace('|', "\\|").replace('\n', " ");
        let row = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(cell).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut out = format!("# {}\n", self.title);
        for block in &self.blocks {
            out.push('\n');
            match block {
                Block::Heading(text) => out.push_str(&format!("## {text}\n")),
                Block::Text(text) => out.push_str(&format!("{text}\n")),
                Block::List(items) => {
                    out.extend(items.iter().map(|item| format!("- {item}\n")));
                }
                Block::Table { head, rows } => {
                    out.push_str(&row(head));
                    out.push_str(&format!("|{}\n", "---|".repeat(head.len())));
                    out.extend(rows.iter().map(|r| row(r)));
                }
            }
        }
        out
    }

    /// As plain text, for terminals and letters.
    pub fn plain(&self) -> String {
        let mut out = format!("{}\n{}\n", self.title, "=".repeat(self.title.chars().count()));
        for block in &self.blocks {
            out.push('\n');
            match block {
                Block::Heading(text) => {
                    out.push_str(&format!("{text}\n{}\n", "-".repeat(text.chars().count())));
                }
                Block::Text(text) => out.push_str(&wrapped(text, "", 96)),
                Block::List(items) => {
                    for item in items {
                        out.push_str(&wrapped(item, "  ", 96).replacen("  ", "- ", 1));
                    }
                }
                Block::Table { head, rows } => {
                    for row in rows {
                        for (name, value) in head.iter().zip(row) {
                            out.push_str(&wrapped(&format!("{name}: {value}"), "    ", 96));
                        }
                        out.push('\n');
                    }
                }
            }
        }
        out
    }

    /// As a page. It names no script, style or picture but the site's own style.
    pub fn html(&self) -> String {
        let mut body = format!("<h1>{}</h1>\n", escaped(&self.title));
        for block in &self.blocks {
            match block {
                Block::Heading(text) => body.push_str(&format!("<h2>{}</h2>\n", escaped(text))),
                Block::Text(text) => body.push_str(&format!("<p>{}</p>\n", linked(text))),
                Block::List(items) => {
                    let items: String = items
                        .iter()
                        .map(|item| format!("<li>{}</li>\n", linked(item)))
                        .collect();
                    body.push_str(&format!("<ul>\n{items}</ul>\n"));
                }
                Block::Table { head, rows } => {
                    body.push_str(&html_table(head, rows));
                }
            }
        }
        format!(
            "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n\
             <link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n\
             <main class=\"paper\">\n{body}</main>\n</body>\n</html>\n",
            self.lang,
            escaped(&self.title)
        )
    }

    /// The tables, one after the other, with a line for the heading above each (RFC 4180).
    pub fn csv(&self) -> String {
        let field = |text: &String| match text.contains([',', '"', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.clone(),
        };
        let row = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(field).collect();
            format!("{}\r\n", cells.join(","))
        };
        let mut out = String::new();
        for block in &self.blocks {
            match block {
                Block::Heading(text) => out.push_str(&row(std::slice::from_ref(text))),
                Block::Table { head, rows } => {
                    out.push_str(&row(head));
                    out.extend(rows.iter().map(|r| row(r)));
                }
                Block::Text(_) | Block::List(_) => {}
            }
        }
        out
    }
}

/// Each cell names its column too: on a narrow screen rows become lists, and the head is not there.
fn html_table(head: &[String], rows: &[Vec<String>]) -> String {
    let names: String = head.iter().map(|h| format!("<th>{}</th>", escaped(h))).collect();
    let row = |cells: &Vec<String>| {
        let cells: String = head
            .iter()
            .zip(cells)
            .map(|(h, cell)| format!("<td data-head=\"{}\">{}</td>", escaped(h), escaped(cell)))
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<table>\n<thead><tr>{names}</tr></thead>\n<tbody>{rows}</tbody>\n</table>\n")
}

/// The page of choices is one to go to wherever a text names it.
fn linked(text: &str) -> String {
    const CHOICES: &str = "/privacy/choices";
    escaped(text).replace(CHOICES, &format!("<a href=\"{CHOICES}\">{CHOICES}</a>"))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// Lines of at most `width` characters, each with the indent.
fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut out = String::new();
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        let begins = line.len() == indent.len();
        if !begins && line.chars().count() + 1 + word.chars().count() > width {
            out.push_str(&line);
            out.push('\n');
            line = indent.to_owned();
        } else if !begins {
            line.push(' ');
        }
        line.push_str(word);
    }
    out + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let mut d = Document::new("A <title>", "en");
        d.heading("One");
        d.text("Some \"text\" & more.");
        d.list(vec!["first".into(), "second ".repeat(30)]);
        d.table(&["a", "b|c"], vec![vec!["x,y".into(), "<z>".into()]]);
        d
    }

    #[test]
    fn every_form_has_everything_and_escapes_what_it_must() {
        let d = document();
        let html = d.html();
        assert!(
            html.contains("<h1>A &lt;title&gt;</h1>")
                && html.contains("<td data-head=\"b|c\">&lt;z&gt;</td>")
        );
        assert!(html.contains("Some &quot;text&quot; &amp; more.") && html.contains("lang=\"en\""));
        let md = d.markdown();
        assert!(md.contains("| a | b\\|c |\n|---|---|\n| x,y | <z> |"), "{md}");
        let plain = d.plain();
        assert!(plain.lines().all(|l| l.chars().count() <= 96), "{plain}");
        assert!(plain.contains("- first\n- second second"), "{plain}");
        assert_eq!(d.csv(), "One\r\na,b|c\r\n\"x,y\",<z>\r\n");
    }
}
