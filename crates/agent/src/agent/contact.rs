//! When the agent last had a session with its server: on disk, because an agent that is alone outlives its restarts.

use restic_manager_core::time::{DAY, HOUR, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::state::{StateDir, StateError, write_atomically};

const FILE: &str = "last-contact.json";
/// How often it is written down while a session stands, in milliseconds.
const WRITE_EVERY: i64 = HOUR;

/// For how long an agent may be without its server before that is an error, in milliseconds: 30 days.
pub const ALONE_FOR_TOO_LONG: i64 = 30 * DAY;

/// When the agent of a state directory last had a session; none when it never had one, or nobody knows any more.
///
/// # Errors
///
/// The file cannot be read.
pub fn last_contact(dir: &StateDir) -> Result<Option<Timestamp>, StateError> {
    let path = dir.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("read", &path)(error)),
    };
    match serde_json::from_slice::<Stored>(&bytes) {
        Ok(stored) => Ok(Some(stored.at)),
        Err(error) => {
            warn!(file = %path.display(), %error, "when the server was last seen cannot be understood; it is forgotten");
            Ok(None)
        }
    }
}

/// The state directory is another host's from now on.
///
/// # Errors
///
/// The file cannot be removed.
pub(crate) fn forget_contact(dir: &StateDir) -> Result<(), StateError> {
    let path = dir.join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::io("remove", &path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    at: Timestamp,
}

/// What a running agent knows of its last contact.
#[derive(Debug)]
pub(super) struct LastContact {
    at: Option<Timestamp>,
    /// When it is written next while a session stands, on the boot clock.
    write_at: i64,
    /// When being alone for too long is said next, on the boot clock.
    complain_at: i64,
}

impl LastContact {
    pub(super) fn load(dir: &StateDir, now: i64) -> Self {
        let at = last_contact(dir).unwrap_or_else(|error| {
            warn!(%error, "when the server was last seen is not known");
            None
        });
        Self { at, write_at: now, complain_at: now }
    }

    /// When it was; none when there never was one.
    pub(super) const fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// A session stands: written down at once when it began, then hourly.
    pub(super) fn keep(&mut self, dir: &StateDir, wall: Timestamp, now: i64) {
        self.at = Some(wall);
        if now < self.write_at {
            return;
        }
        self.write_at = now + WRITE_EVERY;
        write_down(dir, wall);
    }

    /// The session is over: when it was last known to stand is written down, and the next one at once.
    pub(super) fn session_gone(&mut self, dir: &StateDir, now: i64) {
        self.write_at = now;
        if let Some(at) = self.at {
            write_down(dir, at);
        }
    }

    /// Whether it is time to say that the server is away for too long: once a day.
    pub(super) const fn shall_complain(&mut self, now: i64) -> bool {
        if now < self.complain_at {
            return false;
        }
        self.complain_at = now + DAY;
        true
    }
}

fn write_down(dir: &StateDir, at: Timestamp) {
    let text = format!("{{\"at\":{}}}", at.as_millis());
    if let Err(error) = write_atomically(&dir.join(FILE), text.as_bytes()) {
        warn!(%error, "when the server was last seen cannot be written down");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn dir(temp: &tempfile::TempDir) -> StateDir {
        StateDir::open(&temp.path().join("s")).unwrap()
    }

    #[test]
    fn a_contact_is_written_when_a_session_begins_and_hourly_while_it_stands() {
        let temp = tempfile::tempdir().unwrap();
        let dir = dir(&temp);
        assert_eq!(last_contact(&dir).unwrap(), None);
        let mut contact = LastContact::load(&dir, 0);
        for (passed, written) in [(0, 0), (HOUR - 1, 0), (HOUR, HOUR), (HOUR + 5, HOUR)] {
            contact.keep(&dir, NOW + passed, passed);
            assert_eq!(contact.at(), Some(NOW + passed));
            assert_eq!(last_contact(&dir).unwrap(), Some(NOW + written), "after {passed}");
        }
        contact.session_gone(&dir, HOUR + 6);
        assert_eq!(last_contact(&dir).unwrap(), Some(NOW + HOUR + 5), "and its last instant");
        contact.keep(&dir, NOW + HOUR + 7, HOUR + 7);
        assert_eq!(LastContact::load(&dir, 0).at(), Some(NOW + HOUR + 7));
    }

    #[test]
    fn a_file_that_is_torn_is_as_good_as_none() {
        let temp = tempfile::tempdir().unwrap();
        let dir = dir(&temp);
        std::fs::write(dir.join(FILE), "{\"at\":17").unwrap();
        assert_eq!(last_contact(&dir).unwrap(), None);
    }

    #[test]
    fn it_complains_once_a_day() {
        let temp = tempfile::tempdir().unwrap();
        let mut contact = LastContact::load(&dir(&temp), 5);
        let said = [5, 6, DAY + 4, DAY + 5].map(|now| contact.shall_complain(now));
        assert_eq!(said, [true, false, false, true]);
    }
}
