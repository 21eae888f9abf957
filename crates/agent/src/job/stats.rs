//! Measuring a repository and listing this host's snapshots, as a job of its own.

use restic_manager_core::restic::{Command, Exit, Kind, OutcomeClass, parse_stats};

use super::context::Context;
use super::ending::Ending;
use super::follow::{self, Ran};
use super::identity;
use super::log::JobLog;
use super::survey::{self, Depth};

pub(crate) async fn run(context: &mut Context, log: &mut JobLog) -> Ending {
    if let Err(refused) = identity::verify(context, log).await {
        return refused;
    }
    match follow::run(context, log, &Command::Stats).await {
        Ok(ran) => conclude(context, log, ran).await,
        Err(ending) => ending,
    }
}

/// The end of `stats`.
pub(crate) async fn conclude(context: &mut Context, log: &mut JobLog, ran: Ran) -> Ending {
    let measured = parse_stats(&ran.stdout);
    // A number that was said in full counts, whether or not somebody saw the end.
    let unseen = if measured.is_ok() { Exit::Code(0) } else { Exit::Signal(0) };
    let mut ending = Ending::after(&ran, ran.outcome(context, Kind::Stats, unseen));
    identity::doubt(context, ending.outcome.class);
    if !matches!(ending.outcome.class, OutcomeClass::Ok | OutcomeClass::Partial) {
        return ending;
    }
    match measured {
        Ok(measured) => drop(survey::take(context, log, Depth::Measured(measured)).await),
        Err(error) => {
            let hint = "the log holds restic's own words";
            ending.outcome = Ending::failed(OutcomeClass::Unknown, error.to_string(), hint).outcome;
        }
    }
    ending
}
