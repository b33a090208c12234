//! What standard output is: a terminal so many columns wide, or a file; which characters it shows, and whether colours.

use std::env;
use std::io;
use std::io::IsTerminal;

use crate::analytics::Look;

/// Narrower than this, a report is cut by the terminal itself.
const LEAST_WIDTH: usize = 30;

/// How a report on standard output shall look.
pub(super) fn look() -> Look {
    let out = io::stdout();
    let columns = out.is_terminal().then(columns);
    look_of(columns, |name| {
        env::var_os(name).and_then(|value| value.into_string().ok())
    })
}

/// `columns` of a terminal: `None` for what is none, `Some(0)` for one that does not say.
fn look_of(columns: Option<usize>, variable: impl Fn(&str) -> Option<String>) -> Look {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut look = Look::plain(utf8(&set));
    if let Some(columns) = columns {
        look.colour = set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb");
        let said = set("COLUMNS").and_then(|value| value.parse().ok());
        let width = Some(columns).filter(|columns| *columns > 0).or(said);
        look.width = width.unwrap_or(look.width).max(LEAST_WIDTH);
    }
    look
}

/// The first of these variables that is set says it (POSIX, "Environment Variables"). Windows writes UTF-8 by itself.
fn utf8(set: &impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    let said = locale.map(|locale| locale.to_ascii_lowercase().replace('-', ""));
    said.map_or(cfg!(windows), |locale| locale.contains("utf8"))
}

#[cfg(unix)]
fn columns() -> usize {
    rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col))
}

#[cfg(not(unix))]
fn columns() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(columns: Option<usize>, variables: &[(&str, &str)]) -> Look {
        look_of(columns, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_file_gets_80_columns_without_colours() {
        let utf8 = [("LANG", "de_DE.UTF-8"), ("COLUMNS", "200"), ("TERM", "xterm")];
        assert_eq!(look(None, &utf8), Look::plain(true));
        assert!(!look(None, &[]).colour);
    }

    #[test]
    fn a_terminal_says_how_wide_it_is() {
        assert_eq!(look(Some(132), &[]).width, 132);
        assert_eq!(look(Some(0), &[("COLUMNS", "100")]).width, 100);
        assert_eq!(look(Some(0), &[]).width, 80);
        assert_eq!(look(Some(2), &[]).width, LEAST_WIDTH);
    }

    #[test]
    fn no_color_is_obeyed_unless_it_is_empty() {
        assert!(look(Some(80), &[]).colour);
        assert!(!look(Some(80), &[("NO_COLOR", "1")]).colour);
        assert!(
            look(Some(80), &[("NO_COLOR", "")]).colour,
            "as no-color.org has it"
        );
        assert!(!look(Some(80), &[("TERM", "dumb")]).colour);
    }

    #[test]
    fn the_locale_says_which_characters_there_are() {
        for (variables, utf8) in [
            (&[][..], cfg!(windows)),
            (&[("LANG", "C.utf8")], true),
            (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], false),
            (&[("LC_ALL", ""), ("LANG", "en_US.UTF-8")], true),
            (&[("LC_CTYPE", "en_US.UTF-8"), ("LANG", "C")], true),
            (&[("LANG", "de_DE.ISO-8859-1")], false),
        ] {
            assert_eq!(look(None, variables).utf8, utf8, "{variables:?}");
        }
    }
}
