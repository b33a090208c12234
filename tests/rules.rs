//! The rules of the RTSP server (`tests/rtsp-rules.md`) and the dialogues behind them name their tests: each of them
//! must be there.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

const RULES: &str = include_str!("rtsp-rules.md");

#[test]
fn every_rule_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for dir in ["src", "tests"] {
        read(&root.join(dir), &mut code);
    }
    let (mut rules, mut dialogues) = (0, 0);
    let mut is_dialogue = false;
    for row in RULES
        .lines()
        .filter(|l| l.starts_with("| ") || l.starts_with("## "))
    {
        if row.starts_with("## ") || row.starts_with("| Rule ") || row.starts_with("| Dialogue ") {
            is_dialogue = row.starts_with("| Dialogue ");
            continue;
        }
        let (rule, tests) = row
            .trim_matches(['|', ' '])
            .rsplit_once(" | ")
            .expect("two columns");
        let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {rule}");
        for test in tests {
            assert!(
                code.contains(&format!("fn {test}(")),
                "{test} is gone, which held: {rule}"
            );
        }
        *if is_dialogue { &mut dialogues } else { &mut rules } += 1;
    }
    assert!(rules > 40, "{rules} rules");
    assert!(dialogues >= 59, "{dialogues} dialogues");
}

fn read(dir: &Path, code: &mut String) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            read(&path, code);
        } else if path.extension().is_some_and(|e| e == "rs") {
            code.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
