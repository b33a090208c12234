//! `louver user`: who may watch and publish where credentials are asked for. A password is read from stdin, hashed,
//! and neither kept nor shown.
//!
//! The configuration file is changed as text, so that its comments and its order stay; what comes out is read
//! before it is written.

use std::fs;
use std::io;
use std::io::BufRead;
use std::io::IsTerminal;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::base::why::Why;
use crate::cli::Failure;
use crate::cli::args::Places;
use crate::cli::args::UserCommand;
use crate::cli::load;
use crate::cli::result;
use crate::cli::tell;
use crate::config;
use crate::config::credentials;
use crate::config::credentials::REALM;
use crate::config::credentials::User;
use crate::config::places;
use crate::config::user_name_error;

/// Longest password, in bytes.
const MAX: usize = 256;
/// Where a user begins in the file.
const HEADER: &str = "[[auth.users]]";
const APPLIES: &str = "A relay that runs follows when it gets SIGHUP, else at its next start.";

/// Does what was asked. `before`: what stood before the command.
pub(super) fn user(command: UserCommand, before: &Places) -> Result<(), Failure> {
    match command {
        UserCommand::Hash { name } => hash(&name),
        UserCommand::Add { places, name } => add(&places.or(before), &name),
        UserCommand::List { places } => list(&places.or(before)),
        UserCommand::Remove { places, name } => remove(&places.or(before), &name),
    }
}

/// Reads a password and prints the user's table.
fn hash(name: &str) -> Result<(), Failure> {
    check_name(name)?;
    result(table(name, &password()?).as_bytes())
}

fn add(places: &Places, name: &str) -> Result<(), Failure> {
    check_name(name)?;
    let file = file(places)?;
    let before = text_of(&file)?;
    let users = config::parse(&shown(&file), &before)?.auth.users;
    let table = table(name, &password()?);
    let (rest, known) = without(&before, name);
    let parted = if rest.trim().is_empty() { "" } else { "\n" };
    let after = format!("{}{parted}{table}", with_line_end(&rest));
    let now = config::parse(&shown(&file), &after)?.auth.users;
    if !now.iter().any(|u| u.name == name) || now.len() != users.len() + usize::from(!known) {
        return Err(not_by_us(&file, "add the lines that `louver user hash` prints"));
    }
    replace(&file, &after)?;
    if users.is_empty() && !made_at_first_start(places)?.is_empty() {
        tell("The user that was made at the first start is not let in any more.");
    }
    let what = if known {
        "has another password"
    } else {
        "was added"
    };
    tell(&format!("The user {what} in {}. {APPLIES}", shown(&file)));
    Ok(())
}

fn list(places: &Places) -> Result<(), Failure> {
    let config = load(places)?;
    let mut users = config.auth.users.clone();
    if users.is_empty() {
        users = made_at_first_start(places)?;
        if !users.is_empty() {
            tell("Made at the first start, since the configuration names none:");
        }
    }
    if users.is_empty() {
        tell("There are no users; one is made when a listener first asks for credentials.");
    }
    let names: String = users.iter().map(|u| format!("{}\n", u.name)).collect();
    result(names.as_bytes())
}

fn remove(places: &Places, name: &str) -> Result<(), Failure> {
    let file = file(places)?;
    let before = text_of(&file)?;
    let users = config::parse(&shown(&file), &before)?.auth.users;
    if !users.iter().any(|u| u.name == name) {
        return Err(Failure::usage(
            "there is no such user; `louver user list` tells them",
        ));
    }
    let (after, _) = without(&before, name);
    let now = config::parse(&shown(&file), &after)?.auth.users;
    if now.iter().any(|u| u.name == name) || now.len() + 1 != users.len() {
        return Err(not_by_us(&file, "take its lines out"));
    }
    replace(&file, &after)?;
    tell(&format!("The user was taken out of {}. {APPLIES}", shown(&file)));
    Ok(())
}

/// The users of the data directory, if there are any.
fn made_at_first_start(places: &Places) -> Result<Vec<User>, Failure> {
    match places::data_dir(&load(places)?) {
        Ok(dir) => credentials::kept(&dir).map_err(Failure::running),
        Err(_) => Ok(Vec::new()), // without a home there is none
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    user_name_error(name).map_or(Ok(()), |why| Err(Failure::usage(why)))
}

fn password() -> Result<Zeroizing<String>, Failure> {
    if io::stdin().is_terminal() {
        tell("Type the password and press Enter. It is shown as you type; a pipe hides it.");
    }
    let mut line = Zeroizing::new(String::new());
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Failure::running(format!("cannot read the password ({})", e.kind())))?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    if line.is_empty() || line.len() > MAX {
        return Err(Failure::usage(format!(
            "a password has 1 to {MAX} bytes; give it as one line on stdin"
        )));
    }
    Ok(line)
}

/// What belongs into the configuration.
fn table(name: &str, password: &str) -> String {
    let user = User::new(name, REALM, password);
    let (md5, sha256) = (&user.ha1_md5, &user.ha1_sha256);
    format!("{HEADER}\nname = \"{name}\"\nha1_md5 = \"{md5}\"\nha1_sha256 = \"{sha256}\"\n")
}

/// The file that is changed: the named one, else the user's own, which may have to be made.
fn file(places: &Places) -> Result<PathBuf, Failure> {
    let file = places.config.clone().or_else(places::usual_config_file);
    file.ok_or_else(|| {
        Failure::usage("there is no home directory to keep a configuration in; give --config FILE")
    })
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

fn text_of(file: &Path) -> Result<String, Failure> {
    match fs::read_to_string(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|e| cannot("read", file, &e)),
    }
}

fn cannot(what: &str, file: &Path, e: &io::Error) -> Failure {
    Failure::running(format!("cannot {what} {} ({})", shown(file), Why::from(e)))
}

fn not_by_us(file: &Path, instead: &str) -> Failure {
    Failure::usage(format!(
        "{} has its users in a way that is not changed by this command; {instead} yourself",
        shown(file)
    ))
}

fn with_line_end(text: &str) -> String {
    match text.trim_end() {
        "" => String::new(),
        text => format!("{text}\n"),
    }
}

/// The text without the table of this user, and whether there was one. Comments stay.
fn without(text: &str, name: &str) -> (String, bool) {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let is_key = |line: &&str| {
        let key = line.split('=').next().unwrap_or("").trim();
        ["name", "ha1_md5", "ha1_sha256"].contains(&key)
    };
    let is_name = |line: &str| {
        let value = line.split_once('=').filter(|(key, _)| key.trim() == "name");
        let value = value.map(|(_, v)| v.split('#').next().unwrap_or("").trim());
        value.is_some_and(|v| v == format!("\"{name}\"") || v == format!("'{name}'"))
    };
    let mut out = String::with_capacity(text.len());
    let (mut at, mut found) = (0, false);
    while at < lines.len() {
        let behind = lines[at + 1..].iter().position(is_header);
        let end = behind.map_or(lines.len(), |n| at + 1 + n);
        let own = lines[at].trim() == HEADER && lines[at..end].iter().any(|l| is_name(l));
        if own {
            found = true;
            out.extend(lines[at + 1..end].iter().filter(|l| !is_key(l)).copied());
            at = end;
        } else {
            out.push_str(lines[at]);
            at += 1;
        }
    }
    (out, found)
}

/// Writes the file in one go: nobody ever reads half of it.
fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    // A link stays one: what it points at is replaced.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(|e| cannot("make", dir, &e))?;
    }
    let new = file.with_extension("toml.new");
    let written = write_as(&new, &file, text).and_then(|()| fs::rename(&new, &file));
    written.map_err(|e| {
        let _ = fs::remove_file(&new);
        cannot("write", &file, &e)
    })
}

/// With the permissions of the old file; a new one is its owner's alone, for it has hashes in it.
fn write_as(new: &Path, old: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    io::Write::write_all(&mut options.open(new)?, text.as_bytes())?;
    match fs::metadata(old) {
        Ok(known) => fs::set_permissions(new, known.permissions()),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_user_is_taken_out_and_all_else_stays() {
        let (anna, bob) = (table("anna", "1"), table("bob", "2"));
        let text = format!("# mine\n[rtsp]\nlisten = []\n{anna}# about bob\n{bob}\n[privacy]\nk = 6\n");
        let (rest, found) = without(&text, "anna");
        assert!(found);
        let expected = format!("# mine\n[rtsp]\nlisten = []\n# about bob\n{bob}\n[privacy]\nk = 6\n");
        assert_eq!(rest, expected);
        assert_eq!(without(&text, "eve"), (text.clone(), false));
        assert_eq!(without(&anna, "anna"), (String::new(), true));
    }
}
