//! What the pages show at a glance: many hosts at once, in a number of reads that does not grow with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use restic_manager_core::api::{FleetStatus, HostView, JobView, Page, Presence, StatsDay};
use restic_manager_core::id::{HostId, RepoId, RunId};
use restic_manager_core::model::{JobKind, RepoStats};
use restic_manager_core::text::{DisplayName, Tag};
use restic_manager_core::time::{DAY, Timestamp};
use restic_manager_store::{DaysOf, HostFilter, JobDay, JobRow};
use tokio::sync::OnceCell;

use super::page::page;
use super::{App, AppError, ListQuery};

/// Days that a line of sizes goes back.
pub const SIZE_DAYS: i64 = 30;

/// How hosts stand, as far as one looks for them by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In contact or not.
    Contact(Presence),
    /// A job of a day went wrong and was not mended.
    Failing,
    /// Has a job that is dispatched or running.
    Busy,
}

/// Which hosts of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetQuery {
    /// Part of the name, in any case.
    pub q: Option<String>,
    /// Carries this label.
    pub tag: Option<Tag>,
    /// Stands so.
    pub standing: Option<Standing>,
}

/// The fleet's numbers with what hosts are looked for by.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetGlance {
    /// Numbers, and what needs a person.
    pub status: FleetStatus,
    /// Hosts of which a job of a day went wrong and was not mended.
    pub failing: BTreeSet<HostId>,
}

/// A host in the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetRow {
    /// The host.
    pub view: HostView,
    /// Its primary repository.
    pub repo: Option<FleetRepo>,
    /// What it is doing.
    pub doing: Vec<JobView>,
}

/// A repository beside its host.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetRepo {
    /// The repository.
    pub id: RepoId,
    /// Its name.
    pub name: DisplayName,
    /// What is known of it.
    pub stats: RepoStats,
    /// How large it was, by day.
    pub sizes: Vec<StatsDay>,
}

/// The last look, and how long it is good.
#[derive(Debug, Default)]
pub(super) struct LastGlance {
    good_for: i64,
    last: RwLock<Last>,
    /// Held by whoever looks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Last {
    looked: Option<Arc<Looked>>,
    /// How often somebody said that what was seen counts no more.
    revoked: u64,
}

/// What was seen by a look, and the pages of the fleet that were read since then.
#[derive(Debug)]
struct Looked {
    at: Timestamp,
    glance: Arc<FleetGlance>,
    /// A few, of whatever fleet.
    pages: Mutex<Vec<(FleetQuery, ListQuery, Arc<HeldPage>)>>,
}

/// A page of the fleet, once it is read.
#[derive(Debug, Default)]
struct HeldPage {
    page: OnceCell<Arc<Page<FleetRow>>>,
    /// Whether somebody asked for it since the look.
    asked: AtomicBool,
}

/// How many pages are held at most.
const HELD_PAGES: usize = 64;

impl LastGlance {
    /// One that is good for so many milliseconds; 0 means that each look is a new one.
    pub(super) fn good_for(millis: i64) -> Self {
        Self { good_for: millis, ..Self::default() }
    }

    /// Whether what was looked at then is still good.
    pub(super) fn is_good(&self, at: Timestamp, now: Timestamp) -> bool {
        (0..self.good_for).contains(&now.millis_since(at))
    }

    fn last(&self) -> Option<Arc<Looked>> {
        self.last.read().unwrap_or_else(PoisonError::into_inner).looked.clone()
    }

    pub(super) fn revoked(&self) -> u64 {
        self.last.read().unwrap_or_else(PoisonError::into_inner).revoked
    }

    /// Whether anything is held at all.
    pub(super) const fn holds(&self) -> bool {
        self.good_for > 0
    }

    /// What was seen counts no more, and neither does what a look sees that goes on right now.
    fn revoke(&self) {
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        last.looked = None;
        last.revoked += 1;
    }

    /// Keeps what was seen, unless it was revoked meanwhile.
    fn keep(&self, looked: &Arc<Looked>, revoked: u64) {
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        if last.revoked == revoked {
            last.looked = Some(Arc::clone(looked));
        }
    }

    fn good(&self, now: Timestamp) -> Option<Arc<Looked>> {
        self.last().filter(|looked| self.is_good(looked.at, now))
    }
}

impl Looked {
    /// The place of a page; none when it is not held because so many others are.
    fn page(&self, query: &FleetQuery, list: &ListQuery) -> Option<Arc<HeldPage>> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., held)) = pages.iter().find(|(of, part, _)| of == query && part == list) {
            return Some(Arc::clone(held));
        }
        if pages.len() >= HELD_PAGES {
            return None;
        }
        let held = Arc::new(HeldPage::default());
        pages.push((query.clone(), list.clone(), Arc::clone(&held)));
        Some(held)
    }

    /// The pages that somebody asked for.
    fn asked_for(&self) -> Vec<(FleetQuery, ListQuery)> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = pages.iter().filter(|(.., held)| held.asked.load(Ordering::Relaxed));
        asked.map(|(query, list, _)| (query.clone(), list.clone())).collect()
    }
}

impl App {
    /// The fleet's numbers, at most as old as this façade was told.
    ///
    /// While one caller looks anew, the others are answered with what was seen last.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn glance(&self) -> Result<Arc<FleetGlance>, AppError> {
        Ok(Arc::clone(&self.looked().await?.glance))
    }

    async fn looked(&self) -> Result<Arc<Looked>, AppError> {
        let held = &self.last_glance;
        let now = self.clock.now();
        let _turn = match held.last() {
            Some(last) if held.is_good(last.at, now) => return Ok(last),
            // Somebody looks already: an answer a little older is better than to wait.
            Some(last) if now.millis_since(last.at) < 10 * held.good_for => match held.turn.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(last),
            },
            Some(_) | None => held.turn.lock().await,
        };
        match held.good(self.clock.now()) {
            Some(looked) => Ok(looked),
            None => self.look_and_keep(held.last()).await,
        }
    }

    /// The fleet's numbers as they were after this instant: for whoever is about to tell others to look again.
    ///
    /// Many who ask at once cost one look.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn glance_since(&self, at: Timestamp) -> Result<Arc<FleetGlance>, AppError> {
        let held = &self.last_glance;
        let _turn = held.turn.lock().await;
        match held.last() {
            Some(looked) if looked.at > at => Ok(Arc::clone(&looked.glance)),
            Some(_) | None => Ok(Arc::clone(&self.look_and_keep(None).await?.glance)),
        }
    }

    /// What was seen counts no more: for whoever has just changed something, and looks at once.
    pub fn look_anew(&self) {
        self.last_glance.revoke();
    }

    /// Looks, by whoever holds the turn, and reads anew the pages that were asked for since the look `before`: until that is done the others
    /// are answered by it, so that nobody else waits.
    async fn look_and_keep(&self, before: Option<Arc<Looked>>) -> Result<Arc<Looked>, AppError> {
        // What happens while one looks may not have been seen.
        let (at, revoked) = (self.clock.now(), self.last_glance.revoked());
        let glance = Arc::new(self.look().await?);
        let looked = Arc::new(Looked { at, glance, pages: Mutex::default() });
        let passable = before.filter(|before| at.millis_since(before.at) < 10 * self.last_glance.good_for);
        for (query, list) in passable.iter().flat_map(|before| before.asked_for()) {
            if let Some(held) = looked.page(&query, &list) {
                // A page that cannot be read is told to whoever asks for it.
                let read =
                    async || self.read_fleet(&query, &list, &looked.glance.failing).await.map(Arc::new);
                let _: Result<_, AppError> = held.page.get_or_try_init(read).await;
            }
        }
        self.last_glance.keep(&looked, revoked);
        Ok(looked)
    }

    /// Hosts by name, each with all that its line says: a fixed number of reads for a page of whatever length.
    ///
    /// A page is read once after each [look](Self::glance) and is then as good as that, for all who ask for it.
    ///
    /// # Errors
    ///
    /// A limit out of bounds, or a fault of the store.
    pub async fn fleet(&self, query: &FleetQuery, list: &ListQuery) -> Result<Arc<Page<FleetRow>>, AppError> {
        if self.last_glance.good_for <= 0 {
            let failing = match query.standing {
                Some(Standing::Failing) => self.look().await?.failing,
                Some(Standing::Contact(_) | Standing::Busy) | None => BTreeSet::new(),
            };
            return Ok(Arc::new(self.read_fleet(query, list, &failing).await?));
        }
        let looked = self.looked().await?;
        let read = async || self.read_fleet(query, list, &looked.glance.failing).await.map(Arc::new);
        let Some(held) = looked.page(query, list) else { return read().await };
        held.asked.store(true, Ordering::Relaxed);
        held.page.get_or_try_init(read).await.cloned()
    }

    async fn read_fleet(
        &self,
        query: &FleetQuery,
        list: &ListQuery,
        failing: &BTreeSet<HostId>,
    ) -> Result<Page<FleetRow>, AppError> {
        let filter = self.host_filter(query, failing).await?;
        let listed = self.store.hosts(&filter, list.request()?).await?;
        let ids: Vec<HostId> = listed.items.iter().map(|host| host.id).collect();
        let mut views = self.host_views(&listed.items).await?;
        let mut repos = self.fleet_repos(&ids).await?;
        let mut doing: BTreeMap<HostId, Vec<JobView>> = BTreeMap::new();
        for row in self.store.open_jobs_of(&ids).await? {
            doing.entry(row.job.host_id).or_default().push(self.job_view(row));
        }
        Ok(page(listed, |host| FleetRow {
            repo: repos.remove(&host.id),
            doing: doing.remove(&host.id).unwrap_or_default(),
            view: views.remove(&host.id).unwrap_or_else(|| self.bare_view(host)),
        }))
    }

    /// The jobs of a run, by attempt.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn attempts(&self, run_id: RunId) -> Result<Vec<JobView>, AppError> {
        let rows: Vec<JobRow> = self.store.attempts(run_id).await?;
        Ok(rows.into_iter().map(|row| self.job_view(row)).collect())
    }

    /// How the jobs of a kind stand that were asked for within a stretch of time, day by day.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn job_days(
        &self,
        of: DaysOf,
        kind: JobKind,
        within: Range<Timestamp>,
    ) -> Result<Vec<JobDay>, AppError> {
        Ok(self.store.job_days(of, kind, within).await?)
    }

    async fn host_filter(
        &self,
        query: &FleetQuery,
        failing: &BTreeSet<HostId>,
    ) -> Result<HostFilter, AppError> {
        let filter = HostFilter { text: query.q.clone(), tag: query.tag.clone(), ..HostFilter::default() };
        Ok(match query.standing {
            None => filter,
            Some(Standing::Contact(presence)) => self.in_contact(presence, filter).await?,
            Some(Standing::Failing) => {
                let failing = failing.iter().copied().collect();
                HostFilter { among: Some(failing), ..filter }
            }
            Some(Standing::Busy) => HostFilter { among: Some(self.store.busy_hosts().await?), ..filter },
        })
    }

    async fn fleet_repos(&self, hosts: &[HostId]) -> Result<BTreeMap<HostId, FleetRepo>, AppError> {
        let primaries = self.store.primary_repos(hosts).await?;
        // Several hosts may share one.
        let ids: Vec<RepoId> =
            primaries.iter().map(|primary| primary.repo_id).collect::<BTreeSet<_>>().into_iter().collect();
        let stats = self.store.repo_stats(&ids).await?;
        let stats: BTreeMap<RepoId, RepoStats> = ids.iter().copied().zip(stats).collect();
        let mut sizes: BTreeMap<RepoId, Vec<StatsDay>> = BTreeMap::new();
        for (id, day) in self.store.sizes(&ids, self.clock.now() - SIZE_DAYS * DAY).await? {
            sizes.entry(id).or_default().push(day);
        }
        let row = |primary: restic_manager_store::PrimaryRepo| {
            let id = primary.repo_id;
            let repo = FleetRepo {
                id,
                name: primary.name,
                stats: stats.get(&id).cloned().unwrap_or_default(),
                sizes: sizes.get(&id).cloned().unwrap_or_default(),
            };
            (primary.host_id, repo)
        };
        Ok(primaries.into_iter().map(row).collect())
    }
}
