//! `/privacy.json` and `louver privacy ... --format json`: a paper as a tree.

use serde::Serialize;

use crate::papers::Block;
use crate::papers::Document;

/// A paper.
#[derive(Serialize)]
pub struct DocumentJson<'d> {
    title: &'d str,
    language: &'static str,
    /// The settings that it is made of: the same settings, the same version.
    version: String,
    sections: Vec<SectionJson<'d>>,
}

/// A heading and what stands below it; the first may have no heading.
#[derive(Serialize, Default)]
struct SectionJson<'d> {
    heading: Option<&'d str>,
    text: Vec<&'d str>,
    items: Vec<&'d str>,
    tables: Vec<TableJson<'d>>,
}

#[derive(Serialize)]
struct TableJson<'d> {
    head: &'d [String],
    rows: &'d [Vec<String>],
}

impl<'d> DocumentJson<'d> {
    /// The paper that was made of the settings of this version.
    pub fn new(document: &'d Document, version: String) -> Self {
        let mut sections = vec![SectionJson::default()];
        for block in &document.blocks {
            let last = sections.last_mut().expect("it begins with one and none goes");
            match block {
                Block::Heading(text) => sections.push(SectionJson {
                    heading: Some(text),
                    ..SectionJson::default()
                }),
                Block::Text(text) => last.text.push(text),
                Block::List(items) => last.items.extend(items.iter().map(String::as_str)),
                Block::Table { head, rows } => last.tables.push(TableJson { head, rows }),
            }
        }
        sections.retain(|s| {
            s.heading.is_some() || !s.text.is_empty() || !s.items.is_empty() || !s.tables.is_empty()
        });
        Self {
            title: &document.title,
            language: document.lang,
            version,
            sections,
        }
    }
}
