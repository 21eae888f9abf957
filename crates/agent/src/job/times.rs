//! How long a job waits for what.

use std::time::Duration;

/// How long a job waits for what. The default is the product's; tests shorten it.
///
/// There is no deadline for a whole backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobTimes {
    /// Between two looks at restic's output, and so the age of a batch of log lines.
    pub poll: Duration,
    /// Between two messages of progress.
    pub progress_every: Duration,
    /// For trouble with the repository before anything was heard from it.
    pub first_contact: Duration,
    /// For unbroken retries after that.
    pub unbroken_retries: Duration,
    /// For a question such as `snapshots`, `stats` or `cat config`.
    pub query: Duration,
    /// Between SIGINT and SIGKILL. A throttled upload finishes its pack first: 32 s at 300 KiB/s.
    pub grace: Duration,
    /// Between SIGINT and SIGKILL for a question.
    pub query_grace: Duration,
    /// For which restic itself waits for a lock, where it can; at most 60 s.
    pub retry_lock: Duration,
    /// Between two full measurements of a repository after backups.
    pub full_stats_every: Duration,
}

impl Default for JobTimes {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            progress_every: Duration::from_secs(1),
            first_contact: Duration::from_secs(2 * 60),
            unbroken_retries: Duration::from_secs(20 * 60),
            query: Duration::from_secs(5 * 60),
            grace: Duration::from_secs(90),
            query_grace: Duration::from_secs(15),
            retry_lock: Duration::from_secs(60),
            full_stats_every: Duration::from_secs(24 * 60 * 60),
        }
    }
}
