//! What the door asks of who keeps consents and gives receipts (`rights`), without knowing how that is done.
//!
//! A viewer who agreed to be counted is told apart by the number of that agreement instead of by address and player.
//! [`row_number`] makes the number in the rows of a session out of it; nobody but the holder of the proof has what that
//! takes, so that the holder can have all of them erased, and nobody else can find them.

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use jiff::civil::Date;
use sha2::Sha256;
use zeroize::Zeroize;

use crate::base::raw::Raw;

/// Who keeps consents and gives receipts.
pub trait Clerk: Send + Sync {
    /// The number of the agreement that this is a proof of: given, for this path, not expired, not withdrawn.
    fn agreed(&self, token: &str, path: &str) -> Option<Raw<[u8; 16]>>;
    /// Whether an agreement that was given still stands: it may have been taken back while its viewer is there.
    fn stands(&self, _agreement: &[u8; 16]) -> bool {
        true
    }
    /// What makes its holder able to see and erase this session; `None` where no receipts are given.
    fn receipt(&self, session: &[u8; 16]) -> Option<Receipt>;
}

/// For the viewer alone whose session it is of. No `Debug`, no `Serialize`.
///
/// ```compile_fail,E0277
/// fn log(receipt: louver::privacy::Receipt) { println!("{receipt:?}"); } // no Debug
/// ```
pub struct Receipt(String);

impl Receipt {
    /// Takes the text that the holder will show.
    pub fn new(text: String) -> Self {
        Self(text)
    }
    /// The value of the header `Privacy-Receipt`, for an answer to the viewer.
    pub fn into_header(mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The number that stands for who agreed, in rows of one day or (`None`, level `identified`) of any:
/// `HMAC-SHA-256(agreement, "louver agreed" | lp(tenant) | day)`, cut to 128 bits. The agreement is random and on no
/// disk, so rows of two days cannot be linked by what is stored.
pub fn row_number(agreement: &[u8; 16], tenant: &str, day: Option<Date>) -> [u8; 16] {
    let mut mac = Hmac::<Sha256>::new_from_slice(agreement).expect("a key of any length is taken");
    mac.update(b"louver agreed");
    mac.update(&u64::try_from(tenant.len()).unwrap_or(u64::MAX).to_be_bytes());
    mac.update(tenant.as_bytes());
    if let Some(day) = day {
        mac.update(day.to_string().as_bytes());
    }
    let whole = mac.finalize().into_bytes();
    let mut number = [0; 16];
    number.copy_from_slice(&whole[..16]);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_by_agreement_tenant_and_day() {
        let day = |n| Some(Date::constant(2026, 11, n));
        let all = [
            row_number(&[1; 16], "a", day(1)),
            row_number(&[2; 16], "a", day(1)),
            row_number(&[1; 16], "b", day(1)),
            row_number(&[1; 16], "a", day(2)),
            row_number(&[1; 16], "a", None),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "{n}");
        }
        assert_eq!(all[0], row_number(&[1; 16], "a", day(1)));
    }
}
