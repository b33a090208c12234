//! Checkpoints: signed lines that say how far the trail was. A chain alone does not show that its end was cut off.
//!
//! They lie in a file of their own and are logged too, so that copies are where the trail is not (the journal, another
//! machine). `audit verify --checkpoints FILE` reads them out of any such text.

use ring::signature::ED25519;
use ring::signature::UnparsedPublicKey;

use crate::audit::entry::Mac;
use crate::audit::entry::hex;
use crate::audit::entry::unhex;
use crate::audit::keys::Keys;

/// How each line begins.
const WORD: &str = "louver-checkpoint v1 ";
/// How the line begins that says what was pruned: everything up to this entry, by the program itself.
const PRUNED: &str = "louver-pruned v1 ";

/// How far the trail was at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) seq: u64,
    /// Seconds since 1970.
    pub(super) ts: i64,
    /// Whether this entry and all before it were pruned.
    pub(super) pruned: bool,
    /// Of the entry `seq`.
    pub(super) mac: Mac,
}

impl Checkpoint {
    fn body(&self) -> String {
        let word = if self.pruned { PRUNED } else { WORD };
        format!("{word}{} {} {}", self.seq, self.ts, hex(&self.mac))
    }
    /// The signed line, without a line end.
    pub(super) fn line(&self, keys: &Keys) -> String {
        let body = self.body();
        let signature = keys.sign(&body);
        format!("{body} {}", hex(&signature))
    }
    /// Finds a checkpoint in a line of any text. `None`: there is none; `Some(None)`: there is one whose signature is
    /// not of this key.
    pub(super) fn find(text: &str, public: &[u8; 32]) -> Option<Option<Self>> {
        let word = if text.contains(PRUNED) { PRUNED } else { WORD };
        let rest = &text[text.find(word)? + word.len()..];
        let mut words = rest.split(|c: char| c.is_whitespace() || c == '"');
        let mut read = || {
            let checkpoint = Self {
                pruned: word == PRUNED,
                seq: words.next()?.parse().ok()?,
                ts: words.next()?.parse().ok()?,
                mac: unhex(words.next()?)?,
            };
            let signature: [u8; 64] = unhex(words.next()?)?;
            let key = UnparsedPublicKey::new(&ED25519, public);
            key.verify(checkpoint.body().as_bytes(), &signature).ok()?;
            Some(checkpoint)
        };
        Some(read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::master::Master;

    #[test]
    fn a_checkpoint_is_found_in_a_log_line_and_holds_for_its_key_alone() {
        let keys = Keys::new(&Master::of(1));
        let checkpoint = Checkpoint {
            pruned: false,
            seq: 256,
            ts: 1_700_000_000,
            mac: [7; 32],
        };
        let line = format!(
            "INFO louver: A checkpoint. line=\"{}\" x=1",
            checkpoint.line(&keys)
        );
        assert_eq!(Checkpoint::find(&line, &keys.public()), Some(Some(checkpoint)));
        let other = Keys::new(&Master::of(2));
        assert_eq!(Checkpoint::find(&line, &other.public()), Some(None));
        let changed = line.replace("v1 256 ", "v1 255 ");
        assert_eq!(Checkpoint::find(&changed, &keys.public()), Some(None));
        assert_eq!(Checkpoint::find("nothing of the kind", &keys.public()), None);
        assert_eq!(Checkpoint::find(WORD, &keys.public()), Some(None));
    }
}
