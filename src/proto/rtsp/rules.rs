//! What a user may do on which path.
//!
//! Not here: who somebody is (`auth`), listeners that ask nobody (there the rules do not count).

use std::fmt;

/// What somebody wants to do with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Read,
    Publish,
}

/// Who may do what on a path, or on all paths that have no rule of their own. `Debug` shows no names.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// `None` for all paths.
    pub path: Option<String>,
    /// Names of users; `None`: whoever may on all paths.
    pub read: Option<Vec<String>>,
    pub publish: Option<Vec<String>>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Rule {
    fn list(&self, action: Action) -> Option<&Vec<String>> {
        match action {
            Action::Read => self.read.as_ref(),
            Action::Publish => self.publish.as_ref(),
        }
    }
}

/// Whether a user may. The path's own rule counts before that of all; without a rule everybody may. Paths are
/// the same whatever their case, as they are where stock VLC asks for them.
pub(super) fn allow(rules: &[Rule], user: &str, action: Action, path: &str) -> bool {
    let of = |rule: &&Rule| match &rule.path {
        Some(own) => own.eq_ignore_ascii_case(path),
        None => false,
    };
    let own = rules.iter().filter(of).find_map(|rule| rule.list(action));
    let of_all = || {
        rules
            .iter()
            .filter(|r| r.path.is_none())
            .find_map(|rule| rule.list(action))
    };
    own.or_else(of_all)
        .is_none_or(|names| names.iter().any(|name| name == user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paths_own_rule_counts_before_that_of_all_and_case_hides_nothing() {
        let names = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
        let rules = [
            Rule {
                path: None,
                read: None,
                publish: names(&["bob"]),
            },
            Rule {
                path: Some("Yard".into()),
                read: names(&["anna", "bob"]),
                publish: names(&[]),
            },
        ];
        for (user, action, path, may) in [
            ("anna", Action::Read, "Yard", true),
            ("anna", Action::Read, "yard", true),
            ("eve", Action::Read, "yard", false),
            ("eve", Action::Read, "door", true),
            ("eve", Action::Publish, "door", false),
            ("bob", Action::Publish, "door", true),
            ("bob", Action::Publish, "YARD", false),
            ("Anna", Action::Read, "yard", false),
        ] {
            assert_eq!(allow(&rules, user, action, path), may, "{user} {action:?} {path}");
        }
        assert!(allow(&[], "anyone", Action::Publish, "x"));
        assert!(!format!("{rules:?}").contains("anna"));
    }
}
