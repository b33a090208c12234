//! `louver user hash NAME`: a password becomes the lines for the configuration. It is read from stdin and neither
//! kept nor shown.

use std::io::BufRead;
use std::io::IsTerminal;

use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::cli::result;
use crate::cli::tell;
use crate::config::credentials::REALM;
use crate::config::credentials::User;
use crate::config::user_name_error;

/// Longest password, in bytes.
const MAX: usize = 256;

/// Reads a password and prints the user's table.
pub(super) fn hash(name: &str) -> Result<(), Failure> {
    if let Some(why) = user_name_error(name) {
        return Err(Failure::usage(why));
    }
    if std::io::stdin().is_terminal() {
        tell("Type the password and press Enter. It is shown as you type; a pipe hides it.");
    }
    let mut line = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Failure::running(format!("cannot read the password ({})", e.kind())))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.len() > MAX {
        return Err(Failure::usage(format!(
            "a password has 1 to {MAX} bytes; give it as one line on stdin"
        )));
    }
    result(table(name, password).as_bytes())
}

/// What belongs into the configuration.
fn table(name: &str, password: &str) -> String {
    let user = User::new(name, REALM, password);
    let (md5, sha256) = (&user.ha1_md5, &user.ha1_sha256);
    format!("[[auth.users]]\nname = \"{name}\"\nha1_md5 = \"{md5}\"\nha1_sha256 = \"{sha256}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_lines_are_what_the_configuration_reads() {
        let config = config::parse("f", &table("anna", "secret")).unwrap();
        assert!(config.auth.users == [User::new("anna", REALM, "secret")]);
        assert!(!table("anna", "secret").contains("secret"));
    }

    #[test]
    fn a_name_that_the_configuration_refuses_is_refused_here_too() {
        assert!(matches!(hash("a:b"), Err(Failure::Usage(_))));
    }
}
