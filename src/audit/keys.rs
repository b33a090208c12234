//! The keys of the trail: one for the chain, one that signs checkpoints. Both are made of the installation's secret.

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac as _;
use ring::signature::Ed25519KeyPair;
use ring::signature::KeyPair;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::audit::entry::Actor;
use crate::audit::entry::Mac;
use crate::audit::entry::hex;
use crate::base::master::Master;

/// Keys of one installation's trail.
pub struct Keys {
    chain: Zeroizing<[u8; 32]>,
    signer: Ed25519KeyPair,
}

impl Keys {
    /// The keys that belong to this secret.
    pub fn new(master: &Master) -> Self {
        let seed = master.key("audit checkpoint");
        Self {
            chain: master.key("audit chain"),
            signer: Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
                .expect("a seed of 32 bytes is taken"),
        }
    }

    /// `HMAC-SHA-256(chain key, entry | MAC of the entry before)`.
    pub(super) fn mac(&self, text: &str, prev: &Mac) -> Mac {
        self.hmac(&[text.as_bytes(), prev])
    }

    /// The short tag that stands for a configured user. Without the key nobody can try names.
    pub fn actor(&self, name: &str) -> Actor {
        let mac = self.hmac(&[b"actor", name.as_bytes()]);
        Actor::User([mac[0], mac[1], mac[2], mac[3]])
    }

    /// What stands for the parameters of a question: equal ones can be told, none can be read.
    pub(super) fn digest(&self, params: &str) -> String {
        if params.is_empty() {
            return String::new();
        }
        let digest = |text: &str| hex(&self.hmac(&[b"params", text.as_bytes()])[..8]);
        let pairs = params.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) => format!("{name}={}", digest(pair)),
            None => digest(pair),
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Ed25519 (RFC 8032).
    pub(super) fn sign(&self, text: &str) -> [u8; 64] {
        let signature = self.signer.sign(text.as_bytes());
        signature
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature has 64 bytes")
    }

    /// Whoever has this can verify checkpoints and make none.
    pub fn public(&self) -> [u8; 32] {
        let key = self.signer.public_key().as_ref();
        key.try_into().expect("an Ed25519 key has 32 bytes")
    }

    fn hmac(&self, parts: &[&[u8]]) -> Mac {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.chain.as_slice()).expect("a key of any length is taken");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}
