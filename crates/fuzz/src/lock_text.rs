//! What restic says of locks.

use restic_manager_core::restic::{
    Capabilities, Exit, LockSighting, Version, is_locked, parse_cat_config, parse_cat_lock, parse_list_locks,
    parse_unlocked, sight_lock,
};
use serde_json::Value;

const VERSIONS: [Version; 4] =
    [Version::new(0, 14, 0), Version::new(0, 17, 0), Version::new(0, 18, 0), Version::new(0, 19, 1)];

pub(crate) fn run(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let mut understood = false;
    for version in VERSIONS {
        let capabilities = Capabilities::of(version);
        for exit in [Exit::Code(0), Exit::Code(1), Exit::Code(11), Exit::Signal(9), Exit::NotStarted] {
            let sighting = sight_lock(exit, capabilities, &text);
            let locked = is_locked(exit, capabilities, &text);
            // The exit code that says "locked" came with 0.17.0; before, only words after exit code 1 do.
            let may = if version >= Version::new(0, 17, 0) { Exit::Code(11) } else { Exit::Code(1) };
            assert!(!locked || exit == may, "{version} with {exit:?} is no lock");
            if let Some(sighting) = sighting {
                assert!(locked, "a lock is seen where none keeps anybody out");
                judge(&sighting, &text);
                understood = true;
            }
        }
    }
    understood | documents(&text)
}

fn judge(sighting: &LockSighting, text: &str) {
    assert_eq!(sighting.storage_id.len(), 8);
    assert!(sighting.storage_id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!sighting.hostname.is_empty() && !sighting.username.is_empty() && sighting.pid >= 0);
    // A name of a file alone must not be able to imitate a lock: the three lines of a refusal stand there, whole.
    for words in ["repository is already locked ", "lock was created at ", "storage ID "] {
        assert!(text.contains(words), "a lock is seen without the words {words:?}");
    }
    let written = serde_json::to_string(sighting).unwrap();
    assert_eq!(&serde_json::from_str::<LockSighting>(&written).unwrap(), sighting);
}

fn documents(text: &str) -> bool {
    let lock = parse_cat_lock(text);
    if let Ok(lock) = &lock {
        let raw: Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(raw["hostname"].as_str(), Some(lock.hostname.as_str()));
        assert_eq!(raw["pid"].as_i64(), Some(lock.pid));
    }
    let ids = parse_list_locks(text);
    if let Ok(ids) = &ids {
        assert_eq!(ids.len(), text.lines().filter(|line| !line.trim().is_empty()).count());
        assert!(ids.iter().all(|id| id.as_str().len() == 64));
    }
    let removed = parse_unlocked(text);
    assert!(removed.is_none() || text.contains("successfully removed"));
    lock.is_ok()
        || ids.is_ok_and(|ids| !ids.is_empty())
        || parse_cat_config(text).is_ok()
        || removed.is_some()
}
