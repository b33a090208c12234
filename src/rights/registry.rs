//! Tokens and receipts, and what is known of them: what the door asks, and what commands can do without a relay.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::Date;
use sha2::Digest;
use sha2::Sha256;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::base::clock::SharedClock;
use crate::base::live::Live;
use crate::base::master::Master;
use crate::base::raw::Raw;
use crate::privacy::Clerk;
use crate::privacy::Consent;
use crate::privacy::Receipt;
use crate::privacy::row_number;
use crate::rights::Options;
use crate::rights::Proofs;
use crate::rights::RightsError;
use crate::rights::ledger::Ledger;
use crate::rights::ledger::Standing;
use crate::rights::ledger::Terms;
use crate::rights::seal::Seal;
use crate::rights::seal::unhex;
use crate::rights::tombstones::Tombstones;

/// Rows are kept for so many days at most, by any configuration.
const MOST_ROW_DAYS: i32 = 31;

/// A consent: number, scope, version of the notice, last day.
const TOKEN_LEN: usize = 16 + 8 + 6 + 4;

/// The scope of a consent to all paths.
const EVERYWHERE: [u8; 8] = [0; 8];

/// What is known of consents, receipts and erasures.
pub struct Registry {
    options: Options,
    /// The version of the notice, in hex: SIGHUP may change it.
    notice: Live<String>,
    clock: SharedClock,
    consents: Seal,
    receipts: Seal,
    ledger: Mutex<Ledger>,
    tombstones: Mutex<Tombstones>,
}

/// What a consent says.
struct Token {
    id: Zeroizing<[u8; 16]>,
    scope: [u8; 8],
    notice: [u8; 6],
    until: u32,
}

impl Registry {
    /// That of this data directory. Files come with the first consent or erasure.
    pub fn new(data_dir: &Path, master: &Master, options: Options, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            notice: Live::new(options.notice.clone()),
            options,
            clock,
            consents: Seal::new(master, "consent token", "c1"),
            receipts: Seal::new(master, "session receipt", "r1"),
            ledger: Mutex::new(Ledger::new(data_dir, master)),
            tombstones: Mutex::new(Tombstones::new(data_dir, master)),
        })
    }

    /// What is in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The version of the notice that is in force, in hex.
    pub fn notice(&self) -> Arc<String> {
        self.notice.get()
    }

    /// The notice is another from now on: a consent to the former one is none, as at a start with it.
    pub fn set_notice(&self, version: String) {
        self.notice.set(version);
    }

    /// A new consent, for one path or for all: its token and its last day. It is in the ledger when this returns.
    ///
    /// # Errors
    /// When consent is not asked for, or the ledger cannot take it.
    pub fn give(&self, path: Option<&str>) -> Result<(Zeroizing<String>, Date), RightsError> {
        if self.options.consent != Consent::OptIn {
            return Err(RightsError::NotAsked);
        }
        let last = self
            .today()
            .saturating_add(i32::from(self.options.consent_days).days());
        let notice = self.notice();
        let mut id = Zeroizing::new([0; 16]);
        getrandom::fill(id.as_mut_slice()).expect("the operating system has random numbers");
        let token = Token {
            id,
            scope: path.map_or(EVERYWHERE, scope_of),
            notice: bytes_of(&notice),
            until: number_of(last),
        };
        let terms = Terms {
            scope: path.unwrap_or("*"),
            notice: &notice,
            now: self.now().as_second(),
            until: token.until,
        };
        match self.ledger().give(&token.id, &terms)? {
            true => Ok((Zeroizing::new(self.consents.close(&token.body()[..])), last)),
            false => Err(RightsError::Full),
        }
    }

    /// Takes a consent back, also one that is over, and puts up tombstones for all that hangs on it. Done twice is done:
    /// false when there was nothing left to do.
    ///
    /// Tombstones come first. Nobody but the holder of the token can make them, so after a crash in between a consent that
    /// is noted as withdrawn could never be erased; as it is, one that is erased stands until its holder asks again.
    ///
    /// # Errors
    /// When it is none of ours, or a file cannot be written. Nobody is counted by it any more then, if that could be noted.
    pub fn withdraw(&self, token: &str) -> Result<bool, RightsError> {
        let token = self.open(token).ok_or(RightsError::Unknown)?;
        if self.ledger().standing(&token.id)? == Standing::Unknown {
            return Err(RightsError::Unknown);
        }
        let today = self.today();
        let days = (-1..=MOST_ROW_DAYS + 1).filter_map(|back| today.checked_sub(back.days()).ok());
        let numbers: Vec<[u8; 16]> = days
            .map(Some)
            .chain([None])
            .map(|day| row_number(&token.id, &self.options.tenant, day))
            .collect();
        let buried = self.bury(&numbers);
        let noted = self.ledger().withdraw(&token.id, self.now().as_second())?;
        Ok(buried? || noted)
    }

    /// Erases the session that this is the receipt of; what is in the store goes when the relay looks.
    ///
    /// # Errors
    /// When it is none of ours, or a file cannot be written.
    pub fn erase(&self, receipt: &str) -> Result<(), RightsError> {
        let session = self.session(receipt).ok_or(RightsError::Unknown)?;
        self.entomb(&[session])
    }

    /// How many consents were given and taken back, and whether the file holds.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn proofs(&self) -> Result<Proofs, RightsError> {
        Ok(self.ledger().proofs()?)
    }

    /// The session that this is the receipt of, unless it was erased.
    pub(super) fn session(&self, receipt: &str) -> Option<[u8; 16]> {
        let session = self.receipts.open(receipt)?;
        let mut tombstones = self.tombstones();
        tombstones.read().ok()?;
        (!tombstones.knows(&session)).then_some(session)
    }

    pub(super) fn tombstones(&self) -> MutexGuard<'_, Tombstones> {
        self.tombstones
            .lock()
            .expect("no panic happens while the lock is held")
    }

    /// Days since 1970 in the zone of the statistics.
    pub(super) fn today_number(&self) -> u32 {
        number_of(self.today())
    }

    /// Puts up tombstones for those of these numbers that have none; false when all have.
    ///
    /// # Errors
    /// When the file cannot be written, or there is no room.
    pub(super) fn bury(&self, numbers: &[[u8; 16]]) -> Result<bool, RightsError> {
        let tombstones = self.tombstones();
        let without = numbers.iter().filter(|id| !tombstones.knows(id));
        let without: Vec<[u8; 16]> = without.copied().collect();
        drop(tombstones);
        if without.is_empty() {
            return Ok(false);
        }
        self.entomb(&without).map(|()| true)
    }

    fn entomb(&self, numbers: &[[u8; 16]]) -> Result<(), RightsError> {
        let put = self.tombstones().put(numbers, self.today_number())?;
        put.then_some(()).ok_or(RightsError::Full)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger
            .lock()
            .expect("no panic happens while the lock is held")
    }

    fn open(&self, token: &str) -> Option<Token> {
        let mut body = self.consents.open::<TOKEN_LEN>(token)?;
        let token = Token::parse(&body);
        body.zeroize();
        Some(token)
    }

    fn now(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall()).unwrap_or_default()
    }

    fn today(&self) -> Date {
        self.now().to_zoned(self.options.time_zone.clone()).date()
    }
}

impl Clerk for Registry {
    fn agreed(&self, token: &str, path: &str) -> Option<Raw<[u8; 16]>> {
        let token = self.open(token)?;
        let here = token.scope == EVERYWHERE || token.scope == scope_of(path);
        if !here || token.notice != bytes_of(&self.notice()) || token.until < self.today_number() {
            return None;
        }
        match self.ledger().standing(&token.id) {
            Ok(Standing::Given) => Some(Raw::new(*token.id)),
            Ok(Standing::Unknown | Standing::Withdrawn) => None,
            Err(error) => {
                tracing::warn!(error = %error.kind(), "The proof of consents cannot be read: nobody is counted.");
                None
            }
        }
    }

    fn stands(&self, agreement: &[u8; 16]) -> bool {
        matches!(self.ledger().standing(agreement), Ok(Standing::Given))
    }

    fn receipt(&self, session: &[u8; 16]) -> Option<Receipt> {
        self.options
            .receipts
            .then(|| Receipt::new(self.receipts.close(session)))
    }
}

impl Token {
    fn body(&self) -> Zeroizing<[u8; TOKEN_LEN]> {
        let mut body = Zeroizing::new([0; TOKEN_LEN]);
        body[..16].copy_from_slice(self.id.as_slice());
        body[16..24].copy_from_slice(&self.scope);
        body[24..30].copy_from_slice(&self.notice);
        body[30..].copy_from_slice(&self.until.to_be_bytes());
        body
    }

    fn parse(body: &[u8; TOKEN_LEN]) -> Self {
        fn part<const N: usize>(body: &[u8], from: usize) -> [u8; N] {
            let mut part = [0; N];
            part.copy_from_slice(&body[from..from + N]);
            part
        }
        Self {
            id: Zeroizing::new(part(body, 0)),
            scope: part(body, 16),
            notice: part(body, 24),
            until: u32::from_be_bytes(part(body, 30)),
        }
    }
}

/// What stands for a path in a token; never that of all paths.
fn scope_of(path: &str) -> [u8; 8] {
    let hash = Sha256::digest(path.as_bytes());
    let mut scope = [0; 8];
    scope.copy_from_slice(&hash[..8]);
    scope[0] |= 1;
    scope
}

/// The version of a notice, as it is in a token.
fn bytes_of(notice: &str) -> [u8; 6] {
    unhex(notice).unwrap_or_default()
}

/// Days since 1970; 0 before.
fn number_of(day: Date) -> u32 {
    let epoch = Date::constant(1970, 1, 1);
    u32::try_from(day.duration_since(epoch).as_hours() / 24).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::File;
    use std::thread;
    use std::time::Duration;
    use std::time::Instant;

    use super::*;
    use crate::base::clock::ManualClock;

    fn registry(dir: &Path) -> Arc<Registry> {
        let options = Options {
            consent: Consent::OptIn,
            notice: "0102030405ff".into(),
            ..Options::default()
        };
        let noon: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        Registry::new(dir, &Master::of(1), options, ManualClock::new(noon.into()))
    }

    /// The file of proofs is locked, so whoever takes a consent back waits there. What is on the disk meanwhile is what a
    /// crash would leave.
    #[test]
    fn a_consent_is_never_noted_as_withdrawn_before_it_can_be_erased() {
        let dir = tempfile::tempdir().unwrap();
        let relay = registry(dir.path());
        let (token, _) = relay.give(None).unwrap();
        let id = relay.open(&token).unwrap().id;
        let number = row_number(&id, &relay.options.tenant, Some(relay.today()));
        thread::scope(|scope| {
            let proofs = File::open(dir.path().join("consents")).unwrap();
            proofs.lock().unwrap();
            let withdrawing = scope.spawn(|| relay.withdraw(&token).unwrap());
            let next = registry(dir.path());
            let begun = Instant::now();
            while {
                let mut there = next.tombstones();
                there.read().unwrap();
                !there.knows(&number)
            } {
                assert!(
                    begun.elapsed() < Duration::from_secs(60),
                    "nothing is to be erased"
                );
                thread::sleep(Duration::from_millis(5));
            }
            assert!(next.agreed(&token, "cam").is_some(), "its holder asks again");
            proofs.unlock().unwrap();
            assert!(withdrawing.join().unwrap());
            assert!(next.agreed(&token, "cam").is_none());
        });
    }

    #[test]
    fn a_consent_ends_when_the_notice_changes_while_the_relay_runs() {
        let dir = tempfile::tempdir().unwrap();
        let relay = registry(dir.path());
        let (token, _) = relay.give(None).unwrap();
        relay.set_notice("0102030405fe".into());
        assert!(relay.agreed(&token, "cam").is_none());
        let (fresh, _) = relay.give(None).unwrap();
        assert!(relay.agreed(&fresh, "cam").is_some());
        relay.set_notice("0102030405ff".into());
        assert!(relay.agreed(&token, "cam").is_some() && relay.agreed(&fresh, "cam").is_none());
    }

    #[test]
    fn who_takes_a_consent_back_is_counted_no_more_even_if_nothing_can_be_erased_now() {
        let dir = tempfile::tempdir().unwrap();
        let relay = registry(dir.path());
        let (token, _) = relay.give(None).unwrap();
        fs::create_dir(dir.path().join("erased")).unwrap();
        assert!(matches!(relay.withdraw(&token), Err(RightsError::File(_))));
        assert!(relay.agreed(&token, "cam").is_none());
        fs::remove_dir(dir.path().join("erased")).unwrap();
        assert!(relay.withdraw(&token).unwrap(), "what was not done is done now");
        assert!(!relay.withdraw(&token).unwrap());
    }
}
