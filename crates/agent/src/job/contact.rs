//! Whether restic still reaches its repository.

use std::time::{Duration, Instant};

use restic_manager_core::restic::{Line, Progress};

use super::JobTimes;

/// Judges from restic's output whether it still reaches its repository.
///
/// Silence is no sign: reading a large index or waiting for a lock is silent. Restic names each failed attempt on
/// standard error (`... returned error, retrying after ...`); what counts is how long such lines go on with no progress between them.
#[derive(Debug)]
pub(crate) struct Contact {
    first_contact: Duration,
    unbroken_retries: Duration,
    heard: bool,
    done: (u64, u64),
    retries: Option<Retries>,
}

#[derive(Debug, Clone, Copy)]
struct Retries {
    since: Instant,
    last: Instant,
}

/// Restic waits at most about a minute between two attempts, and up to five for a stuck one. A longer silence ended the trouble.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 60);

impl Contact {
    pub(crate) const fn new(times: &JobTimes) -> Self {
        Self {
            first_contact: times.first_contact,
            unbroken_retries: times.unbroken_retries,
            heard: false,
            done: (0, 0),
            retries: None,
        }
    }

    /// Takes in a line of standard output.
    pub(crate) fn heard(&mut self, line: &Line) {
        match line {
            // Restic counts on while nothing moves: only what was done tells.
            Line::Progress(Progress { files_done, bytes_done, .. }) if self.heard => {
                if (*files_done, *bytes_done) != self.done {
                    self.done = (*files_done, *bytes_done);
                    self.retries = None;
                }
            }
            Line::Progress(Progress { files_done, bytes_done, .. }) => {
                self.done = (*files_done, *bytes_done);
                self.heard = true;
                self.retries = None;
            }
            Line::Summary(_)
            | Line::ItemError(_)
            | Line::Message(_)
            | Line::ExitError { .. }
            | Line::Other
            | Line::Text(_) => {
                self.heard = true;
                self.retries = None;
            }
        }
    }

    /// Takes in a line of standard error.
    pub(crate) fn complained(&mut self, line: &Line, now: Instant) {
        let Line::Text(text) = line else { return };
        if !text.contains(" returned error, retrying after ") {
            return;
        }
        let since = match self.retries {
            Some(retries) if now.duration_since(retries.last) <= LONGEST_PAUSE => retries.since,
            Some(_) | None => now,
        };
        self.retries = Some(Retries { since, last: now });
    }

    /// Whether it is to be given up.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        let Some(retries) = self.retries else { return false };
        let limit = if self.heard { self.unbroken_retries } else { self.first_contact };
        now.duration_since(retries.last) <= LONGEST_PAUSE && now.duration_since(retries.since) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry() -> Line {
        Line::Text("Load(<config/>) returned error, retrying after 1.2s: dial tcp: refused".into())
    }

    fn progress(bytes_done: u64) -> Line {
        Line::Progress(Progress { bytes_done, ..Progress::default() })
    }

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    #[test]
    fn before_the_first_contact_two_minutes_of_retries_are_enough_and_silence_is_not() {
        let start = Instant::now();
        let mut contact = Contact::new(&JobTimes::default());
        assert!(!contact.is_lost(start + minutes(60)), "a large index is read in silence");
        contact.complained(&retry(), start);
        contact.complained(&Line::Text("/a does not exist, skipping".into()), start);
        assert!(!contact.is_lost(start + Duration::from_secs(119)));
        contact.complained(&retry(), start + Duration::from_secs(119));
        assert!(contact.is_lost(start + minutes(2)));
    }

    #[test]
    fn after_it_only_twenty_minutes_without_progress_are() {
        let start = Instant::now();
        let mut contact = Contact::new(&JobTimes::default());
        contact.heard(&progress(1));
        for n in 0..=19 {
            contact.complained(&retry(), start + minutes(n));
            contact.heard(&progress(1));
            assert!(!contact.is_lost(start + minutes(n)), "{n}");
        }
        assert!(contact.is_lost(start + minutes(20)));
        contact.heard(&progress(2));
        assert!(!contact.is_lost(start + minutes(20)));
    }

    #[test]
    fn retries_hours_apart_are_no_unbroken_trouble() {
        let start = Instant::now();
        let mut contact = Contact::new(&JobTimes::default());
        contact.heard(&progress(1));
        contact.complained(&retry(), start);
        assert!(!contact.is_lost(start + minutes(60)));
        contact.complained(&retry(), start + minutes(60));
        assert!(!contact.is_lost(start + minutes(61)));
    }
}
