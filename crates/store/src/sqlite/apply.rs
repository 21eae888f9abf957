//! The queue in front of the writer: reports of many agents share one commit.
//!
//! A commit costs a sync of the disk, whatever is in it. While one is under way the reports that arrive wait here, and the next commit
//! takes all of them: ten thousand agents that report in one second cost some dozens of syncs and not ten thousand.

use restic_manager_core::id::{HostId, SpoolId};
use restic_manager_core::time::Timestamp;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::effects::Batch;
use super::fault::Doing;
use crate::{Applied, NumberedEffect, Result, StoreError};

/// Reports that wait before their agents do.
const WAITING: usize = 1024;
/// Reports in one commit.
const REPORTS: usize = 512;
/// Messages in one commit, about: enough to hide the sync, few enough that other writers get their turn soon.
const MESSAGES: usize = 8192;

/// What one agent reports at once.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) host_id: HostId,
    pub(super) spool_id: SpoolId,
    pub(super) effects: Vec<NumberedEffect>,
    /// The server's time.
    pub(super) now: Timestamp,
}

/// What became of a report.
pub(super) type Answer = Result<Vec<Applied>>;

/// The queue; its task ends when it is dropped.
#[derive(Debug)]
pub(super) struct ApplyQueue {
    waiting: mpsc::Sender<(Report, oneshot::Sender<Answer>)>,
}

impl ApplyQueue {
    /// Starts the task that commits what waits.
    pub(super) fn start(writer: SqlitePool) -> Self {
        let (waiting, next) = mpsc::channel(WAITING);
        tokio::spawn(commit_all(writer, next));
        Self { waiting }
    }

    /// Applies a report with whatever else waits; returns after the commit.
    ///
    /// Given up by its caller it may be applied all the same: its numbers make a repeat harmless.
    pub(super) async fn apply(
        &self,
        host_id: HostId,
        spool_id: SpoolId,
        effects: Vec<NumberedEffect>,
        now: Timestamp,
    ) -> Answer {
        let (reply, answer) = oneshot::channel();
        let report = Report { host_id, spool_id, effects, now };
        self.waiting.send((report, reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

async fn commit_all(writer: SqlitePool, mut next: mpsc::Receiver<(Report, oneshot::Sender<Answer>)>) {
    while let Some((report, reply)) = next.recv().await {
        let mut messages = report.effects.len();
        let mut reports = vec![report];
        let mut replies = vec![reply];
        while reports.len() < REPORTS && messages < MESSAGES {
            let Ok((report, reply)) = next.try_recv() else { break };
            messages += report.effects.len();
            reports.push(report);
            replies.push(reply);
        }
        for (reply, answer) in replies.into_iter().zip(commit_together(&writer, &reports).await) {
            // An agent that left meanwhile asks again with the same numbers.
            let _left = reply.send(answer);
        }
    }
}

/// Commits reports together, or, when that fails, each alone: one that cannot be applied must not hold up the others.
async fn commit_together(writer: &SqlitePool, reports: &[Report]) -> Vec<Answer> {
    match commit(writer, reports).await {
        Ok(answers) => answers,
        Err(error) if reports.len() == 1 => vec![Err(error)],
        Err(error) => {
            tracing::warn!(%error, reports = reports.len(), "could not commit reports together; trying each alone");
            let mut answers = Vec::with_capacity(reports.len());
            for report in reports {
                let alone = commit(writer, std::slice::from_ref(report)).await;
                answers.push(alone.and_then(|mut answers| answers.pop().unwrap_or_else(|| Err(ended()))));
            }
            answers
        }
    }
}

async fn commit(writer: &SqlitePool, reports: &[Report]) -> Result<Vec<Answer>> {
    let doing = "apply what agents reported";
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    let answers = Batch::apply(&mut tx, reports).await?;
    tx.commit().await.doing(doing)?;
    Ok(answers)
}

fn ended() -> StoreError {
    StoreError::Backend { doing: "apply what agents reported", source: "the store's writer has ended".into() }
}
