//! The map of the day: from the keyed hash of a viewer to a random number. Bounded, and wiped wherever it lay.
//!
//! A table of our own, since the library's leaves what it held in memory when it grows. Hashes are uniform already, so
//! their first bytes are the place, and nobody outside can choose where collisions are. A slot is 32 bytes and at least
//! two of five are in use once it has grown: 80 bytes per viewer, 120 while it grows.

use zeroize::Zeroize;

/// Half of an HMAC, wiped by who made it.
pub(in crate::privacy) type Tag = [u8; 16];
/// The random number of a viewer; never all zero.
pub(in crate::privacy) type Id = [u8; 16];

/// A hash and its number; a number of zeros is an empty slot.
type Slot = [u8; 32];

/// Of the slots, so many fifths may be in use.
const MOST_FIFTHS: usize = 4;
const FIRST_SLOTS: usize = 64;

/// From hash to number.
#[derive(Default)]
pub(in crate::privacy) struct Map {
    slots: Vec<Slot>,
    used: usize,
}

impl Map {
    /// Viewers in it.
    pub(in crate::privacy) fn len(&self) -> usize {
        self.used
    }
    /// The number of a viewer who is in it.
    pub(in crate::privacy) fn get(&self, tag: &Tag) -> Option<Id> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = &self.slots[place(&self.slots, tag)];
        let id = id_of(slot);
        (!is_empty(slot)).then_some(id)
    }
    /// Puts a viewer in who is not in it. `id` is not all zero.
    pub(in crate::privacy) fn insert(&mut self, tag: &Tag, id: &Id) {
        if (self.used + 1) * 5 > self.slots.len() * MOST_FIFTHS {
            self.grow();
        }
        let at = place(&self.slots, tag);
        self.used += usize::from(is_empty(&self.slots[at]));
        self.slots[at][..16].copy_from_slice(tag);
        self.slots[at][16..].copy_from_slice(id);
    }
    /// Bytes that it takes now.
    pub(in crate::privacy) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    fn grow(&mut self) {
        let more = (self.slots.len() * 2).max(FIRST_SLOTS);
        let mut larger: Vec<Slot> = vec![[0; 32]; more];
        for slot in self.slots.iter().filter(|slot| !is_empty(slot)) {
            let mut tag: Tag = [0; 16];
            tag.copy_from_slice(&slot[..16]);
            let at = place(&larger, &tag);
            larger[at] = *slot;
            tag.zeroize();
        }
        std::mem::swap(&mut self.slots, &mut larger);
        wipe(&mut larger);
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        wipe(&mut self.slots);
    }
}

fn wipe(slots: &mut Vec<Slot>) {
    slots.iter_mut().for_each(Zeroize::zeroize);
    slots.clear();
}

/// Where this hash is, or the empty slot where it would be. There is one: never are all in use.
fn place(slots: &[Slot], tag: &Tag) -> usize {
    let mask = slots.len() - 1;
    let mut first = [0; 8];
    first.copy_from_slice(&tag[..8]);
    let mut at = usize::try_from(u64::from_le_bytes(first) & mask as u64).unwrap_or_default();
    while !is_empty(&slots[at]) && slots[at][..16] != *tag {
        at = (at + 1) & mask;
    }
    at
}

fn id_of(slot: &Slot) -> Id {
    let mut id = [0; 16];
    id.copy_from_slice(&slot[16..]);
    id
}

fn is_empty(slot: &Slot) -> bool {
    slot[16..] == [0; 16]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Bytes that one viewer takes at most, also while the table grows.
    const MOST_BYTES_EACH: usize = 128;

    fn id(n: u32) -> Id {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        id
    }

    proptest! {
        #[test]
        fn it_is_a_map(keys in prop::collection::vec((0_u8..4, any::<u8>()), 0..400)) {
            let (mut map, mut model) = (Map::default(), HashMap::new());
            for (n, (place, other)) in (0_u32..).zip(keys) {
                // Few first bytes, so that many share a place.
                let mut tag = [0; 16];
                (tag[0], tag[15]) = (place, other);
                prop_assert_eq!(map.get(&tag), model.get(&tag).copied());
                if map.get(&tag).is_none() {
                    map.insert(&tag, &id(n));
                    model.insert(tag, id(n));
                }
                prop_assert_eq!(map.len(), model.len());
            }
            for (tag, id) in &model {
                prop_assert_eq!(map.get(tag), Some(*id));
            }
        }
    }

    #[test]
    fn a_viewer_takes_no_more_than_is_promised_even_while_it_grows() {
        let mut map = Map::default();
        for n in 0_u32..200_000 {
            let before = map.bytes();
            let mut tag = [0; 16];
            tag[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
            map.insert(&tag, &id(n));
            let both = if map.bytes() == before {
                before
            } else {
                before + map.bytes()
            };
            assert!(
                n < 1000 || both <= map.len() * MOST_BYTES_EACH,
                "{both} bytes for {n} viewers"
            );
        }
        assert_eq!(map.len(), 200_000);
    }
}
