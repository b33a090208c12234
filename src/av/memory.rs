//! Keeps the process small: gives back what only the loader needed, and shares one heap.
//!
//! FFmpeg's libraries and the hundred libraries behind them are mapped whole, and starting them touches some
//! 40 MB: code that runs once, tables of codecs that nobody opens. Their pages are unchanged copies of files,
//! so the kernel may forget that we have them; whatever is used again comes back by itself. Not here: memory
//! that was written to, which is left alone.

use std::io;
use std::ops::Range;

use super::sys;

/// Lets go of all pages of mapped files that this process has not changed. Returns how many bytes.
///
/// To be called before other threads exist: what one of them unmaps and maps anew meanwhile would be taken for
/// the file that was there.
///
/// # Errors
/// When the system has no `/proc/self/smaps`, or refuses.
pub fn give_back_unchanged() -> io::Result<u64> {
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    let mut given = 0;
    for mapping in unchanged(&maps) {
        sys::forget_pages(mapping.addresses)?;
        given += mapping.resident;
    }
    Ok(given)
}

/// Has all threads share one heap. glibc gives each few threads one of their own, and what one of them freed is no
/// use to the others: with a thousand readers that is a tenth of their memory, and nothing of ours is faster for it.
/// To be called before other threads exist.
pub fn share_one_heap() {
    sys::share_one_heap();
}

/// A mapping that holds nothing but a file's bytes.
#[derive(PartialEq, Eq, Debug)]
struct Mapping {
    addresses: Range<usize>,
    /// Bytes in memory.
    resident: u64,
}

/// The mappings of proc_pid_smaps(5) that are files, cannot be written to and never were: relocated tables
/// (RELRO) are read-only by now, but have pages of their own.
fn unchanged(smaps: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut current: Option<Mapping> = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        let Some(field) = first.strip_suffix(':') else {
            current = file_mapping(first, words);
            continue;
        };
        let Some(kilobytes) = words.next().and_then(|n| n.parse::<u64>().ok()) else {
            if field == "VmFlags" {
                found.extend(current.take().filter(|m| m.resident > 0));
            }
            continue;
        };
        match field {
            "Rss" => current.iter_mut().for_each(|m| m.resident = kilobytes * 1024),
            "Anonymous" | "Private_Dirty" | "Shared_Dirty" | "Locked" if kilobytes > 0 => current = None,
            _ => {}
        }
    }
    found
}

/// `7f00-7f80 r-xp 00000000 08:01 42 /usr/lib/x.so`, if it is a file that is not writable.
fn file_mapping<'a>(range: &str, mut words: impl Iterator<Item = &'a str>) -> Option<Mapping> {
    let (start, end) = range.split_once('-')?;
    let addresses = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let is_private_and_read_only = matches!(words.next()?, "r-xp" | "r--p");
    let is_file = words.nth(3)?.starts_with('/');
    (is_private_and_read_only && is_file).then_some(Mapping {
        addresses,
        resident: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 r-xp 00000000 08:01 42 /usr/lib/x.so
Rss:                   8 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
Locked:                0 kB
VmFlags: rd ex mr mw me
3000-4000 r--p 00002000 08:01 42 /usr/lib/x.so
Rss:                   4 kB
Private_Dirty:         4 kB
Anonymous:             4 kB
VmFlags: rd mr mw me ac
4000-5000 rw-p 00003000 08:01 42 /usr/lib/x.so
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd wr mr mw me ac
5000-6000 r--p 00000000 00:00 0 [vvar]
Rss:                   0 kB
VmFlags: rd mr
6000-7000 r--p 00000000 00:00 0
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd mr
";

    #[test]
    fn only_unchanged_pages_of_files_are_found() {
        let x = Mapping {
            addresses: 0x1000..0x3000,
            resident: 8192,
        };
        assert_eq!(unchanged(SMAPS), [x]);
    }
}
