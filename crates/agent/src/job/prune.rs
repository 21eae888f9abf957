//! Removing data that no snapshot needs.

use restic_manager_core::humane::size;
use restic_manager_core::model::{PruneResult, StatsKind};
use restic_manager_core::restic::{Command, Exit, Kind, OutcomeClass, parse_prune};

use super::context::Context;
use super::ending::Ending;
use super::follow::{self, Ran};
use super::identity;
use super::log::JobLog;

pub(crate) async fn run(context: &mut Context, log: &mut JobLog) -> Ending {
    if let Err(refused) = identity::verify(context, log).await {
        return refused;
    }
    match follow::run(context, log, &Command::Prune).await {
        Ok(ran) => conclude(context, &ran),
        Err(ending) => ending,
    }
}

/// The end of `prune`.
pub(crate) fn conclude(context: &mut Context, ran: &Ran) -> Ending {
    let report = parse_prune(&ran.stdout);
    // Its last word counts, whether or not somebody saw the end.
    let unseen = if report.finished { Exit::Code(0) } else { Exit::Signal(9) };
    let mut ending = Ending::after(ran, ran.outcome(context, Kind::Prune, unseen));
    identity::doubt(context, ending.outcome.class);
    // What it meant to remove before it failed is no result.
    if ending.outcome.class != OutcomeClass::Ok {
        return ending;
    }
    let result = PruneResult { removed_bytes: report.total_prune, remaining_bytes: report.remaining };
    ending.summary.prune = Some(result);
    ending.outcome.message = match report.total_prune {
        Some(0) => "there was nothing to remove".to_owned(),
        Some(bytes) => format!("{} that no snapshot needs removed", size(bytes)),
        None => "data that no snapshot needs was removed".to_owned(),
    };
    let stats = context.reports.stats();
    stats.last_prune_at = Some(ending.at);
    if let Some(remaining) = report.remaining {
        stats.total_size_bytes = Some(remaining);
        stats.size_kind = Some(StatsKind::AfterPrune);
        stats.measured_at = Some(ending.at);
    }
    ending
}
