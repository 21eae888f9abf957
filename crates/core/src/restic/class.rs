//! The classes of an end.

use serde::{Deserialize, Serialize};

/// The class of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OutcomeClass {
    /// It did what it was asked, and for a backup the snapshot is known.
    Ok,
    /// It did what it could; something was left out.
    Partial,
    /// Another restic's lock is in the way.
    Locked,
    /// The storage does not answer.
    Unreachable,
    /// There is no repository at the address.
    NoRepository,
    /// The repository's password, or the login of its server, is wrong.
    WrongPassword,
    /// The server does not let this credential delete.
    AppendOnly,
    /// The storage is full.
    NoSpace,
    /// Nothing of what was to be backed up exists.
    SourceMissing,
    /// There is no restic to run.
    ResticMissing,
    /// It was stopped on request.
    Cancelled,
    /// Something else stopped it.
    Killed,
    /// Anything else. A failure.
    Unknown,
}

impl OutcomeClass {
    /// Whether the same run may succeed later without anybody doing anything.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Locked | Self::Unreachable | Self::Killed => true,
            Self::Ok
            | Self::Partial
            | Self::NoRepository
            | Self::WrongPassword
            | Self::AppendOnly
            | Self::NoSpace
            | Self::SourceMissing
            | Self::ResticMissing
            | Self::Cancelled
            | Self::Unknown => false,
        }
    }

    /// Whether the repository's storage answered; none where the end says nothing about it.
    pub const fn storage_answered(self) -> Option<bool> {
        match self {
            Self::Unreachable => Some(false),
            Self::Ok
            | Self::Partial
            | Self::Locked
            | Self::NoRepository
            | Self::WrongPassword
            | Self::AppendOnly
            | Self::NoSpace => Some(true),
            Self::SourceMissing | Self::ResticMissing | Self::Cancelled | Self::Killed | Self::Unknown => {
                None
            }
        }
    }

    /// Its name in SQL, wire and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Locked => "locked",
            Self::Unreachable => "unreachable",
            Self::NoRepository => "no_repository",
            Self::WrongPassword => "wrong_password",
            Self::AppendOnly => "append_only",
            Self::NoSpace => "no_space",
            Self::SourceMissing => "source_missing",
            Self::ResticMissing => "restic_missing",
            Self::Cancelled => "cancelled",
            Self::Killed => "killed",
            Self::Unknown => "unknown",
        }
    }

    pub(super) const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Ok => None,
            Self::Partial => Some("the snapshot is kept; look in the log for what was left out"),
            Self::Locked => Some("wait for the other run to end; if it is dead, unlock the repository"),
            Self::Unreachable => Some("check the network, the server and its certificate"),
            Self::NoRepository => Some("check the address, or initialise the repository"),
            Self::WrongPassword => Some("correct the credential of this repository"),
            Self::AppendOnly => Some("give the repository an admin credential that may delete"),
            Self::NoSpace => Some("make room on the storage or raise its quota"),
            Self::SourceMissing => Some("correct the paths of the source group, or mount what is missing"),
            Self::ResticMissing => Some("install restic 0.14.0 or newer on the host"),
            Self::Cancelled => None,
            Self::Killed => {
                Some("a lock may be left in the repository; look for a lack of memory or a reboot")
            }
            Self::Unknown => Some("the log holds restic's own words"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_locked_unreachable_and_killed_are_worth_another_try() {
        let all = "ok partial locked unreachable no_repository wrong_password append_only no_space source_missing \
                   restic_missing cancelled killed unknown";
        let retryable: Vec<&str> = all
            .split_whitespace()
            .filter(|name| {
                let class: OutcomeClass = serde_json::from_value(serde_json::json!(name)).unwrap();
                assert_eq!(class.as_str(), *name);
                class.is_retryable()
            })
            .collect();
        assert_eq!(retryable, ["locked", "unreachable", "killed"]);
    }

    #[test]
    fn who_could_not_start_knows_nothing_of_the_storage() {
        assert_eq!(OutcomeClass::Unreachable.storage_answered(), Some(false));
        for class in
            [OutcomeClass::Ok, OutcomeClass::Locked, OutcomeClass::WrongPassword, OutcomeClass::NoSpace]
        {
            assert_eq!(class.storage_answered(), Some(true), "{class:?}");
        }
        for class in [OutcomeClass::SourceMissing, OutcomeClass::ResticMissing, OutcomeClass::Killed] {
            assert_eq!(class.storage_answered(), None, "{class:?}");
        }
    }
}
