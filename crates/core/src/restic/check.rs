//! What `check` says, and what its end means.

use serde::{Deserialize, Serialize};

use super::diagnosis::{Diagnosis, trouble};
use super::{Ended, Exit, Sent, is_locked};

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CheckOutcome {
    /// No damage in what was read.
    Ok,
    /// Damage, by restic's own words.
    ErrorsFound,
    /// It could not start: the repository was locked.
    Locked,
    /// It could not be done; nothing is known of the repository's state.
    Failed,
}

/// What `check` printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Restic's count, from 0.18.0 with `--json`. It is 1 for a locked repository or a wrong password too.
    pub num_errors: Option<u64>,
    /// Ids of damaged packs, likewise.
    pub broken_packs: Vec<String>,
    /// Restic suggests `repair index`.
    pub suggest_repair_index: bool,
    /// Restic suggests `prune`: data is stored that nothing refers to. No damage.
    pub suggest_prune: bool,
    /// Restic's findings, one a line, without its advice.
    pub findings: Vec<String>,
}

#[derive(Deserialize)]
struct Summary {
    num_errors: u64,
    #[serde(default)]
    broken_packs: Option<Vec<String>>,
    #[serde(default)]
    suggest_repair_index: bool,
    #[serde(default)]
    suggest_prune: bool,
}

/// Reads the output of `check`: the text of 0.14.0, or the JSON of newer ones.
pub fn parse_check(stdout: &str, stderr: &str) -> CheckReport {
    let mut report = CheckReport::default();
    for line in stdout.lines() {
        if let Ok(summary) = serde_json::from_str::<Summary>(line) {
            report.num_errors = Some(summary.num_errors);
            report.broken_packs = summary.broken_packs.unwrap_or_default();
            report.suggest_repair_index = summary.suggest_repair_index;
            report.suggest_prune = summary.suggest_prune;
        }
        report.suggest_prune |= line.contains("you can run `restic prune` to correct this");
    }
    report.findings =
        Diagnosis::of(stderr).lines().filter(|line| is_finding(line)).map(str::to_owned).collect();
    report
}

fn is_finding(line: &str) -> bool {
    let starts = ["error: ", "error for tree ", "pack ", "Pack ID does not match", "  ", "download error: "];
    starts.iter().any(|start| line.starts_with(start))
}

/// What the end of a check means.
///
/// Damage is believed only with exit code 1, restic's own verdict, and nothing in the output that says restic could not
/// read the storage: a dead network or a missing permission is no damage.
pub fn check_outcome(ended: &Ended<'_>) -> CheckOutcome {
    if ended.exit == Exit::Code(0) {
        return CheckOutcome::Ok;
    }
    if ended.sent != Sent::Nothing {
        return CheckOutcome::Failed;
    }
    let stderr = &ended.facts.stderr_tail;
    if is_locked(ended.exit, ended.capabilities, stderr) {
        return CheckOutcome::Locked;
    }
    let said = Diagnosis::of(stderr);
    let damaged = ended.exit == Exit::Code(1) && is_damage_verdict(said.verdict());
    if damaged && !said.lines().any(|line| trouble(line).is_some()) {
        return CheckOutcome::ErrorsFound;
    }
    CheckOutcome::Failed
}

/// 0.14.0 has its own words for an index it cannot load.
fn is_damage_verdict(verdict: &str) -> bool {
    matches!(verdict.trim_end(), "Fatal: repository contains errors" | "Fatal: LoadIndex returned errors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restic::{Capabilities, Facts, Kind, StopReason, Version};

    fn outcome(exit: Exit, sent: Sent, stderr: &str) -> CheckOutcome {
        let facts = Facts::saying(stderr);
        let capabilities = Capabilities::of(Version::new(0, 18, 0));
        check_outcome(&Ended { kind: Kind::Check, capabilities, exit, sent, facts: &facts })
    }

    const DAMAGE: &str = "pack 0cf0: does not exist\nFatal: repository contains errors\n";

    #[test]
    fn damage_needs_exit_code_1_and_restics_verdict() {
        assert_eq!(outcome(Exit::Code(1), Sent::Nothing, DAMAGE), CheckOutcome::ErrorsFound);
        assert_eq!(outcome(Exit::Code(2), Sent::Nothing, DAMAGE), CheckOutcome::Failed);
        assert_eq!(outcome(Exit::Signal(9), Sent::Nothing, DAMAGE), CheckOutcome::Failed);
        assert_eq!(
            outcome(Exit::Code(1), Sent::Nothing, "pack 0cf0: does not exist\n"),
            CheckOutcome::Failed
        );
        assert_eq!(outcome(Exit::Code(1), Sent::Nothing, ""), CheckOutcome::Failed);
    }

    #[test]
    fn damage_is_not_believed_when_the_storage_did_not_answer() {
        let network = format!("Load(<data/0c>, 0, 0) failed: dial tcp: connection refused\n{DAMAGE}");
        assert_eq!(outcome(Exit::Code(1), Sent::Nothing, &network), CheckOutcome::Failed);
        let access = format!("Load(<data/0c>, 0, 0) failed: open /r/data/0c: permission denied\n{DAMAGE}");
        assert_eq!(outcome(Exit::Code(1), Sent::Nothing, &access), CheckOutcome::Failed);
    }

    #[test]
    fn damage_is_not_believed_of_a_check_that_we_stopped() {
        let sent = Sent::SigInt(StopReason::Cancel);
        assert_eq!(outcome(Exit::Code(1), sent, DAMAGE), CheckOutcome::Failed);
        assert_eq!(outcome(Exit::Code(0), sent, ""), CheckOutcome::Ok, "it was done before the signal came");
    }

    #[test]
    fn exit_codes_of_their_own_are_no_damage() {
        assert_eq!(outcome(Exit::Code(11), Sent::Nothing, DAMAGE), CheckOutcome::Locked);
        for code in [10, 12, 130] {
            assert_eq!(outcome(Exit::Code(code), Sent::Nothing, DAMAGE), CheckOutcome::Failed, "{code}");
        }
    }

    #[test]
    fn the_report_is_read_from_json_and_from_text() {
        let stdout = "{\"message_type\":\"summary\",\"num_errors\":2,\"broken_packs\":[\"ab\"],\"suggest_repair_index\":true,\"suggest_prune\":false}\n";
        let stderr = "{\"message_type\":\"error\",\"message\":\"pack ab contains 2 errors: [x]\\n\"}\n\
                      {\"message_type\":\"error\",\"message\":\"\\nThe repository is damaged\\n\"}\n";
        let report = parse_check(stdout, stderr);
        assert_eq!((report.num_errors, report.broken_packs.len()), (Some(2), 1));
        assert!(report.suggest_repair_index && !report.suggest_prune);
        assert_eq!(report.findings, ["pack ab contains 2 errors: [x]"]);

        let report = parse_check(
            "load indexes\nThis is non-critical, you can run `restic prune` to correct this.\n",
            "",
        );
        assert_eq!((report.num_errors, report.suggest_prune), (None, true));
    }
}
