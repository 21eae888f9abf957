//! Making a repository, or adopting the one that is there.

use restic_manager_core::restic::{Command, Exit, InitReport, Kind, OutcomeClass, parse_init};

use super::context::Context;
use super::ending::Ending;
use super::follow::{self, Ran};
use super::identity;
use super::log::JobLog;
use super::survey::{self, Depth};

/// Asks whether there is one; only where there is none, one is made.
pub(crate) async fn run(context: &mut Context, log: &mut JobLog) -> Ending {
    let Err(refused) = identity::probe(context, log).await else {
        return adopted(context, log, Ending::succeeded("the repository was there already and is adopted"))
            .await;
    };
    if refused.outcome.class != OutcomeClass::NoRepository {
        return refused;
    }
    if let Some(expected) = &context.expected {
        let message =
            format!("the repository {expected} is no longer at the address; none is made in its place");
        let hint = "bring it back, or take the repository out of the fleet and add it anew";
        return Ending::failed(OutcomeClass::NoRepository, message, hint);
    }
    match follow::run(context, log, &Command::Init).await {
        Ok(ran) => conclude(context, log, ran).await,
        Err(ending) => ending,
    }
}

/// The end of `init`.
pub(crate) async fn conclude(context: &mut Context, log: &mut JobLog, ran: Ran) -> Ending {
    // Unseen, it is judged by what is at the address now.
    let outcome = ran.outcome(context, Kind::Init, Exit::Code(0));
    let mut ending = Ending::after(&ran, outcome);
    if ending.outcome.class != OutcomeClass::Ok {
        return ending;
    }
    let report = parse_init(&ran.stdout, &ran.facts.stderr_tail);
    let contact = match &report {
        Some(InitReport::Created { id: Some(id) }) => identity::accept(context, id.clone()),
        Some(InitReport::Created { id: None } | InitReport::Adopted) | None => {
            identity::probe(context, log).await
        }
    };
    if let Err(refused) = contact {
        ending.outcome = refused.outcome;
        return ending;
    }
    match report {
        Some(InitReport::Created { .. }) => {
            ending.outcome.message = "the repository was made".to_owned();
            ending.summary.adopted = Some(false);
            survey::is_empty(context, log);
            ending
        }
        Some(InitReport::Adopted) | None => adopted(context, log, ending).await,
    }
}

async fn adopted(context: &mut Context, log: &mut JobLog, mut ending: Ending) -> Ending {
    ending.summary.adopted = Some(true);
    survey::take(context, log, Depth::FullOnceADay).await;
    ending
}
