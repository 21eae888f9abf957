//! What the agent remembers of its enrolment.

use restic_manager_core::id::HostId;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StateDir, StateError, write_atomically};
use crate::server_url::ServerUrl;

const FILE: &str = "agent.json";

/// Which host this agent is, and at which server. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The server's address.
    pub server: ServerUrl,
    /// The host it is there.
    pub host_id: HostId,
    /// The host's name at the time.
    pub name: DisplayName,
    /// The machine it was enrolled on, hashed; a clone has another.
    pub machine_id: String,
    /// When.
    pub enrolled_at: Timestamp,
}

impl Enrolment {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`StateError::NotEnrolled`] when there is none, [`StateError::Damaged`] when it cannot be understood.
    pub fn load(dir: &StateDir) -> Result<Self, StateError> {
        let path = dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StateError::NotEnrolled { path: dir.path().to_owned() });
            }
            Err(error) => return Err(StateError::io("read", &path)(error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| StateError::Damaged { path, why: error.to_string() })
    }

    /// Stores it, in place of an older one.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    pub fn save(&self, dir: &StateDir) -> Result<(), StateError> {
        let path = dir.join(FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| StateError::Damaged { path: path.clone(), why: error.to_string() })?;
        write_atomically(&path, &text).map_err(StateError::io("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enrolment_is_read_back_and_its_absence_and_damage_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&temp.path().join("s")).unwrap();
        let missing = Enrolment::load(&dir).unwrap_err();
        assert!(matches!(missing, StateError::NotEnrolled { .. }));
        assert!(missing.hint().unwrap().contains("enrol --server"));
        let enrolment = Enrolment {
            server: ServerUrl::try_from("https://backup.example.org".to_owned()).unwrap(),
            host_id: HostId::mint(Timestamp::from_millis(1), [1; 10]),
            name: DisplayName::new("web").unwrap(),
            machine_id: "abc".into(),
            enrolled_at: Timestamp::from_millis(5),
        };
        enrolment.save(&dir).unwrap();
        assert_eq!(Enrolment::load(&dir).unwrap(), enrolment);
        std::fs::write(dir.join(FILE), "{").unwrap();
        assert!(matches!(Enrolment::load(&dir), Err(StateError::Damaged { .. })));
    }
}
