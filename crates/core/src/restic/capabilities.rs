//! What a release of restic can do.

use super::Version;

/// What a release of restic can do, as far as this crate makes use of it.
///
/// Sources: restic's change log for the release that brought each, runs of 0.14.0, 0.18.0 and 0.19.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    version: Version,
}

impl Capabilities {
    /// Those of a release.
    pub const fn of(version: Version) -> Self {
        Self { version }
    }

    /// The release.
    pub const fn version(self) -> Version {
        self.version
    }

    /// It knows `--retry-lock` (0.16.0).
    pub fn retry_lock(self) -> bool {
        self.version >= Version::new(0, 16, 0)
    }

    /// It reads the user and password of a REST server from `RESTIC_REST_USERNAME` and `RESTIC_REST_PASSWORD` (0.16.1).
    pub fn rest_environment(self) -> bool {
        self.version >= Version::new(0, 16, 1)
    }

    /// `forget` keeps the oldest snapshot of a group while a rule has not counted as many as it may (0.16.0).
    pub fn keeps_oldest(self) -> bool {
        self.version >= Version::new(0, 16, 0)
    }

    /// It exits with 10 when there is no repository and with 11 when the repository is locked (0.17.0).
    pub fn exit_codes(self) -> bool {
        self.version >= Version::new(0, 17, 0)
    }

    /// It exits with 12 when the password is wrong (0.17.1).
    pub fn wrong_password_exit_code(self) -> bool {
        self.version >= Version::new(0, 17, 1)
    }

    /// It writes its last word as an `exit_error` object when run with `--json` (0.18.0).
    pub fn json_errors(self) -> bool {
        self.version >= Version::new(0, 18, 0)
    }

    /// `check --json` writes a summary object (0.18.0).
    pub fn json_check(self) -> bool {
        self.version >= Version::new(0, 18, 0)
    }

    /// `init --json` writes an object with the full id; 0.14.0 writes text.
    ///
    /// Parsers read both; the answer is cautious for the releases between 0.14.0 and 0.18.0.
    pub fn json_init(self) -> bool {
        self.version >= Version::new(0, 18, 0)
    }

    /// The summary of a backup names the snapshot with all 64 digits; 0.14.0 gives 8, to be looked up in the list.
    ///
    /// [`SnapshotId::is_full`](super::SnapshotId::is_full) tells for an id in hand; this one is cautious for the releases between 0.14.0 and 0.18.0.
    pub fn full_snapshot_id(self) -> bool {
        self.version >= Version::new(0, 18, 0)
    }

    /// It removes its lock when it is sent SIGTERM; 0.14.0 dies at once and leaves the lock.
    ///
    /// SIGINT is handled by every release.
    pub fn handles_sigterm(self) -> bool {
        self.version >= Version::new(0, 18, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_supported_release_can_do_none_of_the_newer_things() {
        let old = Capabilities::of(Version::OLDEST_SUPPORTED);
        assert!(!old.retry_lock() && !old.rest_environment() && !old.exit_codes() && !old.json_check());
        assert!(!old.keeps_oldest() && !old.wrong_password_exit_code());
        assert!(!old.json_errors() && !old.json_init() && !old.full_snapshot_id() && !old.handles_sigterm());
    }

    #[test]
    fn each_ability_begins_with_its_release() {
        let of = |minor, patch| Capabilities::of(Version::new(0, minor, patch));
        assert!(!of(15, 2).retry_lock() && of(16, 0).retry_lock());
        assert!(!of(15, 2).keeps_oldest() && of(16, 0).keeps_oldest());
        assert!(!of(16, 0).rest_environment() && of(16, 1).rest_environment());
        assert!(!of(16, 5).exit_codes() && of(17, 0).exit_codes());
        assert!(!of(17, 0).wrong_password_exit_code() && of(17, 1).wrong_password_exit_code());
        assert!(!of(17, 3).json_check() && of(18, 0).json_check());
        assert!(of(19, 1).full_snapshot_id() && of(19, 1).handles_sigterm());
    }
}
