//! The queue in front of the writer: reports and hellos of many agents share one commit.
//!
//! A commit costs a sync of the disk, whatever is in it. While one is under way what arrives waits here, and the next commit
//! takes all of it: ten thousand agents that report in one second, or come back in one, cost some dozens of syncs and not ten thousand.

use restic_manager_core::id::{HostId, SpoolId};
use restic_manager_core::time::Timestamp;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::effects::Batch;
use super::fault::Doing;
use super::session;
use crate::{Applied, NumberedEffect, Result, StoreError, TakeSession, TakenSession};

/// What waits before its agents do.
const WAITING: usize = 1024;
/// Reports and hellos in one commit.
const ASKS: usize = 512;
/// Messages in one commit, about: enough to hide the sync, few enough that other writers get their turn soon.
const MESSAGES: usize = 8192;
/// As how many messages a hello counts.
const HELLO: usize = 16;

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
/// What became of a hello; none when there is no such host.
type Taken = Result<Option<TakenSession>>;

/// What is asked of the writer, and who waits for it.
#[derive(Debug)]
enum Ask {
    Report(Report, oneshot::Sender<Answer>),
    Session(Box<TakeSession>, oneshot::Sender<Taken>),
}

/// The queue; its task ends when it is dropped.
#[derive(Debug)]
pub(super) struct ApplyQueue {
    waiting: mpsc::Sender<Ask>,
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
        let report = Report { host_id, spool_id, effects, now };
        self.ask(|reply| Ask::Report(report, reply)).await
    }

    /// Takes a session with whatever else waits; returns after the commit.
    ///
    /// Given up by its caller it may be taken all the same: the next hello takes another one.
    pub(super) async fn take(&self, take: TakeSession) -> Taken {
        self.ask(|reply| Ask::Session(Box::new(take), reply)).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T>>) -> Ask) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.waiting.send(ask(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

async fn commit_all(writer: SqlitePool, mut next: mpsc::Receiver<Ask>) {
    while let Some(ask) = next.recv().await {
        let mut together = Together::default();
        together.add(ask);
        while together.has_room() {
            let Ok(ask) = next.try_recv() else { break };
            together.add(ask);
        }
        together.commit(&writer).await;
    }
}

/// What shares a commit. What a host reported stands before its hello: nothing is reported on a session before it is taken.
#[derive(Default)]
struct Together {
    reports: Vec<Report>,
    answers: Vec<oneshot::Sender<Answer>>,
    sessions: Vec<TakeSession>,
    taken: Vec<oneshot::Sender<Taken>>,
    messages: usize,
}

impl Together {
    fn add(&mut self, ask: Ask) {
        match ask {
            Ask::Report(report, reply) => {
                self.messages += report.effects.len();
                self.reports.push(report);
                self.answers.push(reply);
            }
            Ask::Session(take, reply) => {
                self.messages += HELLO;
                self.sessions.push(*take);
                self.taken.push(reply);
            }
        }
    }

    fn len(&self) -> usize {
        self.reports.len() + self.sessions.len()
    }

    fn has_room(&self) -> bool {
        self.len() < ASKS && self.messages < MESSAGES
    }

    /// Commits all together or, when that fails, each alone: one that cannot be applied must not hold up the others.
    async fn commit(self, writer: &SqlitePool) {
        match commit(writer, &self.reports, &self.sessions).await {
            Ok((answers, taken)) => {
                for (reply, answer) in self.answers.into_iter().zip(answers) {
                    // An agent that left meanwhile asks again with the same numbers.
                    let _left = reply.send(answer);
                }
                for (reply, taken) in self.taken.into_iter().zip(taken) {
                    let _left = reply.send(Ok(taken));
                }
            }
            Err(error) => {
                if self.len() > 1 {
                    tracing::warn!(%error, reports = self.reports.len(), sessions = self.sessions.len(), "could not commit together; trying each alone");
                }
                self.commit_each(writer).await;
            }
        }
    }

    async fn commit_each(self, writer: &SqlitePool) {
        for (reply, report) in self.answers.into_iter().zip(&self.reports) {
            let alone = commit(writer, std::slice::from_ref(report), &[]).await;
            let answer = alone.and_then(|(mut answers, _)| answers.pop().unwrap_or_else(|| Err(ended())));
            let _left = reply.send(answer);
        }
        for (reply, take) in self.taken.into_iter().zip(&self.sessions) {
            let alone = commit(writer, &[], std::slice::from_ref(take)).await;
            let _left = reply.send(alone.map(|(_, mut taken)| taken.pop().flatten()));
        }
    }
}

async fn commit(
    writer: &SqlitePool,
    reports: &[Report],
    sessions: &[TakeSession],
) -> Result<(Vec<Answer>, Vec<Option<TakenSession>>)> {
    let doing = "commit what agents said";
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.doing(doing)?;
    let answers = if reports.is_empty() { Vec::new() } else { Batch::apply(&mut tx, reports).await? };
    let mut taken = Vec::with_capacity(sessions.len());
    for session in sessions {
        taken.push(session::take(&mut tx, session).await?);
    }
    tx.commit().await.doing(doing)?;
    Ok((answers, taken))
}

fn ended() -> StoreError {
    StoreError::Backend { doing: "commit what agents said", source: "the store's writer has ended".into() }
}
