//! A host's line in the fleet.

use restic_manager_core::api::{JobView, Presence};
use restic_manager_core::model::{CheckStatus, JobState};
use restic_manager_core::time::{DAY, Timestamp};

use super::super::fields::address;
use super::super::parts::{JobLine, Mark, Moment, Prose, Tone};
use super::super::spark::Spark;
use super::super::words;
use crate::app::{FleetRepo, FleetRow, SIZE_DAYS};

/// After so many days without a check somebody should wonder.
const CHECK_GROWS_OLD: i64 = 45 * DAY;

/// What is said of a host in one line.
pub(super) struct HostLine {
    pub(super) id: String,
    pub(super) href: String,
    pub(super) name: String,
    pub(super) presence: Mark,
    pub(super) seen: Option<Moment>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) backup: Option<JobLine>,
    pub(super) next: Moment,
    pub(super) repo: Option<RepoCell>,
    pub(super) notes: Vec<Note>,
}

/// What is said of its repository.
pub(super) struct RepoCell {
    pub(super) href: String,
    pub(super) name: String,
    pub(super) size: Option<String>,
    pub(super) line: Option<Spark>,
    pub(super) check: Option<(Mark, Moment)>,
}

/// What goes on now, or stands in the way.
pub(super) struct Note {
    pub(super) tone: Tone,
    pub(super) href: String,
    pub(super) text: Prose,
    /// How far it is, in percent.
    pub(super) percent: Option<String>,
    pub(super) rest: Option<String>,
}

impl HostLine {
    pub(super) fn new(row: &FleetRow, now: Timestamp) -> Self {
        let FleetRow { view, repo, doing } = row;
        let host = &view.host;
        let seen = match view.presence {
            Presence::Online | Presence::NeverSeen => None,
            Presence::Offline => host.last_seen_at.map(|at| Moment::new(at, now)),
        };
        let mut notes: Vec<Note> = doing.iter().map(doing_note).collect();
        if let Some(problem) = &host.facts.restic_problem {
            notes.push(Note::plain(
                Tone::Bad,
                format!("/hosts/{}", host.id),
                &format!("no usable restic: {problem}"),
            ));
        }
        notes.extend(repo.as_ref().and_then(lock_note));
        Self {
            id: host.id.to_string(),
            href: format!("/hosts/{}", host.id),
            name: host.name.to_string(),
            presence: Mark::presence(view.presence),
            seen,
            tags: host
                .tags
                .iter()
                .map(|tag| (tag.to_string(), address("/", &[("tag", tag.as_str())])))
                .collect(),
            // One that goes on is told beside its progress.
            backup: view.last_backup.as_ref().map(|view| JobLine::new(view, now)),
            next: Moment::or(view.next_run_at, now, "not scheduled"),
            repo: repo.as_ref().map(|repo| RepoCell::new(repo, now)),
            notes,
        }
    }
}

impl RepoCell {
    fn new(repo: &FleetRepo, now: Timestamp) -> Self {
        let stats = &repo.stats;
        Self {
            href: format!("/repos/{}", repo.id),
            name: repo.name.to_string(),
            size: stats.total_size_bytes.map(words::size),
            line: Spark::of(&repo.sizes, SIZE_DAYS, now),
            check: stats.last_check.zip(stats.last_check_at).map(|(found, at)| check(found, at, now)),
        }
    }
}

/// How old the last check is; the tone says what it found, or that it is too long ago.
fn check(found: CheckStatus, at: Timestamp, now: Timestamp) -> (Mark, Moment) {
    let mark = match found {
        CheckStatus::Ok if now.millis_since(at) > CHECK_GROWS_OLD => Mark::new(Tone::Warn, "long ago"),
        CheckStatus::Ok => Mark::new(Tone::Ok, "ok"),
        CheckStatus::ErrorsFound => Mark::new(Tone::Bad, "errors"),
        CheckStatus::Locked => Mark::new(Tone::Warn, "locked"),
        CheckStatus::Failed => Mark::new(Tone::Warn, "failed"),
    };
    (mark, Moment::new(at, now))
}

impl Note {
    fn plain(tone: Tone, href: String, text: &str) -> Self {
        Self { tone, href, text: Prose::new(text), percent: None, rest: None }
    }
}

fn doing_note(view: &JobView) -> Note {
    let href = format!("/jobs/{}", view.job.id);
    let kind = words::kind(view.job.kind);
    let what = match &view.group_name {
        Some(group) => format!("{kind} of {group}"),
        None => kind.to_owned(),
    };
    if view.job.state == JobState::Queued {
        let why = view.hold_sentence.as_deref().unwrap_or("its turn comes");
        return Note::plain(Tone::Off, href, &format!("{what} waits: {why}"));
    }
    let Some(progress) = &view.progress else {
        return Note::plain(Tone::Live, href, &format!("{what} runs"));
    };
    Note {
        percent: Some(format!("{:.1}", progress.percent)),
        rest: progress
            .seconds_remaining
            .and_then(|seconds| i64::try_from(seconds).ok())
            .map(|seconds| format!("{} left", words::took(seconds.saturating_mul(1000)))),
        ..Note::plain(Tone::Live, href, &what)
    }
}

/// Who holds the repository, as far as it was seen.
fn lock_note(repo: &FleetRepo) -> Option<Note> {
    let lock = repo.stats.locks.as_ref()?.first()?;
    let text = format!("locked by {} on {}", lock.username, lock.hostname);
    Some(Note::plain(Tone::Warn, format!("/repos/{}", repo.id), &text))
}
