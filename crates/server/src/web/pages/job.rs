//! A job: how it stands and why, what it did, what it said; and stopping it.

mod live;
mod log;

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::JobView;
use restic_manager_core::id::{JobId, ScheduleId};
use restic_manager_core::model::{ActorKind, ForgetResult, JobKind, JobState, JobSummary};
use restic_manager_core::restic::Progress;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::{SECOND, Timestamp};

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::frame::{Frame, Tab, Visitor};
use super::parts::{Mark, Moment, Prose, Tone, took};
use super::table::{Route, act, look};
use super::{page, see_other, words};
use crate::app::{App, AppError, ErrorKind};
use log::LogPart;

/// Seconds until the page of a job that is not over is loaded again.
const REFRESH: u32 = 3;

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/jobs/{id}", job),
        look("/jobs/{id}/stream", live::stream),
        look("/jobs/{id}/cancel", cancel_form),
        act("/jobs/{id}/cancel", cancel),
        look("/jobs/{id}/give-up", give_up_form),
        act("/jobs/{id}/give-up", give_up),
        act("/jobs/{id}/rerun", rerun),
    ]
}

/// What a job is called, and what it belongs to.
struct Title {
    id: String,
    kind: &'static str,
    group: Option<String>,
    host: String,
    host_href: String,
    repo: String,
    repo_href: String,
    state: Mark,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    frame: Frame,
    id: String,
    live: LivePart,
    /// Whether the page of a browser without scripts loads itself again, could do so, or has no reason to.
    refreshing: Option<bool>,
    /// Where a script hears more.
    stream: Option<String>,
    log: LogPart,
}

/// All of a job but its log: what a live page is told anew.
#[derive(Template)]
#[template(path = "job_live.html")]
struct LivePart {
    title: Title,
    may_cancel: bool,
    /// Whether its host is out of contact, so that nobody can cancel it.
    may_give_up: bool,
    /// The token of the form to ask for it once more, where one would want that.
    rerun: Option<Secret>,
    cancel_asked: Option<Moment>,
    hold: Option<(Prose, Prose)>,
    end: Option<End>,
    progress: Option<ProgressView>,
    steps: Vec<Step>,
    chain: Option<Chain>,
    facts: Vec<(&'static str, String)>,
    summary: Vec<(&'static str, String)>,
    missing: Vec<String>,
    forgotten: Vec<ForgetResult>,
}

impl askama::filters::HtmlSafe for LivePart {}

/// A slot with the attempts at it.
struct Chain {
    slot: Moment,
    attempts: Vec<Attempt>,
    next: Option<Moment>,
}

struct Attempt {
    number: u32,
    href: String,
    here: bool,
    state: Mark,
    when: Moment,
}

/// How it ended, when there is something to say of it.
struct End {
    tone: Tone,
    message: Prose,
    hint: Option<Prose>,
}

struct Step {
    name: &'static str,
    at: Option<Moment>,
    note: String,
    tone: Option<Tone>,
}

struct ProgressView {
    percent: String,
    files: String,
    bytes: String,
    rate: Option<String>,
    remaining: Option<String>,
    errors: Option<String>,
    current: Vec<String>,
}

async fn job(visitor: Visitor, ask: Ask) -> Answer {
    let id: JobId = ask.id("id", "job")?;
    let fields = Fields::parse(ask.query_text().as_bytes());
    let app = &ask.state.app;
    let now = visitor.frame.now;
    let view = app.job(id).await?;
    let refreshing = (!view.job.state.is_final()).then(|| fields.text("live") != "off");
    let log = LogPart::read(app, &view, fields.text("find")).await?;
    let csrf = Secret::new(visitor.frame.csrf());
    let mut frame = visitor.frame.of(Tab::Jobs, name(&view));
    frame.refresh = refreshing.filter(|live| *live).map(|_| REFRESH);
    let stream = refreshing.map(|_| format!("/jobs/{id}/stream?from={}", log.next));
    let live = LivePart::new(app, &view, now, &csrf).await?;
    page(StatusCode::OK, &JobPage { frame, id: id.to_string(), live, refreshing, stream, log })
}

impl LivePart {
    async fn new(app: &App, view: &JobView, now: Timestamp, csrf: &Secret) -> Result<Self, AppError> {
        let job = &view.job;
        let chain = Chain::of(app, view, now).await?;
        let next_attempt = chain.as_ref().is_some_and(|chain| chain.next.is_some());
        let asker = asker(app, view).await?;
        let summary = job.summary.clone().unwrap_or_default();
        let hold = view.hold.as_ref();
        Ok(Self {
            title: title(view),
            may_cancel: !job.state.is_final() && job.cancel_requested_at.is_none(),
            may_give_up: job.state.occupies() && !is_there(app, view),
            rerun: wants_rerun(view, next_attempt).then(|| csrf.clone()),
            cancel_asked: job
                .cancel_requested_at
                .filter(|_| !job.state.is_final())
                .map(|at| Moment::new(at, now)),
            hold: hold.map(|hold| (Prose::sentence(hold.sentence()), Prose::sentence(hold.remedy()))),
            end: end(view),
            progress: view.progress.as_ref().map(|done| progress(done, job.started_at, now)),
            steps: steps(view, now),
            chain,
            facts: facts(view, asker),
            summary: produced(&summary),
            missing: summary.missing_paths,
            forgotten: summary.forget,
        })
    }
}

impl Chain {
    /// The slot and the attempts of a job that is one of several, or that may be followed by another.
    async fn of(app: &App, view: &JobView, now: Timestamp) -> Result<Option<Self>, AppError> {
        let (Some(run_id), Some(slot)) = (view.job.run_id, view.job.slot) else { return Ok(None) };
        let run = app.store().run(run_id).await?;
        let next = run.and_then(|run| run.pending).map(|pending| pending.next_attempt_at);
        let attempts = app.attempts(run_id).await?;
        if attempts.len() < 2 && next.is_none() {
            return Ok(None);
        }
        let attempt = |other: &JobView| Attempt {
            number: other.job.attempt,
            href: format!("/jobs/{}", other.job.id),
            here: other.job.id == view.job.id,
            state: Mark::job(other.job.state),
            when: Moment::new(other.job.finished_at.unwrap_or(other.job.created_at), now),
        };
        Ok(Some(Self {
            slot: Moment::exact(slot, now),
            attempts: attempts.iter().map(attempt).collect(),
            next: next.map(|at| Moment::new(at, now)),
        }))
    }
}

#[derive(Template)]
#[template(path = "cancel.html")]
struct CancelPage {
    frame: Frame,
    title: Title,
    runs: bool,
}

async fn cancel_form(visitor: Visitor, ask: Ask) -> Answer {
    let id: JobId = ask.id("id", "job")?;
    let view = ask.state.app.job(id).await?;
    if view.job.state.is_final() {
        return Ok(see_other(&format!("/jobs/{id}")));
    }
    let frame = visitor.frame.of(Tab::Jobs, "Cancel a job");
    page(StatusCode::OK, &CancelPage { frame, title: title(&view), runs: view.job.state.occupies() })
}

async fn cancel(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let id: JobId = ask.id("id", "job")?;
    ask.state.app.cancel_job(&visitor.caller, id).await?;
    Ok(see_other(&format!("/jobs/{id}")))
}

#[derive(Template)]
#[template(path = "give_up.html")]
struct GiveUpPage {
    frame: Frame,
    title: Title,
}

fn is_there(app: &App, view: &JobView) -> bool {
    app.engine().dispatch().epoch(view.job.host_id).is_some()
}

async fn give_up_form(visitor: Visitor, ask: Ask) -> Answer {
    let id: JobId = ask.id("id", "job")?;
    let view = ask.state.app.job(id).await?;
    if !view.job.state.occupies() || is_there(&ask.state.app, &view) {
        return Ok(see_other(&format!("/jobs/{id}")));
    }
    page(
        StatusCode::OK,
        &GiveUpPage { frame: visitor.frame.of(Tab::Jobs, "Give up a job"), title: title(&view) },
    )
}

async fn give_up(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let id: JobId = ask.id("id", "job")?;
    ask.state.app.give_up_job(&visitor.caller, id).await?;
    Ok(see_other(&format!("/jobs/{id}")))
}

/// Whether a person would want it once more: it did not succeed, and nobody is about to try it again anyway.
fn wants_rerun(view: &JobView, next_attempt: bool) -> bool {
    let job = &view.job;
    let ended = match job.state {
        JobState::Failed | JobState::Lost | JobState::Cancelled | JobState::Warning => true,
        JobState::Queued
        | JobState::Dispatched
        | JobState::Running
        | JobState::Succeeded
        | JobState::Superseded
        | JobState::Withdrawn => false,
    };
    let kind = match job.kind {
        JobKind::Backup => job.group_id.is_some(),
        JobKind::Forget => job.intent.preview_group.is_none(),
        JobKind::Init | JobKind::Prune | JobKind::Check | JobKind::Stats => true,
        JobKind::Unlock | JobKind::Restore | JobKind::Diff => false,
    };
    ended && kind && !next_attempt
}

async fn rerun(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let id: JobId = ask.id("id", "job")?;
    let accepted = ask.state.app.rerun_job(&visitor.caller, id).await?;
    Ok(see_other(&format!("/jobs/{}", accepted.job_id)))
}

/// The job in words: `Backup of home on web1`.
fn name(view: &JobView) -> String {
    let kind = words::kind(view.job.kind);
    match &view.group_name {
        Some(group) => format!("{kind} of {group} on {}", view.host_name),
        None => format!("{kind} of {} on {}", view.repo_name, view.host_name),
    }
}

fn title(view: &JobView) -> Title {
    let job = &view.job;
    Title {
        id: job.id.to_string(),
        kind: words::kind(job.kind),
        group: view.group_name.clone(),
        host: view.host_name.clone(),
        host_href: format!("/hosts/{}", job.host_id),
        repo: view.repo_name.clone(),
        repo_href: format!("/repos/{}", job.repo_id),
        state: Mark::job(job.state).boxed(),
    }
}

/// Who asked for it; a schedule by its name while it is there.
async fn asker(app: &App, view: &JobView) -> Result<String, AppError> {
    let actor = &view.job.actor;
    if actor.kind != ActorKind::Schedule {
        return Ok(words::actor(actor));
    }
    let Ok(id) = actor.name.parse::<ScheduleId>() else { return Ok(words::actor(actor)) };
    match app.schedule(view.job.host_id, id).await {
        Ok(found) => Ok(format!("schedule {}", found.schedule.name)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok("a schedule that is gone".to_owned()),
        Err(error) => Err(error),
    }
}

fn end(view: &JobView) -> Option<End> {
    let job = &view.job;
    let message = job.message.as_deref().filter(|message| !message.is_empty())?;
    let tone = match job.state {
        JobState::Succeeded => return None,
        JobState::Queued
        | JobState::Dispatched
        | JobState::Running
        | JobState::Warning
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Lost
        | JobState::Superseded
        | JobState::Withdrawn => Tone::of_job(job.state),
    };
    Some(End { tone, message: Prose::sentence(message), hint: job.hint.as_deref().map(Prose::sentence) })
}

/// Asked, sent, started, ended: when, and how long it took from one to the next.
fn steps(view: &JobView, now: Timestamp) -> Vec<Step> {
    let job = &view.job;
    let since = |from: Option<Timestamp>, at: Option<Timestamp>| match (from, at) {
        (Some(from), Some(at)) if at >= from => format!("after {}", words::took(at.millis_since(from))),
        _ => String::new(),
    };
    let step = |name, from, at: Option<Timestamp>, tone| Step {
        name,
        at: at.map(|at| Moment::new(at, now)),
        note: since(from, at),
        tone: at.is_some().then_some(tone),
    };
    let created = Some(job.created_at);
    let before_start = job.dispatched_at.or(created);
    let ended = match job.state {
        JobState::Queued | JobState::Dispatched | JobState::Running => "Ended",
        JobState::Succeeded => "Succeeded",
        JobState::Warning => "Ended with a warning",
        JobState::Failed => "Failed",
        JobState::Cancelled => "Cancelled",
        JobState::Lost => "Lost",
        JobState::Superseded => "Superseded",
        JobState::Withdrawn => "Withdrawn",
    };
    let mut last = step(ended, job.started_at, job.finished_at, Tone::of_job(job.state));
    if last.at.is_none()
        && let Some(so_far) = took(view, now)
    {
        last.note = format!("running for {so_far}");
    }
    vec![
        step("Asked for", None, created, Tone::Live),
        step("Sent to the agent", created, job.dispatched_at, Tone::Live),
        step("Started", before_start, job.started_at, Tone::Live),
        last,
    ]
}

fn facts(view: &JobView, asker: String) -> Vec<(&'static str, String)> {
    let job = &view.job;
    let mut facts = vec![("Asked by", asker)];
    if let Some(slot) = job.slot {
        facts.push(("Slot", words::exact(slot)));
    }
    if job.attempt > 1 {
        facts.push(("Attempt", job.attempt.to_string()));
    }
    if let Some(class) = job.class {
        facts.push(("Outcome", class.as_str().replace('_', " ")));
    }
    if let Some(code) = job.exit_code {
        facts.push(("Exit code", code.to_string()));
    }
    facts.push(("Id", job.id.to_string()));
    facts
}

/// How far it is. What is not known yet is not guessed: the total grows until restic has seen all files, and a rate needs some seconds.
fn progress(progress: &Progress, started: Option<Timestamp>, now: Timestamp) -> ProgressView {
    let of = |done: String, total: String| format!("{done} of {total}");
    let ran = started.map_or(0, |started| now.millis_since(started));
    let rate = (ran >= 5 * SECOND && progress.bytes_done > 0)
        .then(|| u128::from(progress.bytes_done) * 1000 / u128::from(ran.unsigned_abs()))
        .and_then(|rate| u64::try_from(rate).ok());
    ProgressView {
        percent: format!("{:.1}", progress.percent),
        files: of(words::number(progress.files_done), words::count(progress.files_total, "file")),
        bytes: of(words::size(progress.bytes_done), words::size(progress.bytes_total)),
        rate: rate.map(|rate| format!("{}/s", words::size(rate))),
        remaining: progress
            .seconds_remaining
            .and_then(|seconds| i64::try_from(seconds).ok())
            .map(|seconds| format!("restic expects {} more", words::took(seconds.saturating_mul(1000)))),
        errors: (progress.error_count > 0)
            .then(|| format!("{} not read", words::count(progress.error_count, "file"))),
        current: progress.current_files.clone(),
    }
}

/// What a job produced, in words; what it does not say is left out.
fn produced(summary: &JobSummary) -> Vec<(&'static str, String)> {
    let number = |value: Option<u64>| value.map(words::number);
    let size = |value: Option<u64>| value.map(words::size);
    let prune = summary.prune.unwrap_or_default();
    [
        ("Snapshot", summary.snapshot_id.clone()),
        ("New files", number(summary.files_new)),
        ("Changed files", number(summary.files_changed)),
        ("Unchanged files", number(summary.files_unmodified)),
        ("Looked at", looked_at(summary)),
        ("Added", size(summary.bytes_added)),
        ("Added as stored", size(summary.bytes_stored)),
        ("Items not read", number(summary.unreadable_items)),
        ("restic ran for", summary.seconds.map(|seconds| words::took((seconds * 1000.0) as i64))),
        (
            "Repository",
            summary.adopted.map(|adopted| if adopted { "was there already" } else { "made" }.to_owned()),
        ),
        ("Found", summary.check.map(|check| check.as_str().replace('_', " "))),
        ("Data read", summary.check_subset_pct.map(|percent| format!("{percent} %"))),
        ("Removed", size(prune.removed_bytes)),
        ("Left", size(prune.remaining_bytes)),
        ("Locks seen", Some(summary.locks.len()).filter(|seen| *seen > 0).map(|seen| seen.to_string())),
        ("Locks removed", number(summary.locks_removed)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn looked_at(summary: &JobSummary) -> Option<String> {
    let files = words::count(summary.files_processed?, "file");
    Some(match summary.bytes_processed {
        Some(bytes) => format!("{files}, {}", words::size(bytes)),
        None => files,
    })
}
