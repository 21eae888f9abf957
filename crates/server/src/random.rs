//! Randomness, as an argument: ids and tokens come from a [`Random`], so that a test can repeat itself.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use restic_manager_core::secret::Secret;
use restic_manager_store::TokenHash;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Fills buffers with random bytes.
pub trait Random: Send + Sync {
    /// Overwrites the whole buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// The random part of an id, as the `mint` functions of [`restic_manager_core::id`] take it.
    fn id_bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        bytes
    }

    /// A number for jitter.
    fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A new token: the prefix that says what it is for, then 32 random bytes in base64url.
    fn mint_token(&self, prefix: &str) -> Secret {
        let mut bytes = Zeroizing::new([0; 32]);
        self.fill(bytes.as_mut_slice());
        let mut text = String::with_capacity(prefix.len() + 43);
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        Secret::new(text)
    }
}

/// The SHA-256 of a token's whole text, prefix included: all that is stored of one.
///
/// A plain hash is enough because a token holds 256 random bits; passwords go through argon2id instead.
pub fn token_hash(token: &Secret) -> TokenHash {
    TokenHash(Sha256::digest(token.expose().as_bytes()).into())
}

/// The operating system's source of randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    /// Overwrites the whole buffer.
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness to give: nothing that is safe could be done without it.
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}

/// Numbers that repeat themselves from a seed, for tests and simulations; no secret may come from it.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    drawn: Mutex<u64>,
}

impl SeededRandom {
    /// Starts the sequence that belongs to a seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed, drawn: Mutex::new(0) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in buffer.chunks_mut(32) {
            let block = Sha256::new().chain_update(self.seed.to_le_bytes()).chain_update(drawn.to_le_bytes());
            chunk.copy_from_slice(&block.finalize()[..chunk.len()]);
            *drawn += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_its_prefix_and_256_bits_and_no_two_are_alike() {
        let (one, two) = (OsRandom.mint_token("rmt_"), OsRandom.mint_token("rmt_"));
        let body = one.expose().strip_prefix("rmt_").unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(body).unwrap().len(), 32);
        assert_ne!(one, two);
        assert_ne!(token_hash(&one), token_hash(&two));
    }

    #[test]
    fn the_hash_of_a_token_is_the_sha_256_of_its_text() {
        let hex: String =
            token_hash(&Secret::new("abc")).0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_seed_repeats_its_sequence_and_another_seed_has_another() {
        let draw = |seed| {
            let random = SeededRandom::new(seed);
            let mut long = [0; 70];
            random.fill(&mut long);
            (random.id_bytes(), random.number(), long)
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let random = SeededRandom::new(1);
        assert_ne!(random.id_bytes(), random.id_bytes());
    }
}
