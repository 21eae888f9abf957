//! What restic is asked to do, and the arguments that say so.
//!
//! No secret can come into an argument: no type here holds one. The repository and its password reach restic by its
//! [`Environment`](super::Environment).

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{Capabilities, LockId, SnapshotId};
use crate::retention::KeepPolicy;
use crate::text::{ExcludePattern, ResticHost, SourcePath, Tag};

/// One thing that restic is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `init`: makes the repository. One that exists is [adopted](super::InitReport::Adopted).
    Init,
    /// `backup`.
    Backup(Backup),
    /// `snapshots`: lists them.
    Snapshots(SnapshotFilter),
    /// `snapshots --no-lock`: lists them whoever holds the repository.
    PeekSnapshots(SnapshotFilter),
    /// `stats --mode raw-data`: bytes that snapshots refer to.
    Stats,
    /// `check`.
    Check(ReadData),
    /// `forget`: takes snapshots off the list, and never prunes.
    Forget(Forget),
    /// `prune`: removes data that no snapshot needs.
    Prune,
    /// `unlock`: removes stale locks.
    Unlock,
    /// `unlock --remove-all`: takes live locks too, whose owners go on all the same. Only ever an operator's act.
    UnlockAll,
    /// `list locks`.
    ListLocks,
    /// `cat lock`: what one lock says.
    CatLock(LockId),
    /// `cat config`: the cheapest proof that address and password are right, under a lock too.
    CatConfig,
    /// `version`.
    Version,
}

/// The kind of a [`Command`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `init`.
    Init,
    /// `backup`.
    Backup,
    /// `snapshots`.
    Snapshots,
    /// `stats`.
    Stats,
    /// `check`.
    Check,
    /// `forget`.
    Forget,
    /// `prune`.
    Prune,
    /// `unlock`.
    Unlock,
    /// `list locks`.
    ListLocks,
    /// `cat lock`.
    CatLock,
    /// `cat config`.
    CatConfig,
    /// `version`.
    Version,
}

impl Kind {
    /// Restic's own words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Snapshots => "snapshots",
            Self::Stats => "stats",
            Self::Check => "check",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Unlock => "unlock",
            Self::ListLocks => "list locks",
            Self::CatLock => "cat lock",
            Self::CatConfig => "cat config",
            Self::Version => "version",
        }
    }
}

/// A backup of some paths under a host name and a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    host: ResticHost,
    tag: Tag,
    includes: Vec<SourcePath>,
    /// Patterns that are left out.
    pub excludes: Vec<ExcludePattern>,
    /// Leaves out folders that carry a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Stays on the file system of each included path.
    pub one_file_system: bool,
}

/// Which snapshots are listed; an absent field does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Those of this host.
    pub host: Option<ResticHost>,
    /// Those with this tag.
    pub tag: Option<Tag>,
    /// This one.
    pub id: Option<SnapshotId>,
}

/// How much of the data a check reads; the structure is always checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadData {
    /// None of it.
    #[default]
    Structure,
    /// A random share in percent, chosen anew each time.
    Percent(SubsetPercent),
}

/// 1 to 100 percent: restic refuses 0 and more than 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubsetPercent(u8);

/// A removal of snapshots of one host and tag by a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forget {
    host: ResticHost,
    tag: Tag,
    keep: Vec<String>,
    preview: bool,
}

/// How long restic itself waits for a lock: 1 to 60 seconds.
///
/// Longer waits belong to whoever admits work, where people can see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLock(u8);

/// What is common to all commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GlobalOptions {
    /// How long restic waits for a lock, where the release can (0.16.0) and the command takes one.
    pub retry_lock: Option<RetryLock>,
    /// At most so many KiB/s towards the repository; local ones too.
    pub limit_upload: Option<NonZeroU32>,
    /// At most so many KiB/s from the repository; local ones too.
    pub limit_download: Option<NonZeroU32>,
    /// A file of certificates to trust: the absolute path on the host.
    pub ca_certificates: Option<SourcePath>,
}

/// A command that restic must not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is nothing to back up.
    #[error("a backup needs at least one path to include")]
    NoIncludes,
    /// An empty policy would remove nothing, or everything, by restic's version.
    #[error("a retention policy needs at least one number; an empty one never runs forget")]
    EmptyPolicy,
}

impl Backup {
    /// A backup of `includes`, which must not be empty.
    ///
    /// # Errors
    ///
    /// [`CommandError::NoIncludes`].
    pub fn new(host: ResticHost, tag: Tag, includes: Vec<SourcePath>) -> Result<Self, CommandError> {
        if includes.is_empty() {
            return Err(CommandError::NoIncludes);
        }
        let excludes = Vec::new();
        Ok(Self { host, tag, includes, excludes, exclude_caches: false, one_file_system: false })
    }

    /// What is backed up.
    pub fn includes(&self) -> &[SourcePath] {
        &self.includes
    }
}

impl Forget {
    /// Applies the policy of a source group to the snapshots that carry both this host and this tag.
    ///
    /// # Errors
    ///
    /// [`CommandError::EmptyPolicy`].
    pub fn new(host: ResticHost, tag: Tag, keep: &KeepPolicy) -> Result<Self, CommandError> {
        if keep.is_empty() {
            return Err(CommandError::EmptyPolicy);
        }
        Ok(Self { host, tag, keep: keep.to_args(), preview: false })
    }

    /// The same, but only saying what would be removed. It takes an exclusive lock all the same.
    #[must_use]
    pub fn preview(self) -> Self {
        Self { preview: true, ..self }
    }
}

impl ReadData {
    /// A share in percent: 0 reads no data, more than 100 counts as 100.
    pub fn percent(percent: u8) -> Self {
        match percent {
            0 => Self::Structure,
            some => Self::Percent(SubsetPercent(some.min(100))),
        }
    }
}

impl RetryLock {
    /// Waits for `seconds`, brought into 1 to 60.
    pub fn seconds(seconds: u32) -> Self {
        Self(u8::try_from(seconds.clamp(1, 60)).unwrap_or(60))
    }
}

impl Command {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Init => Kind::Init,
            Self::Backup(_) => Kind::Backup,
            Self::Snapshots(_) | Self::PeekSnapshots(_) => Kind::Snapshots,
            Self::Stats => Kind::Stats,
            Self::Check(_) => Kind::Check,
            Self::Forget(_) => Kind::Forget,
            Self::Prune => Kind::Prune,
            Self::Unlock | Self::UnlockAll => Kind::Unlock,
            Self::ListLocks => Kind::ListLocks,
            Self::CatLock(_) => Kind::CatLock,
            Self::CatConfig => Kind::CatConfig,
            Self::Version => Kind::Version,
        }
    }

    /// The arguments that follow the program's name.
    pub fn args(&self, capabilities: Capabilities, global: &GlobalOptions) -> Vec<String> {
        let mut args = Args::default();
        self.head(capabilities, &mut args);
        if self.kind() != Kind::Version {
            self.global(capabilities, global, &mut args);
        }
        if let Self::Backup(backup) = self {
            args.flag("--");
            args.0.extend(backup.includes.iter().map(ToString::to_string));
        }
        args.0
    }

    fn head(&self, capabilities: Capabilities, args: &mut Args) {
        match self {
            Self::Init => args.flags(&["init", "--json"]),
            Self::Backup(backup) => backup.head(args),
            Self::Snapshots(filter) => filter.head(args),
            Self::PeekSnapshots(filter) => {
                filter.head(args);
                args.flag("--no-lock");
            }
            Self::Stats => args.flags(&["stats", "--json", "--mode", "raw-data"]),
            Self::Check(read_data) => {
                args.flag("check");
                if capabilities.json_check() {
                    args.flag("--json");
                }
                if let ReadData::Percent(SubsetPercent(percent)) = read_data {
                    args.pair("--read-data-subset", &format!("{percent}%"));
                }
            }
            Self::Forget(forget) => forget.head(args),
            // Prune has no JSON of its own; from 0.18.0 the flag makes its last error an object.
            Self::Prune => args.flags(&["prune", "--json"]),
            Self::Unlock => args.flags(&["unlock", "--json"]),
            Self::UnlockAll => args.flags(&["unlock", "--remove-all", "--json"]),
            Self::ListLocks => args.flags(&["list", "locks", "--no-lock"]),
            Self::CatLock(id) => args.flags(&["cat", "lock", id.as_str(), "--no-lock"]),
            Self::CatConfig => args.flags(&["cat", "config", "--no-lock"]),
            Self::Version => args.flags(&["version", "--json"]),
        }
    }

    fn global(&self, capabilities: Capabilities, global: &GlobalOptions, args: &mut Args) {
        if let Some(RetryLock(seconds)) = global.retry_lock
            && capabilities.retry_lock()
            && self.takes_lock()
        {
            args.pair("--retry-lock", &format!("{seconds}s"));
        }
        if let Some(limit) = global.limit_upload {
            args.pair("--limit-upload", &limit);
        }
        if let Some(limit) = global.limit_download {
            args.pair("--limit-download", &limit);
        }
        if let Some(file) = &global.ca_certificates {
            args.pair("--cacert", &file);
        }
    }

    /// Whether restic takes a lock for it, shared or exclusive.
    pub const fn takes_lock(&self) -> bool {
        match self {
            Self::Backup(_)
            | Self::Snapshots(_)
            | Self::Stats
            | Self::Check(_)
            | Self::Forget(_)
            | Self::Prune => true,
            Self::Init
            | Self::PeekSnapshots(_)
            | Self::Unlock
            | Self::UnlockAll
            | Self::ListLocks
            | Self::CatLock(_)
            | Self::CatConfig
            | Self::Version => false,
        }
    }
}

impl Backup {
    fn head(&self, args: &mut Args) {
        args.flags(&["backup", "--json"]);
        args.pair("--host", &self.host);
        args.pair("--tag", &self.tag);
        for pattern in &self.excludes {
            args.pair("--exclude", &pattern);
        }
        if self.exclude_caches {
            args.flag("--exclude-caches");
        }
        if self.one_file_system {
            args.flag("--one-file-system");
        }
    }
}

impl SnapshotFilter {
    fn head(&self, args: &mut Args) {
        args.flags(&["snapshots", "--json"]);
        if let Some(host) = &self.host {
            args.pair("--host", &host);
        }
        if let Some(tag) = &self.tag {
            args.pair("--tag", &tag);
        }
        if let Some(id) = &self.id {
            args.flag(id.as_str());
        }
    }
}

impl Forget {
    fn head(&self, args: &mut Args) {
        args.flags(&["forget", "--json"]);
        args.pair("--host", &self.host);
        args.pair("--tag", &self.tag);
        args.pair("--group-by", &"host");
        args.0.extend(self.keep.iter().cloned());
        if self.preview {
            args.flag("--dry-run");
        }
    }
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn flags(&mut self, flags: &[&str]) {
        self.0.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    fn pair(&mut self, flag: &str, value: &dyn fmt::Display) {
        self.0.push(flag.to_owned());
        self.0.push(value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restic::Version;

    fn old() -> Capabilities {
        Capabilities::of(Version::OLDEST_SUPPORTED)
    }

    fn new() -> Capabilities {
        Capabilities::of(Version::new(0, 19, 1))
    }

    fn words(command: &Command, capabilities: Capabilities) -> String {
        let global = GlobalOptions { retry_lock: Some(RetryLock::seconds(30)), ..GlobalOptions::default() };
        command.args(capabilities, &global).join(" ")
    }

    fn backup() -> Backup {
        let includes = ["/srv", "/etc/x y"].map(|path| SourcePath::new(path).unwrap()).to_vec();
        Backup::new(ResticHost::new("web1").unwrap(), Tag::new("home").unwrap(), includes).unwrap()
    }

    #[test]
    fn a_kind_is_called_by_the_words_that_run_it() {
        let kinds = [Command::Prune, Command::ListLocks, Command::CatConfig, Command::Backup(backup())];
        for command in kinds {
            let words = words(&command, new());
            assert!(words.starts_with(&format!("{} ", command.kind().as_str())), "{words}");
        }
        assert_eq!(
            backup().includes().iter().map(SourcePath::as_str).collect::<Vec<_>>(),
            ["/srv", "/etc/x y"]
        );
    }

    #[test]
    fn a_backup_names_host_and_tag_and_puts_paths_after_a_double_dash() {
        let mut backup = backup();
        backup.excludes = vec![ExcludePattern::new("*.tmp").unwrap(), ExcludePattern::new("-x").unwrap()];
        backup.exclude_caches = true;
        backup.one_file_system = true;
        let global = GlobalOptions {
            retry_lock: Some(RetryLock::seconds(600)),
            limit_upload: NonZeroU32::new(300),
            limit_download: NonZeroU32::new(7),
            ca_certificates: Some(SourcePath::new("/etc/ca.pem").unwrap()),
        };
        let args = Command::Backup(backup).args(new(), &global);
        assert_eq!(
            args.join(" "),
            "backup --json --host web1 --tag home --exclude *.tmp --exclude -x --exclude-caches --one-file-system \
             --retry-lock 60s --limit-upload 300 --limit-download 7 --cacert /etc/ca.pem -- /srv /etc/x y"
        );
        assert_eq!(args.last().unwrap(), "/etc/x y");
    }

    #[test]
    fn a_backup_of_nothing_cannot_be_made() {
        let error = Backup::new(ResticHost::new("h").unwrap(), Tag::new("t").unwrap(), vec![]);
        assert_eq!(error, Err(CommandError::NoIncludes));
    }

    #[test]
    fn forget_is_bound_to_host_and_tag_and_never_prunes() {
        let keep =
            KeepPolicy { last: NonZeroU32::new(3), yearly: NonZeroU32::new(1), ..KeepPolicy::default() };
        let forget = Forget::new(ResticHost::new("h").unwrap(), Tag::new("t").unwrap(), &keep).unwrap();
        let expected = "forget --json --host h --tag t --group-by host --keep-last 3 --keep-yearly 1";
        assert_eq!(words(&Command::Forget(forget.clone()), old()), expected);
        let preview = Command::Forget(forget.preview());
        assert_eq!(words(&preview, new()), format!("{expected} --dry-run --retry-lock 30s"));
    }

    #[test]
    fn an_empty_policy_cannot_be_forgotten_by() {
        let host = ResticHost::new("h").unwrap();
        let empty = Forget::new(host.clone(), Tag::new("t").unwrap(), &KeepPolicy::default());
        assert_eq!(empty, Err(CommandError::EmptyPolicy));
        let keep: KeepPolicy = serde_json::from_str(r#"{"daily":7,"within":"2m"}"#).unwrap();
        let forget = Forget::new(host, Tag::new("t").unwrap(), &keep).unwrap();
        let expected = "forget --json --host h --tag t --group-by host --keep-daily 7 --keep-within 2m";
        assert_eq!(words(&Command::Forget(forget), old()), expected);
    }

    #[test]
    fn retry_lock_is_given_only_to_releases_and_commands_that_know_it() {
        assert_eq!(words(&Command::Prune, new()), "prune --json --retry-lock 30s");
        assert_eq!(words(&Command::Prune, old()), "prune --json");
        assert_eq!(words(&Command::Unlock, new()), "unlock --json");
        assert_eq!(words(&Command::UnlockAll, new()), "unlock --remove-all --json");
        assert_eq!(words(&Command::CatConfig, new()), "cat config --no-lock");
        assert_eq!(words(&Command::Init, new()), "init --json");
        assert_eq!(words(&Command::Version, new()), "version --json");
        assert_eq!(RetryLock::seconds(0), RetryLock(1));
    }

    #[test]
    fn check_reads_a_share_of_the_data_and_speaks_json_where_it_can() {
        assert_eq!(words(&Command::Check(ReadData::percent(0)), old()), "check");
        let some = Command::Check(ReadData::percent(5));
        assert_eq!(words(&some, new()), "check --json --read-data-subset 5% --retry-lock 30s");
        assert_eq!(ReadData::percent(200), ReadData::percent(100));
    }

    #[test]
    fn queries_name_what_they_ask_for() {
        let filter = SnapshotFilter {
            host: Some(ResticHost::new("h").unwrap()),
            tag: Some(Tag::new("t").unwrap()),
            id: Some(SnapshotId::new("abababab").unwrap()),
        };
        let args = words(&Command::Snapshots(filter), old());
        assert_eq!(args, "snapshots --json --host h --tag t abababab");
        let peek = Command::PeekSnapshots(SnapshotFilter::default());
        assert_eq!(words(&peek, new()), "snapshots --json --no-lock");
        assert_eq!(words(&Command::Stats, old()), "stats --json --mode raw-data");
        let id = LockId::new("a".repeat(64)).unwrap();
        assert_eq!(words(&Command::CatLock(id), old()), format!("cat lock {} --no-lock", "a".repeat(64)));
        assert_eq!(words(&Command::ListLocks, old()), "list locks --no-lock");
    }
}
