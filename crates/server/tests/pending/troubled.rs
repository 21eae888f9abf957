//! A database that fails for a while: no run is given up, forgotten or attempted twice by that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use restic_manager_core::id::{HostId, RunId};
use restic_manager_core::model::*;
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::time::{MINUTE, Timestamp};
use restic_manager_store::{
    Listed, MemoryStore, PageRequest, PendingOf, PendingRow, PendingRuns, Settled, Settlement, SqliteStore,
    Store, StoreError, delegate_store,
};

use crate::world::World;

/// What is wrong with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Trouble {
    None,
    /// Nothing can be read.
    Reads,
    /// Nothing can be written.
    Writes,
    /// What is written stands, but the answer is lost.
    Answers,
}

/// A store whose pending runs fail as they are told to.
struct Troubled {
    inner: Arc<dyn Store>,
    trouble: AtomicU8,
}

delegate_store!(Troubled => inner: Accounts, Audit, Fleet, Glance, Maintenance, Meta, PendingHosts, Plans, Reports, Work);

impl Troubled {
    fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, trouble: AtomicU8::new(Trouble::None as u8) })
    }

    fn set(&self, trouble: Trouble) {
        self.trouble.store(trouble as u8, Ordering::SeqCst);
    }

    fn fails(&self, trouble: Trouble) -> Result<(), StoreError> {
        if self.trouble.load(Ordering::SeqCst) == trouble as u8 { Err(StoreError::DiskFull) } else { Ok(()) }
    }
}

#[async_trait]
impl PendingRuns for Troubled {
    async fn pending_due(
        &self,
        online: &[HostId],
        now: Timestamp,
        most: u32,
    ) -> Result<Vec<PendingRow>, StoreError> {
        self.fails(Trouble::Reads)?;
        self.inner.pending_due(online, now, most).await
    }

    async fn pending_of_hosts(&self, host_ids: &[HostId]) -> Result<Vec<PendingRow>, StoreError> {
        self.fails(Trouble::Reads)?;
        self.inner.pending_of_hosts(host_ids).await
    }

    async fn pending_run(&self, id: RunId) -> Result<Option<PendingRow>, StoreError> {
        self.inner.pending_run(id).await
    }

    async fn pending_runs(&self, of: PendingOf, page: PageRequest) -> Result<Listed<PendingRow>, StoreError> {
        self.inner.pending_runs(of, page).await
    }

    async fn count_pending(&self) -> Result<u64, StoreError> {
        self.inner.count_pending().await
    }

    async fn settle(&self, settlements: Vec<Settlement>, now: Timestamp) -> Result<Vec<Settled>, StoreError> {
        self.fails(Trouble::Writes)?;
        let settled = self.inner.settle(settlements, now).await?;
        self.fails(Trouble::Answers)?;
        Ok(settled)
    }
}

/// A world with one run whose attempt is due, over a store that can be troubled.
async fn owing(inner: Arc<dyn Store>) -> (World, Arc<Troubled>) {
    let store = Troubled::over(inner);
    let mut world = World::over(Arc::clone(&store) as Arc<dyn Store>).await;
    let job = world.fires_and_starts(world.slot()).await;
    world.fails(job, OutcomeClass::Unreachable).await;
    assert_eq!(world.house.engine.drain().await.unwrap().planned, 1);
    world.house.clock.advance(2 * MINUTE);
    (world, store)
}

/// Everything about the run that trouble must not change.
async fn stands(world: &World) -> (RunState, u32, Option<Pending>) {
    let [row] = &world.pending().await[..] else { panic!("one row") };
    let run = world.run(row.run.id).await;
    (run.state, run.attempt, run.pending)
}

async fn a_drain_that_fails_changes_nothing(inner: Arc<dyn Store>) {
    let (mut world, store) = owing(inner).await;
    let before = stands(&world).await;
    for trouble in [Trouble::Reads, Trouble::Writes] {
        store.set(trouble);
        for _ in 0..5 {
            assert!(world.house.engine.drain().await.is_err(), "{trouble:?}");
            assert!(world.house.engine.drain_hosts(&[world.host.id]).await.is_err(), "{trouble:?}");
            world.house.clock.advance(MINUTE);
        }
        assert_eq!(stands(&world).await, before, "{trouble:?}");
    }
    assert_eq!(world.house.audited("pending_run.abandoned").await, 0);
    store.set(Trouble::None);
    assert_eq!(world.house.engine.drain().await.unwrap().attempted, 1);
    let job = world.starts_next().await;
    world.succeeds(job).await;
    let run = world.run_of(job).await;
    assert_eq!((run.state, run.attempt, run.pending), (RunState::Succeeded, 2, None));
}

#[tokio::test]
async fn a_drain_that_fails_changes_nothing_in_memory() {
    a_drain_that_fails_changes_nothing(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn a_drain_that_fails_changes_nothing_in_sqlite() {
    let store = SqliteStore::in_memory().await.unwrap();
    a_drain_that_fails_changes_nothing(Arc::new(store)).await;
}

#[tokio::test]
async fn a_drain_whose_answer_is_lost_makes_its_attempt_once() {
    let (mut world, store) = owing(Arc::new(MemoryStore::new())).await;
    store.set(Trouble::Answers);
    assert!(world.house.engine.drain().await.is_err());
    store.set(Trouble::None);
    let report = world.house.engine.drain().await.unwrap();
    assert_eq!((report.attempted, report.planned, report.abandoned), (0, 0, 0), "it is under way");
    assert_eq!(world.house.store.admission_view().await.unwrap().queued.len(), 1);
    let job = world.starts_next().await;
    world.succeeds(job).await;
    assert_eq!(world.run_of(job).await.attempt, 2);
}

#[tokio::test]
async fn giving_up_is_written_down_once_whatever_the_database_does() {
    for trouble in [Trouble::Writes, Trouble::Answers] {
        let (mut world, store) = owing(Arc::new(MemoryStore::new())).await;
        // Its second and its third attempt, which is the last one.
        for _ in 0..2 {
            while world.house.engine.drain().await.unwrap().attempted == 0 {
                world.house.clock.advance(MINUTE);
            }
            let job = world.starts_next().await;
            world.fails(job, OutcomeClass::Unreachable).await;
        }
        let [row] = &world.pending().await[..] else { panic!("one row") };
        store.set(trouble);
        assert!(world.house.engine.drain().await.is_err(), "{trouble:?}");
        store.set(Trouble::None);
        world.house.engine.drain().await.unwrap();
        assert_eq!(world.run(row.run.id).await.state, RunState::Abandoned, "{trouble:?}");
        assert_eq!(world.house.audited("pending_run.abandoned").await, 1, "{trouble:?}");
    }
}
