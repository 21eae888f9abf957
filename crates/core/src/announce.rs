//! Announcing: an agent without a token shows its key, a person compares the fingerprint, and only who holds the key gets in.
//!
//! The agent signs what it says of itself ([`announcement`]); nobody can announce another's key, or change what was said under it.
//! Once a person approved, the agent signs the server's challenge ([`claim`]) and gets its token for that. A challenge is good for one
//! claim. What is signed begins with its purpose, so that no signature can stand in for another.
//!
//! The cryptography itself (Ed25519, SHA-256) is the shells' matter: here are the bytes that go into it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::api::AnnounceRequest;

/// A text that is no number of bytes in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct HexError {
    expected: usize,
}

/// A fixed number of bytes; as text, lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct HexBytes<const N: usize>(pub [u8; N]);

/// An Ed25519 public key.
pub type AgentKey = HexBytes<32>;
/// Random bytes of the server's, good for one claim.
pub type Challenge = HexBytes<32>;
/// An Ed25519 signature.
pub type Signature = HexBytes<64>;

impl<const N: usize> fmt::Display for HexBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for HexBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> FromStr for HexBytes<N> {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        digits(text.bytes()).map(Self).ok_or(HexError { expected: 2 * N })
    }
}

impl<const N: usize> TryFrom<String> for HexBytes<N> {
    type Error = HexError;

    fn try_from(text: String) -> Result<Self, HexError> {
        text.parse()
    }
}

impl<const N: usize> From<HexBytes<N>> for String {
    fn from(bytes: HexBytes<N>) -> Self {
        bytes.to_string()
    }
}

/// Exactly so many bytes from hexadecimal digits, in either case.
fn digits<const N: usize>(text: impl Iterator<Item = u8>) -> Option<[u8; N]> {
    let mut nibbles =
        text.map(|digit| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let mut bytes = [0; N];
    for byte in &mut bytes {
        let (high, low) = (nibbles.next()??, nibbles.next()??);
        *byte = high << 4 | low;
    }
    nibbles.next().is_none().then_some(bytes)
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("that is no fingerprint: expected eight groups of four hexadecimal digits, as the agent shows them")]
pub struct FingerprintError;

/// What people compare: the first half of the SHA-256 of an agent's key, as eight groups of four digits.
///
/// 128 bits: whoever wants a key of their own with the fingerprint of a given one has to try 2^128 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, example = "3f2a-91bc-04d2-77e1-9b0c-5a3f-c0de-1b2d"))]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// That of the key with this SHA-256.
    pub fn of_digest(digest: [u8; 32]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(half)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pair) in self.0.chunks(2).enumerate() {
            let dash = if at == 0 { "" } else { "-" };
            write!(f, "{dash}{:02x}{:02x}", pair[0], pair[1])?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Case, and what stands between the groups, do not matter: people type it.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let typed = text.bytes().filter(|byte| !matches!(byte, b'-' | b' ' | b':'));
        digits(typed).map(Self).ok_or(FingerprintError)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// Where an announced agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PendingState {
    /// It waits for a person.
    Waiting,
    /// It may claim its token.
    Approved,
    /// It was sent away.
    Rejected,
}

impl PendingState {
    /// Its name in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// What an agent signs when it announces itself: all that it says.
pub fn announcement(request: &AnnounceRequest) -> Vec<u8> {
    let AnnounceRequest { public_key, signature: _, machine_id, os_hostname, agent_version, os, arch } =
        request;
    let said = [machine_id, os_hostname, agent_version, os, arch].map(String::as_bytes);
    framed("restic-manager agent announcement 1", [&public_key.0[..]].into_iter().chain(said))
}

/// What an agent signs for its token.
pub fn claim(key: &AgentKey, challenge: &Challenge) -> Vec<u8> {
    framed("restic-manager agent claim 1", [&key.0[..], &challenge.0[..]])
}

/// Each part behind its length, so that no two lists of parts give the same bytes.
fn framed<'a>(purpose: &'a str, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [purpose.as_bytes()].into_iter().chain(parts) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> AnnounceRequest {
        AnnounceRequest {
            public_key: HexBytes([7; 32]),
            signature: HexBytes([9; 64]),
            machine_id: "m".into(),
            os_hostname: "web1".into(),
            agent_version: "0.1.0".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
        }
    }

    #[test]
    fn bytes_survive_their_text_and_other_texts_are_refused() {
        let key = HexBytes::<4>([0, 1, 0xab, 0xff]);
        assert_eq!(key.to_string(), "0001abff");
        assert_eq!("0001ABff".parse(), Ok(key));
        for text in ["", "0001abf", "0001abff0", "0001abfg", "0001ab-f", "é0001abf"] {
            assert_eq!(text.parse::<HexBytes<4>>(), Err(HexError { expected: 8 }), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_people_type_it() {
        let mut digest = [0xcd; 32];
        digest[..16].copy_from_slice(&[
            0x3f, 0x2a, 0x91, 0xbc, 4, 0xd2, 0x77, 0xe1, 0x9b, 0xc, 0x5a, 0x3f, 0xc0, 0xde, 0x1b, 0x2d,
        ]);
        let print = Fingerprint::of_digest(digest);
        assert_eq!(print.to_string(), "3f2a-91bc-04d2-77e1-9b0c-5a3f-c0de-1b2d");
        for typed in [
            print.to_string(),
            print.to_string().to_uppercase().replace('-', " "),
            print.to_string().replace('-', ""),
        ] {
            assert_eq!(typed.parse(), Ok(print), "{typed}");
        }
        for wrong in [
            "",
            "3f2a",
            "3f2a-91bc-04d2-77e1-9b0c-5a3f-c0de-1b2",
            "3f2a-91bc-04d2-77e1-9b0c-5a3f-c0de-1b2d-00",
        ] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn whatever_is_said_otherwise_is_signed_otherwise() {
        let said = announcement(&request());
        let others = [
            AnnounceRequest { public_key: HexBytes([8; 32]), ..request() },
            AnnounceRequest { machine_id: "n".into(), ..request() },
            AnnounceRequest { os_hostname: "web2".into(), ..request() },
            AnnounceRequest { agent_version: "0.1.1".into(), ..request() },
            AnnounceRequest { os: "linuy".into(), ..request() },
            AnnounceRequest { arch: "arm".into(), ..request() },
            // The same letters, divided otherwise.
            AnnounceRequest { machine_id: "mw".into(), os_hostname: "eb1".into(), ..request() },
        ];
        for other in others {
            assert_ne!(announcement(&other), said, "{other:?}");
        }
        assert_eq!(announcement(&AnnounceRequest { signature: HexBytes([1; 64]), ..request() }), said);
    }

    #[test]
    fn a_claim_names_key_and_challenge_and_is_no_announcement() {
        let (key, challenge) = (HexBytes([1; 32]), HexBytes([2; 32]));
        let signed = claim(&key, &challenge);
        assert_ne!(claim(&challenge, &key), signed);
        assert_ne!(claim(&key, &HexBytes([3; 32])), signed);
        assert!(signed.windows(5).any(|window| window == b"claim"));
    }
}
