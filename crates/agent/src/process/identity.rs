//! Telling one process from another that got the same number later.

use std::io;

use restic_manager_core::restic::{Sent, StopReason};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process, told apart from all others of the machine for all time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`); none where there is no `/proc`.
    pub start_time: Option<u64>,
    /// The boot it belongs to; none where there is no `/proc`.
    pub boot_id: Option<String>,
}

/// A line of `/proc/<pid>/stat`, as far as it matters.
struct Stat {
    zombie: bool,
    start_time: u64,
}

impl ProcessIdentity {
    /// That of the process which has this number at present. The caller knows that it runs or is not reaped yet.
    pub fn of(pid: i32) -> Self {
        Self { pid, start_time: read_stat(pid).map(|stat| stat.start_time), boot_id: boot_id() }
    }

    /// Whether that very process still runs. One that ended and is not reaped yet does not.
    pub fn is_alive(&self) -> bool {
        if self.boot_id != boot_id() {
            return false;
        }
        match self.start_time {
            Some(start_time) => {
                read_stat(self.pid).is_some_and(|stat| stat.start_time == start_time && !stat.zombie)
            }
            None => Pid::from_raw(self.pid).is_some_and(|pid| test_kill_process(pid).is_ok()),
        }
    }

    /// Sends the signal that `sent` names to its process group, of which it is the leader. Nothing when it is gone.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn signal(&self, sent: Sent) -> io::Result<()> {
        let signal = match sent {
            Sent::Nothing => return Ok(()),
            Sent::SigInt(StopReason::Cancel | StopReason::Unreachable | StopReason::DeleteRefused) => {
                Signal::INT
            }
            Sent::SigKill(StopReason::Cancel | StopReason::Unreachable | StopReason::DeleteRefused) => {
                Signal::KILL
            }
        };
        match Pid::from_raw(self.pid) {
            Some(pid) if self.is_alive() => Ok(kill_process_group(pid, signal)?),
            Some(_) | None => Ok(()),
        }
    }
}

fn read_stat(pid: i32) -> Option<Stat> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&stat))
}

/// The program's name stands in parentheses and may hold spaces and parentheses itself: only the last one closes it.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    // The state is field 3 of proc(5), the start time field 22.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Stat { zombie: matches!(state, "Z" | "X"), start_time })
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_not_by_its_number_alone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id().try_into().unwrap());
        assert!(identity.is_alive());
        let older = identity.start_time.map(|start| start - 1);
        assert!(!ProcessIdentity { start_time: older, ..identity.clone() }.is_alive());
        let boot_id = Some("00000000-0000-0000-0000-000000000000".to_owned());
        assert!(!ProcessIdentity { boot_id, ..identity.clone() }.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) R b)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        let stat = parse_stat(stat).unwrap();
        assert_eq!((stat.zombie, stat.start_time), (false, 4242));
        assert!(parse_stat("7 (x) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1").unwrap().zombie);
        assert!(parse_stat("").is_none());
    }
}
