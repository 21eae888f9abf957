//! Identifiers: UUIDv7, minted by whichever side first knows of the thing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::time::Timestamp;

/// A text that is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id: expected a UUID such as 01900000-0000-7000-8000-000000000000")]
pub struct IdError {
    text: String,
}

fn parse(text: &str) -> Result<Uuid, IdError> {
    // Only the hyphenated form is accepted: one id has one spelling in SQL, JSON and file names.
    if text.len() != 36 {
        return Err(IdError { text: text.chars().take(64).collect() });
    }
    Uuid::parse_str(text).map_err(|_| IdError { text: text.to_owned() })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        ///
        /// A UUIDv7: it sorts by the time it was minted. Its text form is the hyphenated lowercase one.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a new identifier from the present time and ten random bytes.
            pub fn mint(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.as_millis()).unwrap_or(0);
                Self(Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// Its 16 bytes; the last 10 are the random ones it was minted with, but for 6 bits of version and variant.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The time at which it was minted, by the clock of the side that did.
            pub fn minted_at(&self) -> Timestamp {
                let bytes = self.0.as_bytes();
                let millis = bytes[..6].iter().fold(0i64, |sum, byte| (sum << 8) | i64::from(*byte));
                Timestamp::from_millis(millis)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                parse(&text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    )*};
}

ids! {
    /// An enrolled machine with one agent.
    HostId,
    /// A repository as the fleet knows it; restic's own 64-hex id is [`crate::model::ResticRepoId`].
    RepoId,
    /// A host's right to use a repository.
    AttachmentId,
    /// A source group: what is backed up.
    GroupId,
    /// A schedule: when it is backed up.
    ScheduleId,
    /// A run: one group of one schedule to one repository at one slot.
    RunId,
    /// A job: one attempt of a run, or one operation asked for.
    JobId,
    /// A person who may log in.
    UserId,
    /// An API token.
    TokenId,
    /// A one-time enrolment token.
    EnrollmentId,
    /// An announced agent that waits for a person.
    PendingHostId,
    /// A row of the audit log.
    AuditId,
    /// One life of an agent's spool; a new one is minted when the spool was lost.
    SpoolId,
    /// A browser session.
    SessionId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form_and_sorts_by_time() {
        let early = JobId::mint(Timestamp::from_millis(1_700_000_000_000), [0xff; 10]);
        let late = JobId::mint(Timestamp::from_millis(1_700_000_000_001), [0; 10]);
        assert_eq!(early.to_string().parse::<JobId>().unwrap(), early);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.minted_at().as_millis(), 1_700_000_000_000);
    }

    #[test]
    fn only_the_hyphenated_spelling_is_an_id() {
        let id = HostId::mint(Timestamp::from_millis(5), [7; 10]);
        let bare: String = id.to_string().chars().filter(|c| *c != '-').collect();
        assert!(bare.parse::<HostId>().is_err());
        assert!("../../etc/passwd".parse::<HostId>().is_err());
    }
}
