//! Files that are there whole or not at all.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::path::Path;

/// Writes beside and renames; for the owner alone from the first byte. It is on the disk when this returns.
///
/// # Errors
/// The system's. The file is then as it was, or as it is to be: the directory may refuse to be synced.
pub fn write(file: &Path, text: &str) -> io::Result<()> {
    write_and(file, text, sync_directory_of)
}

/// The same, with another way to sync the directory.
fn write_and(file: &Path, text: &str, sync: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let beside = file.with_extension("new");
    write_beside(&beside, text.as_bytes())?;
    fs::rename(&beside, file)?;
    sync(file)
}

/// As [`write()`], but never in the place of a file that is there: then the error is `AlreadyExists`.
///
/// # Errors
/// The system's. Nothing is left of a file that could not be written whole.
pub fn write_new(file: &Path, bytes: &[u8]) -> io::Result<()> {
    // A name of its own: another process may do the same now.
    let beside = file.with_extension(format!("{}.new", std::process::id()));
    write_beside(&beside, bytes)?;
    let linked = fs::hard_link(&beside, file);
    let there = match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
        // Some file systems have no links.
        Err(_) if !file.exists() => return fs::rename(&beside, file).and_then(|()| sync_directory_of(file)),
        linked => linked,
    };
    fs::remove_file(&beside).ok();
    there.and_then(|()| sync_directory_of(file))
}

/// On the disk when this returns; nothing is left of what could not be written.
fn write_beside(beside: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a power cut left there may be open to others, or be a link.
    match fs::remove_file(beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(beside)?;
    let done = written.write_all(bytes).and_then(|()| written.sync_all());
    done.inspect_err(|_| drop(fs::remove_file(beside)))
}

/// Makes sure that the name of a file is on the disk as well: a new name is a change of its directory, and without this
/// a power cut may bring back what was there before (a link that was revoked, a list without the newest erasures).
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub fn sync_directory_of(file: &Path) -> io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    match fs::File::open(dir.unwrap_or(Path::new(".")))?.sync_all() {
        // Some file systems of networks know nothing like it.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

/// Elsewhere a directory cannot be opened to be synced: Windows notes renames in the journal of its file system.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_directory_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kept.toml");
        fs::write(dir.path().join("kept.new"), "left by a power cut").unwrap();
        for text in ["one", "another"] {
            write(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            let mode = fs::metadata(&file).unwrap().permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        }
    }

    #[test]
    fn the_directory_is_synced_once_the_file_has_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kept.toml");
        let mut synced = 0;
        let sync = |of: &Path| {
            assert_eq!(fs::read_to_string(of).unwrap(), "text");
            synced += 1;
            sync_directory_of(of)
        };
        write_and(&file, "text", sync).unwrap();
        assert_eq!(synced, 1);
        let refuse = |_: &Path| Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(
            write_and(&file, "text", refuse).is_err(),
            "and it is told when it is not"
        );
        assert!(sync_directory_of(&dir.path().join("none/file")).is_err());
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        write_new(&file, b"one").unwrap();
        let again = write_new(&file, b"other").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside"
        );
    }
}
