//! Which machine this is, and which of its boots.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{StateDir, StateError, write_atomically};
use crate::random;

/// What tells this machine and this boot from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The operating system installation, as 64 hex digits: a hash, because `/etc/machine-id` itself is confidential
    /// (machine-id(5)).
    pub machine_id: String,
    /// Changes with every boot.
    pub boot_id: String,
    /// The name the operating system goes by; restic's locks carry it.
    pub os_hostname: String,
}

impl Identity {
    /// Asks the operating system. Where it has no machine id, one is made and kept in the state directory.
    ///
    /// # Errors
    ///
    /// The made id cannot be read or written.
    pub fn of_this_machine(dir: &StateDir) -> Result<Self, StateError> {
        let machine = match read_line(Path::new("/etc/machine-id")) {
            // systemd writes `uninitialized` while the first boot lasts.
            Some(id) if id != "uninitialized" => id,
            Some(_) | None => made_id(dir)?,
        };
        let boot_id =
            read_line(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_else(|| "unknown".to_owned());
        Ok(Self { machine_id: hashed(&machine), boot_id, os_hostname: os_hostname() })
    }
}

/// The name the operating system goes by (`uname -n`).
pub fn os_hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn hashed(machine: &str) -> String {
    let digest =
        Sha256::new().chain_update("restic-manager agent machine id\0").chain_update(machine).finalize();
    random::hex(&digest)
}

fn read_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.trim();
    if line.is_empty() { None } else { Some(line.to_owned()) }
}

fn made_id(dir: &StateDir) -> Result<String, StateError> {
    let path = dir.join("machine-id");
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StateError::io("read", &path)(error)),
    }
    let made = random::hex(&random::bytes::<16>());
    write_atomically(&path, made.as_bytes()).map_err(StateError::io("write", &path))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_by_a_hash_that_does_not_change() {
        assert_eq!(hashed("a"), hashed("a"));
        assert_ne!(hashed("a"), hashed("b"));
        assert_eq!(hashed("a").len(), 64);
        assert!(!hashed("0123").contains("0123456"));
    }

    #[test]
    fn a_made_id_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&temp.path().join("s")).unwrap();
        let first = made_id(&dir).unwrap();
        assert_eq!(made_id(&dir).unwrap(), first);
        assert_eq!(first.len(), 32);
    }

    #[test]
    fn this_machine_has_a_name_and_the_same_identity_twice() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&temp.path().join("s")).unwrap();
        let one = Identity::of_this_machine(&dir).unwrap();
        assert_eq!(Identity::of_this_machine(&dir).unwrap(), one);
        assert!(!one.os_hostname.is_empty());
    }
}
