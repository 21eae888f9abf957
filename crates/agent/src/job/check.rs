//! Verifying a repository: damage is a result, not a broken runner.

use restic_manager_core::model::CheckStatus;
use restic_manager_core::restic::{
    CheckOutcome, Command, Exit, Kind, OutcomeClass, ReadData, check_outcome, parse_check,
};
use restic_manager_core::wire::CheckSpec;

use super::context::Context;
use super::ending::Ending;
use super::follow::{self, Ran};
use super::identity;
use super::log::JobLog;
use super::reports::Reports;

/// The most characters of a finding in a message.
const QUOTED: usize = 200;

pub(crate) async fn run(context: &mut Context, log: &mut JobLog, spec: CheckSpec) -> Ending {
    if let Err(refused) = identity::verify(context, log).await {
        return refused;
    }
    let command = Command::Check(ReadData::percent(spec.subset_pct));
    match follow::run(context, log, &command).await {
        Ok(ran) => conclude(context, spec, &ran),
        Err(ending) => ending,
    }
}

/// The end of `check`.
pub(crate) fn conclude(context: &Context, spec: CheckSpec, ran: &Ran) -> Ending {
    let unseen = if found_nothing(&ran.stdout) { Exit::Code(0) } else { Exit::Signal(9) };
    let found = check_outcome(&ran.ended(context, Kind::Check, unseen));
    let mut ending = Ending::after(ran, ran.outcome(context, Kind::Check, unseen));
    identity::doubt(context, ending.outcome.class);
    let status = match found {
        CheckOutcome::Ok => CheckStatus::Ok,
        CheckOutcome::ErrorsFound => CheckStatus::ErrorsFound,
        CheckOutcome::Locked => CheckStatus::Locked,
        CheckOutcome::Failed => CheckStatus::Failed,
    };
    match status {
        CheckStatus::Ok => ending.outcome.message = how_much(spec),
        CheckStatus::ErrorsFound => name_findings(&mut ending, ran),
        CheckStatus::Locked | CheckStatus::Failed => {}
    }
    ending.summary.check = Some(status);
    ending
}

/// Every check has a status, also one that did not come to its command: then nothing is known of the repository's state.
pub(crate) fn report(spec: CheckSpec, ending: &mut Ending, reports: &mut Reports) {
    let could_not_look = || match ending.outcome.class {
        OutcomeClass::Locked => CheckStatus::Locked,
        OutcomeClass::Ok
        | OutcomeClass::Partial
        | OutcomeClass::Unreachable
        | OutcomeClass::NoRepository
        | OutcomeClass::WrongPassword
        | OutcomeClass::AppendOnly
        | OutcomeClass::NoSpace
        | OutcomeClass::SourceMissing
        | OutcomeClass::ResticMissing
        | OutcomeClass::Cancelled
        | OutcomeClass::Killed
        | OutcomeClass::Unknown => CheckStatus::Failed,
    };
    let status = ending.summary.check.unwrap_or_else(could_not_look);
    let percent = spec.subset_pct.min(100);
    ending.summary.check = Some(status);
    ending.summary.check_subset_pct = Some(percent);
    let stats = reports.stats();
    stats.last_check = Some(status);
    stats.last_check_at = Some(ending.at);
    stats.last_check_subset_pct = Some(percent);
}

/// What restic says last when all is well: the text of 0.14.0, the object of newer ones.
fn found_nothing(stdout: &str) -> bool {
    parse_check(stdout, "").num_errors == Some(0) || stdout.lines().any(|line| line == "no errors were found")
}

fn how_much(spec: CheckSpec) -> String {
    match spec.subset_pct {
        0 => "no damage was found; the structure was checked, no data was read".to_owned(),
        100.. => "no damage was found; all data was read".to_owned(),
        some => format!("no damage was found; {some} % of the data was read"),
    }
}

fn name_findings(ending: &mut Ending, ran: &Ran) {
    let findings = parse_check(&ran.stdout, &ran.facts.stderr_tail).findings;
    let Some(first) = findings.first() else { return };
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let first: String = first.trim().chars().take(QUOTED).map(plain).collect();
    let count = match findings.len() {
        1 => String::new(),
        more => format!(" and {} more", more - 1),
    };
    ending.outcome.message = format!("check found damage in the repository: `{first}`{count}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_a_good_check_is_known_in_both_forms() {
        let json = r#"{"message_type":"summary","num_errors":0,"broken_packs":null}"#;
        assert!(found_nothing(&format!("using temporary cache\n{json}\n")));
        assert!(found_nothing("check snapshots, trees and blobs\nno errors were found\n"));
        assert!(!found_nothing(&json.replace(":0", ":1")));
        assert!(!found_nothing("check snapshots, trees and blobs\n"));
    }
}
