//! A piece of memory for one key: not swapped, not in a core file, wiped when it goes.
//!
//! Beside FFmpeg's calls this is the only unsafe code of the program: three calls that tell the kernel something about a
//! page that is ours. Nothing is read or written through a pointer. Where the kernel refuses (a limit on locked memory),
//! the key is kept all the same, and [`LockedKey::is_locked`] says so.
//!
//! Not here: what the key is for, other systems than Unix (there the key is only wiped).
#![cfg_attr(
    unix,
    allow(
        unsafe_code,
        reason = "mlock and madvise have no safe form; these are calls about our own page"
    )
)]

use zeroize::Zeroize;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// As large as the pages of all systems that we know, so that no page is shared with anything else.
const PAGE_BYTES: usize = 16 * 1024;

#[repr(C, align(16384))]
struct Page([u8; PAGE_BYTES]);

/// A key of 32 bytes in a page of its own. No `Debug`, no `Clone`.
///
/// ```compile_fail,E0277
/// fn print(key: louver::base::locked::LockedKey) { println!("{key:?}"); }
/// ```
/// ```compile_fail,E0599
/// fn twice(key: louver::base::locked::LockedKey) { let _ = key.clone(); }
/// ```
pub struct LockedKey {
    page: Box<Page>,
    locked: bool,
}

impl LockedKey {
    /// A key that `fill` makes in place, so that no copy of it is anywhere else. The page is locked before.
    pub fn new(fill: impl FnOnce(&mut [u8])) -> Self {
        let page = Box::new(Page([0; PAGE_BYTES]));
        let locked = system::keep_in_memory(&page);
        let mut key = Self { page, locked };
        fill(&mut key.page.0[..KEY_BYTES]);
        key
    }
    /// The key itself.
    pub fn bytes(&self) -> &[u8] {
        &self.page.0[..KEY_BYTES]
    }
    /// Whether the system promised to keep it out of swap and core files.
    pub fn is_locked(&self) -> bool {
        self.locked
    }
}

impl Drop for LockedKey {
    fn drop(&mut self) {
        self.page.0[..KEY_BYTES].zeroize();
        system::let_go(&self.page);
    }
}

#[cfg(unix)]
mod system {
    use std::ffi::c_void;
    use std::ptr::NonNull;

    use nix::sys::mman::mlock;
    use nix::sys::mman::munlock;

    use super::PAGE_BYTES;
    use super::Page;

    pub(super) fn keep_in_memory(page: &Page) -> bool {
        // SAFETY: the range is one live value of ours, and locking does not change what is in it.
        let locked = unsafe { mlock(address(page), PAGE_BYTES) };
        locked.is_ok() & dump(page, false)
    }

    pub(super) fn let_go(page: &Page) {
        dump(page, true);
        // SAFETY: the same live range as was locked; unlocking what is not locked is allowed.
        let _as_it_goes = unsafe { munlock(address(page), PAGE_BYTES) };
    }

    #[cfg(target_os = "linux")]
    fn dump(page: &Page, into_core_files: bool) -> bool {
        use nix::sys::mman::MmapAdvise;
        use nix::sys::mman::madvise;

        let advice = if into_core_files {
            MmapAdvise::MADV_DODUMP
        } else {
            MmapAdvise::MADV_DONTDUMP
        };
        // SAFETY: the range is one live value of ours, whole pages of it; these two advices change no byte.
        unsafe { madvise(address(page), PAGE_BYTES, advice) }.is_ok()
    }

    /// Only Linux leaves single pages out of core files; there are none anyway (`cli::process`).
    #[cfg(not(target_os = "linux"))]
    fn dump(_: &Page, _: bool) -> bool {
        true
    }

    fn address(page: &Page) -> NonNull<c_void> {
        NonNull::from(page).cast()
    }
}

#[cfg(not(unix))]
mod system {
    use super::Page;

    pub(super) fn keep_in_memory(_: &Page) -> bool {
        false
    }
    pub(super) fn let_go(_: &Page) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_what_was_filled_in_and_lies_in_pages_of_its_own() {
        let key = LockedKey::new(|bytes| bytes.copy_from_slice(&[7; KEY_BYTES]));
        assert_eq!(key.bytes(), [7; KEY_BYTES]);
        assert_eq!(std::ptr::from_ref(&key.page.0).addr() % PAGE_BYTES, 0);
    }

    /// The kernel's own list says `lo` (locked) and `dd` (do not dump) of the page.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_says_that_the_page_is_locked_and_not_dumped() {
        let key = LockedKey::new(|bytes| bytes.fill(1));
        assert!(
            key.is_locked(),
            "the limit on locked memory is too low for this test"
        );
        let at = std::ptr::from_ref(&key.page.0).addr();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (mut here, mut flags) = (false, "");
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|r| r.split_once('-'));
            let bounds = range.and_then(|(from, to)| {
                Some(usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?)
            });
            if let Some(bounds) = bounds {
                here = bounds.contains(&at);
            } else if let Some(found) = line.strip_prefix("VmFlags:").filter(|_| here) {
                flags = found;
            }
        }
        assert!(flags.contains(" lo") && flags.contains(" dd"), "{flags}");
    }
}
