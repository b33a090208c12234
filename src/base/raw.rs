//! Something of a viewer that must not get any further: it can be moved and it can end, and that is all.

use zeroize::Zeroize;

/// A value that identifies somebody. Wiped when it ends.
///
/// It has no `Debug` at all, not even one that hides the value, so that no type that holds one can derive it by accident.
/// It moves and is not copied, so whoever hands it on no longer has it.
///
/// ```
/// let raw = louver::base::raw::Raw::new([192_u8, 0, 2, 1]);
/// drop(raw);
/// ```
/// It cannot be printed:
/// ```compile_fail,E0277
/// let raw = louver::base::raw::Raw::new([192_u8, 0, 2, 1]);
/// println!("{raw:?}");
/// ```
/// ```compile_fail,E0277
/// let raw = louver::base::raw::Raw::new([192_u8, 0, 2, 1]);
/// println!("{raw}");
/// ```
/// Not even inside of something else:
/// ```compile_fail,E0277
/// #[derive(Debug)]
/// struct Note(louver::base::raw::Raw<u32>);
/// ```
/// It cannot be serialized:
/// ```compile_fail,E0277
/// let raw = louver::base::raw::Raw::new([192_u8, 0, 2, 1]);
/// serde_json::to_string(&raw);
/// ```
/// It cannot be compared or hashed, so it is no key of a map:
/// ```compile_fail,E0369
/// let raw = louver::base::raw::Raw::new(1_u32);
/// assert!(raw == louver::base::raw::Raw::new(1_u32));
/// ```
/// ```compile_fail,E0277
/// fn key<T: std::hash::Hash>(_: T) {}
/// key(louver::base::raw::Raw::new(1_u32));
/// ```
/// It cannot be copied, cloned or used twice:
/// ```compile_fail,E0599
/// let raw = louver::base::raw::Raw::new(1_u32);
/// raw.clone();
/// ```
/// ```compile_fail,E0382
/// let raw = louver::base::raw::Raw::new(1_u32);
/// drop(raw);
/// drop(raw);
/// ```
/// Nobody gets at what is in it, by field, by method or by conversion:
/// ```compile_fail,E0616
/// let raw = louver::base::raw::Raw::new(1_u32);
/// let value = raw.0;
/// ```
/// ```compile_fail,E0624
/// let raw = louver::base::raw::Raw::new(1_u32);
/// let value = raw.expose_raw();
/// ```
/// ```compile_fail,E0614
/// let raw = louver::base::raw::Raw::new(1_u32);
/// let value = *raw;
/// ```
/// ```compile_fail,E0277
/// let raw = louver::base::raw::Raw::new(1_u32);
/// let value: u32 = raw.into();
/// ```
pub struct Raw<T: Zeroize>(T);

impl<T: Zeroize> Raw<T> {
    /// Takes it in. The caller sees to it that no copy is left.
    pub fn new(value: T) -> Self {
        Self(value)
    }
    /// The value, for `base::peer` and for the room with one door. `tests/architecture.rs` lists who may call it.
    pub(crate) fn expose_raw(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Raw<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;

    use super::*;

    struct Watched(Arc<AtomicU32>);

    impl Zeroize for Watched {
        fn zeroize(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_wiped_once_when_it_ends_and_not_when_it_moves() {
        let wiped = Arc::new(AtomicU32::new(0));
        let raw = Raw::new(Watched(wiped.clone()));
        let moved = Box::new(raw);
        assert_eq!(wiped.load(Ordering::Relaxed), 0);
        drop(moved);
        assert_eq!(wiped.load(Ordering::Relaxed), 1);
    }
}
