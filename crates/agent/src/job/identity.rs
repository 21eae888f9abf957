//! Whether a credential opens the repository it should.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use restic_manager_core::restic::{Command, Environment, OutcomeClass, parse_cat_config};
use restic_manager_core::text::ResticRepoId;
use sha2::{Digest, Sha256};

use super::ask::{Until, ask};
use super::context::Context;
use super::ending::Ending;
use super::log::JobLog;

/// What each credential opened in the life of this process, by a digest of the credential.
static OPENED: LazyLock<Mutex<BTreeMap<[u8; 32], ResticRepoId>>> = LazyLock::new(Mutex::default);

/// Learns which repository the credential opens, and refuses another one than the fleet knows.
///
/// Restic is asked once in the life of this process for each state of a credential.
pub(crate) async fn verify(context: &mut Context, log: &mut JobLog) -> Result<(), Ending> {
    match remembered(&context.environment) {
        Some(id) => accept(context, id),
        None => probe(context, log).await,
    }
}

/// The same, asking restic in any case.
pub(crate) async fn probe(context: &mut Context, log: &mut JobLog) -> Result<(), Ending> {
    forget(&context.environment);
    let deadline = context.times.first_contact;
    let answer = ask(context, log, &Command::CatConfig, deadline, Until::Cancelled).await;
    let config = match answer.complete() {
        Ok(stdout) => parse_cat_config(stdout),
        Err(outcome) => return Err(Ending::of(outcome.clone())),
    };
    match config {
        Ok(config) => accept(context, config.id),
        Err(error) => {
            Err(Ending::failed(OutcomeClass::Unknown, error.to_string(), "the log holds restic's own words"))
        }
    }
}

/// Takes an id that restic named as that of the repository at hand.
pub(crate) fn accept(context: &mut Context, id: ResticRepoId) -> Result<(), Ending> {
    if let Some(expected) = context.expected.as_ref().filter(|expected| **expected != id) {
        forget(&context.environment);
        return Err(Ending::wrong_repository(&id, expected));
    }
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    opened.insert(digest(&context.environment), id.clone());
    context.learned = Some(id);
    Ok(())
}

/// Forgets what was remembered when a run shows that it no longer holds.
pub(crate) fn doubt(context: &Context, class: OutcomeClass) {
    match class {
        OutcomeClass::NoRepository | OutcomeClass::WrongPassword | OutcomeClass::Unknown => {
            forget(&context.environment);
        }
        OutcomeClass::Ok
        | OutcomeClass::Partial
        | OutcomeClass::Locked
        | OutcomeClass::Unreachable
        | OutcomeClass::AppendOnly
        | OutcomeClass::NoSpace
        | OutcomeClass::SourceMissing
        | OutcomeClass::ResticMissing
        | OutcomeClass::Cancelled
        | OutcomeClass::Killed => {}
    }
}

fn remembered(environment: &Environment) -> Option<ResticRepoId> {
    OPENED.lock().unwrap_or_else(PoisonError::into_inner).get(&digest(environment)).cloned()
}

fn forget(environment: &Environment) {
    OPENED.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(environment));
}

/// No secret is kept: only whether it is the same as before matters.
fn digest(environment: &Environment) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, value) in environment.variables() {
        for part in [name, value.expose()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().into()
}
