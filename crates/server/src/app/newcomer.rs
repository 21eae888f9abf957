//! What every way into the fleet makes of an agent's words.

use restic_manager_core::id::HostId;
use restic_manager_core::model::{Host, HostFacts};
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::Timestamp;

use super::AppError;

const NAME_CHARS: usize = 100;
const FACT_CHARS: usize = 255;

/// What an agent says of its machine before it is known.
pub(super) struct Said<'a> {
    pub(super) machine_id: &'a str,
    pub(super) os_hostname: &'a str,
    pub(super) agent_version: &'a str,
    pub(super) os: &'a str,
    pub(super) arch: &'a str,
}

impl Said<'_> {
    /// The facts of it; what is empty was not said.
    ///
    /// # Errors
    ///
    /// A text is too long, or holds a control character.
    pub(super) fn facts(&self) -> Result<HostFacts, AppError> {
        let told = |field: &str, text: &str| -> Result<Option<String>, AppError> {
            let chars = text.chars().count();
            if chars > FACT_CHARS {
                let why = format!("it has {chars} characters; at most {FACT_CHARS} are allowed");
                return Err(AppError::invalid(field, why));
            }
            if text.chars().any(char::is_control) {
                return Err(AppError::invalid(field, "it holds a control character"));
            }
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        };
        Ok(HostFacts {
            machine_id: told("machine_id", self.machine_id)?,
            os_hostname: told("os_hostname", self.os_hostname)?,
            os: told("os", self.os)?,
            arch: told("arch", self.arch)?,
            agent_version: told("agent_version", self.agent_version)?,
            restic_version: None,
            restic_problem: None,
        })
    }
}

pub(super) fn new_host(id: HostId, name: DisplayName, facts: HostFacts, now: Timestamp) -> Host {
    Host {
        id,
        name,
        tags: Vec::new(),
        facts,
        limit_upload_kib: None,
        limit_download_kib: None,
        created_at: now,
        last_seen_at: None,
        schedule_version: 1,
        schedule_version_acked: 0,
        revision: 0,
    }
}

/// The operating system's name, or a word where it has none that people could read.
pub(super) fn name_of_machine(facts: &HostFacts) -> DisplayName {
    let os_hostname = facts.os_hostname.as_deref().unwrap_or_default();
    let short: String = os_hostname.trim().chars().take(NAME_CHARS).collect();
    DisplayName::new(short).unwrap_or_else(|_| DisplayName::new("host").expect("a plain word is a name"))
}

/// The wanted name for the first, `name (2)` for the second of that name, and so on.
pub(super) fn namesake(wanted: &DisplayName, number: u32) -> DisplayName {
    if number == 1 {
        return wanted.clone();
    }
    let suffix = format!(" ({number})");
    let room = NAME_CHARS - suffix.chars().count();
    let base: String = wanted.as_str().chars().take(room).collect();
    DisplayName::new(format!("{}{suffix}", base.trim_end())).unwrap_or_else(|_| wanted.clone())
}

#[cfg(all(test, feature = "web"))]
mod tests {
    use super::*;

    #[test]
    fn namesakes_are_numbered_within_the_length_of_a_name() {
        let name = DisplayName::new("web").unwrap();
        assert_eq!(namesake(&name, 1).as_str(), "web");
        assert_eq!(namesake(&name, 2).as_str(), "web (2)");
        let long = DisplayName::new("ü".repeat(100)).unwrap();
        assert_eq!(namesake(&long, 12).as_str(), format!("{} (12)", "ü".repeat(95)));
    }

    #[test]
    fn a_machine_without_a_readable_name_is_a_host_all_the_same() {
        let named = |text: &str| {
            name_of_machine(&HostFacts { os_hostname: Some(text.to_owned()), ..HostFacts::default() })
        };
        assert_eq!(named(" web1 ").as_str(), "web1");
        assert_eq!(name_of_machine(&HostFacts::default()).as_str(), "host");
        assert_eq!(named(&"x".repeat(200)).as_str().len(), 100);
    }
}
