//! Live news of jobs for whoever watches: bounded, and free of charge for jobs that nobody watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use restic_manager_core::id::{HostId, JobId};
use restic_manager_core::model::LogLine;
use restic_manager_core::restic::Progress;
use tokio::sync::broadcast;

/// How many events a follower may lag behind before it has to read the log from the store.
const BACKLOG: usize = 256;

/// One piece of news about a job.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedEvent {
    /// The job's row changed: read it again.
    Changed,
    /// Lines were added to its log.
    Log(Arc<Vec<LogLine>>),
    /// How far it is.
    Progress(Arc<Progress>),
}

/// One piece of news about the fleet: what to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetEvent {
    /// A job was asked for, sent, or started.
    JobMoved(JobId),
    /// A job is over.
    JobOver(JobId),
    /// A host came into contact, or went out of it.
    Contact(HostId),
}

/// The news of all jobs.
#[derive(Debug)]
pub struct Feed {
    inner: Mutex<Inner>,
    fleet: broadcast::Sender<FleetEvent>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { inner: Mutex::default(), fleet: broadcast::channel(BACKLOG).0 }
    }
}

#[derive(Debug, Default)]
struct Inner {
    followers: BTreeMap<JobId, broadcast::Sender<FeedEvent>>,
    progress: BTreeMap<JobId, Arc<Progress>>,
}

impl Feed {
    /// Follows a job. A follower that lags too far behind is told so, and reads the store.
    pub fn follow(&self, job_id: JobId) -> broadcast::Receiver<FeedEvent> {
        let mut inner = self.lock();
        // Jobs whose followers are gone cost nothing from here on.
        inner.followers.retain(|_, sender| sender.receiver_count() > 0);
        inner.followers.entry(job_id).or_insert_with(|| broadcast::channel(BACKLOG).0).subscribe()
    }

    /// Follows the whole fleet. A follower that lags too far behind is told so, and reads the store.
    pub fn follow_fleet(&self) -> broadcast::Receiver<FleetEvent> {
        self.fleet.subscribe()
    }

    /// A host came into contact, or went out of it.
    pub fn contact(&self, host_id: HostId) {
        self.tell_fleet(FleetEvent::Contact(host_id));
    }

    /// How far a running job is, as far as somebody said so.
    pub fn progress(&self, job_id: JobId) -> Option<Progress> {
        self.lock().progress.get(&job_id).map(|progress| (**progress).clone())
    }

    /// Tells the followers of a job; never waits.
    pub fn publish(&self, job_id: JobId, event: FeedEvent) {
        if event == FeedEvent::Changed {
            self.tell_fleet(FleetEvent::JobMoved(job_id));
        }
        self.tell(job_id, event);
    }

    fn tell_fleet(&self, event: FleetEvent) {
        // An error means that nobody listens.
        let _ = self.fleet.send(event);
    }

    fn tell(&self, job_id: JobId, event: FeedEvent) {
        let mut inner = self.lock();
        if let FeedEvent::Progress(progress) = &event {
            inner.progress.insert(job_id, Arc::clone(progress));
        }
        if let Some(sender) = inner.followers.get(&job_id) {
            // An error means that nobody listens any more.
            let _ = sender.send(event);
        }
    }

    /// The job is over: its progress is forgotten.
    pub fn finished(&self, job_id: JobId) {
        self.lock().progress.remove(&job_id);
        self.tell_fleet(FleetEvent::JobOver(job_id));
        self.tell(job_id, FeedEvent::Changed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use restic_manager_core::time::Timestamp;

    #[test]
    fn a_slow_follower_is_told_that_it_lags_and_the_publisher_never_waits() {
        let feed = Feed::default();
        let job_id = JobId::mint(Timestamp::from_millis(1), [1; 10]);
        let mut follower = feed.follow(job_id);
        for _ in 0..BACKLOG + 5 {
            feed.publish(job_id, FeedEvent::Changed);
        }
        assert!(matches!(follower.try_recv(), Err(broadcast::error::TryRecvError::Lagged(5))));
    }

    #[test]
    fn the_fleet_is_told_of_moves_ends_and_contact_and_of_nothing_that_is_said_often() {
        let feed = Feed::default();
        let job_id = JobId::mint(Timestamp::from_millis(1), [1; 10]);
        let host_id = HostId::mint(Timestamp::from_millis(1), [2; 10]);
        let mut follower = feed.follow_fleet();
        feed.publish(job_id, FeedEvent::Changed);
        feed.publish(job_id, FeedEvent::Log(Arc::new(Vec::new())));
        feed.publish(job_id, FeedEvent::Progress(Arc::new(Progress::default())));
        feed.finished(job_id);
        feed.contact(host_id);
        let heard: Vec<FleetEvent> = std::iter::from_fn(|| follower.try_recv().ok()).collect();
        let expected =
            [FleetEvent::JobMoved(job_id), FleetEvent::JobOver(job_id), FleetEvent::Contact(host_id)];
        assert_eq!(heard, expected);
    }

    #[test]
    fn the_last_progress_is_kept_until_the_job_ends() {
        let feed = Feed::default();
        let job_id = JobId::mint(Timestamp::from_millis(1), [1; 10]);
        let half = Progress { percent: 50.0, ..Progress::default() };
        feed.publish(job_id, FeedEvent::Progress(Arc::new(half.clone())));
        assert_eq!(feed.progress(job_id), Some(half));
        feed.finished(job_id);
        assert_eq!(feed.progress(job_id), None);
    }
}
