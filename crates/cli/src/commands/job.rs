//! Jobs: what ran, runs and waits.

pub(crate) mod findings;

use clap::{Args, Subcommand, ValueEnum};
use restic_manager_core::api::{Accepted, JobView, Page};
use restic_manager_core::id::JobId;
use restic_manager_core::model::{Hold, Job, JobKind, JobState};
use serde_json::value::RawValue;

use super::{Listing, Session};
use crate::client::{Body, ClientError};
use crate::error::CliError;
use crate::follow::Follower;
use crate::route::Route;
use crate::ui::{self, Cell, Grid, LogLines, Look, Tone, View, ago, does, far, instant, size, took};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List jobs, the newest first
    Ls {
        /// Only jobs of this host
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
        /// Only jobs of this repository
        #[arg(long, value_name = "REPO")]
        repo: Option<String>,
        /// Only jobs of this kind
        #[arg(long, value_name = "KIND", value_parser = kind())]
        kind: Option<JobKind>,
        /// Only jobs in this state
        #[arg(long, value_name = "STATE", value_parser = state())]
        state: Option<JobState>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one job
    Show {
        /// The job's id
        job: JobId,
    },
    /// Show the log of a job
    Log {
        /// The job's id
        job: JobId,
        /// Go on until the job is over; Ctrl-C ends the showing, not the job
        #[arg(long, short)]
        follow: bool,
        /// How the lines are written; as `--output` says when not given
        #[arg(long, value_enum)]
        format: Option<LogFormat>,
    },
    /// Stop a job
    Cancel {
        /// The job's id
        job: JobId,
    },
    /// Give up a job whose host is out of contact, so that it holds no place any more
    ///
    /// The job is lost from here on. What its agent says of it when it comes back still counts. Its lock in the repository is not touched.
    GiveUp {
        /// The job's id
        job: JobId,
    },
    /// Do again what a job that is over was to do
    ///
    /// For backups, forgets, prunes, checks and measurements. The new job goes by what is set now, not by what was set then.
    Rerun {
        /// The id of the job that is over
        job: JobId,
        #[command(flatten)]
        following: Following,
    },
    /// Wait until a job is over; code 6 when it did not succeed
    Wait {
        /// The job's id
        job: JobId,
    },
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// The lines as they are
    Text,
    /// One JSON object a line, with number, time and stream
    Ndjson,
}

fn kind() -> impl clap::builder::TypedValueParser<Value = JobKind> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(JobKind::ALL.map(JobKind::as_str))
        .try_map(|name| JobKind::from_name(&name).ok_or_else(|| format!("`{name}` is no kind of job")))
}

fn state() -> impl clap::builder::TypedValueParser<Value = JobState> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(JobState::ALL.map(JobState::as_str))
        .try_map(|name| JobState::from_name(&name).ok_or_else(|| format!("`{name}` is no state of a job")))
}

impl Command {
    pub(crate) fn run(&self, session: &Session) -> Result<(), CliError> {
        let Session { client, ui } = session;
        let one = |job: &JobId| Route::new(["jobs", &job.to_string()]);
        match self {
            Self::Ls { host, repo, kind, state, listing } => {
                let route = Route::new(["jobs"])
                    .with("host_id", host.as_ref().map(|host| client.host_id(host)).transpose()?)
                    .with("repo_id", repo.as_ref().map(|repo| client.repo_id(repo)).transpose()?)
                    .with("kind", kind.map(JobKind::as_str))
                    .with("state", state.map(JobState::as_str));
                ui.show_page(&listing.fetch(client, route)?, table)
            }
            Self::Show { job } => ui.show(&client.get(&one(job))?, card),
            Self::Log { job, follow, format } => {
                let text = format.map_or_else(|| ui.is_for_people(), |format| format == LogFormat::Text);
                if *follow {
                    let lines = if text { LogLines::Texts } else { LogLines::Objects };
                    return verdict(Follower::new().follow(client, &job.to_string(), lines)?);
                }
                let file = if text { "log.txt" } else { "log.ndjson" };
                ui::copy(&mut client.stream(&Route::new(["jobs", &job.to_string(), file]))?)
            }
            Self::Cancel { job } => {
                let body = client.start(&Route::new(["jobs", &job.to_string(), "cancel"]))?;
                let state = body.read::<Accepted>()?.state;
                ui.done(&body, &cancelled(job, state))
            }
            Self::GiveUp { job } => {
                let body = client.start(&Route::new(["jobs", &job.to_string(), "give-up"]))?;
                ui.done(&body, &format!("the job {}", does(body.read::<Accepted>()?.state)))
            }
            Self::Rerun { job, following } => {
                started(session, &client.start(&Route::new(["jobs", &job.to_string(), "rerun"]))?, *following)
            }
            Self::Wait { job } => follow_one(session, job, LogLines::Hidden, card),
        }
    }
}

fn cancelled(job: &JobId, state: JobState) -> String {
    if state.is_final() {
        return format!("the job {}", does(state));
    }
    format!("the job is asked to stop and still {}: rmctl job wait {job} tells when it is over", does(state))
}

/// Whether a job that was started is watched.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Following {
    /// Show the log and the progress until it is over; Ctrl-C ends the showing, not the job
    #[arg(long, short)]
    follow: bool,
}

/// Shows the answer to a request that starts one job, or follows that job.
pub(crate) fn started(session: &Session, body: &Body, following: Following) -> Result<(), CliError> {
    if !following.follow {
        return session.ui.show(body, |job: &Accepted, _| accepted(std::slice::from_ref(job)));
    }
    // Where a program reads the answer, the log is not part of it.
    let lines = if session.ui.is_for_people() { LogLines::Texts } else { LogLines::Hidden };
    follow_one(session, &body.read::<Accepted>()?.job_id, lines, card)
}

/// Follows one job and shows how it ended; the answer is the job as the server tells it then.
pub(crate) fn follow_one(
    session: &Session,
    job: &JobId,
    lines: LogLines,
    view: impl FnOnce(&JobView, &Look) -> View,
) -> Result<(), CliError> {
    let ended = Follower::new().follow(&session.client, &job.to_string(), lines)?;
    session.ui.show(&session.client.get(&Route::new(["jobs", &job.to_string()]))?, view)?;
    verdict(ended)
}

/// Follows jobs one after the other and shows how they ended; the first that did not succeed decides the exit code.
pub(crate) fn follow_all(session: &Session, ids: &[String]) -> Result<(), CliError> {
    let Session { client, ui } = session;
    // Where a program reads the answer, the log is not part of it.
    let lines = if ui.is_for_people() { LogLines::Texts } else { LogLines::Hidden };
    let follower = Follower::new();
    let mut bodies = Vec::new();
    let mut verdicts = Vec::new();
    for id in ids {
        verdicts.push(verdict(follower.follow(client, id, lines)?));
        bodies.push(client.get(&Route::new(["jobs", id]))?);
    }
    ui.show(&together(&bodies)?, |ended: &Ended, look| {
        table(&Page { items: ended.jobs.clone(), next_cursor: None }, look)
    })?;
    verdicts.into_iter().collect()
}

#[derive(Debug, serde::Deserialize)]
struct Ended {
    jobs: Vec<JobView>,
}

#[derive(serde::Serialize)]
struct Raw {
    jobs: Vec<Box<RawValue>>,
}

/// Several answers in one, each as the server wrote it.
fn together(bodies: &[Body]) -> Result<Body, ClientError> {
    let jobs = bodies.iter().map(Body::read).collect::<Result<_, _>>()?;
    let text = serde_json::to_string(&Raw { jobs });
    text.map(Body::new).map_err(|e| ClientError::NotUnderstood { detail: e.to_string() })
}

/// Whether a job that is over did what it should. A warning is a backup: its snapshot is kept.
fn verdict(view: JobView) -> Result<(), CliError> {
    match view.job.state {
        JobState::Succeeded | JobState::Warning | JobState::Superseded => Ok(()),
        JobState::Failed | JobState::Cancelled | JobState::Lost | JobState::Withdrawn => {
            Err(CliError::Job(Box::new(view)))
        }
        JobState::Queued | JobState::Dispatched | JobState::Running => {
            let detail = format!("the stream ended while the job still {}", does(view.job.state));
            Err(ClientError::NotUnderstood { detail }.into())
        }
    }
}

/// What the server said when it was asked to start or stop something.
pub(crate) fn accepted(jobs: &[Accepted]) -> View {
    let row = |job: &Accepted| {
        let known = job.existing.then(|| "was there already".to_owned());
        let why = job.hold.as_ref().map(|hold| format!("{}; {}", hold.sentence(), hold.remedy()));
        let reads = job.subset_pct.map(|percent| match percent {
            0 => "reads the structure only".to_owned(),
            percent => format!("reads {percent} % of the data"),
        });
        let said: Vec<String> = known.into_iter().chain(reads).chain(why).collect();
        vec![
            Cell::from(job.job_id.to_string()),
            Cell::new(job.state.as_str(), state_tone(job.state)),
            Cell::from(said.join(", ")),
        ]
    };
    Grid::new(&["JOB", "STATE", ""], "No job: no repository to back up to").rows(jobs.iter().map(row))
}

/// The state; what is asked to stop and has not done so yet is told from what goes on.
fn state_of(job: &Job) -> Cell {
    let stopping = job.cancel_requested_at.is_some() && !job.state.is_final();
    Cell::new(if stopping { "stopping" } else { job.state.as_str() }, state_tone(job.state))
}

/// How good a state is.
pub(crate) const fn state_tone(state: JobState) -> Tone {
    match state {
        JobState::Succeeded => Tone::Good,
        JobState::Warning => Tone::Warning,
        JobState::Failed | JobState::Lost => Tone::Bad,
        JobState::Queued | JobState::Dispatched | JobState::Running => Tone::Plain,
        JobState::Cancelled | JobState::Superseded | JobState::Withdrawn => Tone::Faint,
    }
}

/// A job's state, its end and what came of it, in one line.
pub(crate) fn outcome(view: &JobView, look: &Look) -> String {
    let job = &view.job;
    let at = job.finished_at.or(job.started_at).unwrap_or(job.created_at);
    let said = said(view);
    let dash = if said.is_empty() { "" } else { ", " };
    format!("{} {}{dash}{said}", job.state.as_str(), ago(at, look.now))
}

/// What there is to say of a job: why it waits, how far it is, how it ended.
fn said(view: &JobView) -> String {
    if let Some(hold) = &view.hold_sentence {
        return hold.clone();
    }
    if let Some(progress) = &view.progress {
        return format!(
            "{:.0} %, {} of {}",
            progress.percent,
            size(progress.bytes_done),
            size(progress.bytes_total)
        );
    }
    let found = findings::in_a_line(view);
    match &view.job.message {
        Some(message) if view.job.state != JobState::Succeeded || found.is_empty() => message.clone(),
        Some(_) | None => found,
    }
}

fn lasted(view: &JobView) -> Option<String> {
    Some(took(view.job.finished_at?.millis_since(view.job.started_at?)))
}

fn table(page: &Page<JobView>, look: &Look) -> View {
    let row = |view: &JobView| {
        let job = &view.job;
        vec![
            Cell::from(job.id.to_string()),
            Cell::from(job.kind.as_str()),
            state_of(job),
            Cell::from(&view.host_name),
            Cell::from(&view.repo_name),
            Cell::or_none(view.group_name.as_ref()),
            Cell::from(ago(job.created_at, look.now)),
            Cell::or_none(lasted(view)),
            Cell::from(said(view)),
        ]
    };
    Grid::new(
        &["JOB", "KIND", "STATE", "HOST", "REPOSITORY", "SOURCE", "ASKED", "TOOK", "RESULT"],
        "No jobs to show: rmctl run HOST SOURCE starts one",
    )
    .sparing(&["TOOK", "REPOSITORY", "SOURCE", "ASKED"])
    .rows(page.items.iter().map(row))
}

fn card(view: &JobView, look: &Look) -> View {
    let job = &view.job;
    let when = |at| format!("{} ({})", instant(at, &look.zone), ago(at, look.now));
    let actor = if job.actor.name.is_empty() {
        job.actor.kind.as_str().to_owned()
    } else {
        format!("{} {}", job.actor.kind.as_str(), job.actor.name)
    };
    let mut lines = vec![
        ("Id", job.id.to_string().into()),
        ("Kind", job.kind.as_str().into()),
        ("State", state_of(job)),
        ("Host", Cell::from(&view.host_name)),
        ("Repository", Cell::from(&view.repo_name)),
        ("Source", Cell::or_none(view.group_name.as_ref())),
        ("Asked for by", actor.into()),
        ("Asked", when(job.created_at).into()),
        ("Started", Cell::or_none(job.started_at.map(when))),
        ("Ended", Cell::or_none(job.finished_at.map(when))),
        ("Took", Cell::or_none(lasted(view))),
    ];
    let more = [
        ("Slot", job.slot.map(when)),
        ("Attempt", (job.attempt > 1).then(|| job.attempt.to_string())),
        (
            "Progress",
            view.progress.as_ref().map(|progress| format!("{:.0} %, {}", progress.percent, far(progress))),
        ),
        ("Waits", view.hold_sentence.clone()),
        ("Remedy", view.hold.as_ref().map(|hold: &Hold| hold.remedy().to_owned())),
        ("Cancel asked", job.cancel_requested_at.map(when)),
        ("Class", job.class.map(|class| class.as_str().to_owned())),
        ("Exit code", job.exit_code.map(|code| code.to_string())),
        ("Message", job.message.clone()),
        ("Hint", job.hint.clone()),
        ("Snapshot", job.summary.as_ref().and_then(|summary| summary.snapshot_id.clone())),
        ("Missing", job.summary.as_ref().map(|s| s.missing_paths.join(", ")).filter(|text| !text.is_empty())),
    ];
    lines.extend(more.into_iter().filter_map(|(label, text)| Some((label, Cell::from(text?)))));
    lines.extend(result(view).map(|cell| ("Result", cell)));
    let mut views = vec![View::Card(lines)];
    views.extend(findings::tables(view, look));
    View::Stack(views)
}

fn result(view: &JobView) -> Option<Cell> {
    let check = view.job.summary.as_ref()?.check;
    let found = findings::in_a_line(view);
    (!found.is_empty()).then(|| Cell::new(found, check.map_or(Tone::Plain, findings::check_tone)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::ui::fixed_look;

    fn page() -> Page<JobView> {
        serde_json::from_str(include_str!("../../tests/answers/jobs.json")).unwrap()
    }

    #[test]
    fn jobs_as_a_table() {
        insta::assert_snapshot!(table(&page(), &fixed_look()).render(&fixed_look()));
    }

    #[test]
    fn jobs_on_a_narrow_terminal_keep_their_ids_whole() {
        let look = Look { width: Some(80), ..fixed_look() };
        insta::assert_snapshot!(table(&page(), &look).render(&look));
    }

    #[test]
    fn jobs_on_a_terminal_too_narrow_for_a_table_are_records() {
        let look = Look { width: Some(60), ..fixed_look() };
        insta::assert_snapshot!(table(&page(), &look).render(&look));
    }

    #[test]
    fn a_job_that_was_asked_to_stop_and_has_not_done_so_is_stopping() {
        let mut job = page().items[3].job.clone();
        job.cancel_requested_at = Some(job.created_at);
        assert_eq!(state_of(&job), Cell::new("stopping", state_tone(JobState::Running)));
        job.state = JobState::Cancelled;
        assert_eq!(state_of(&job), Cell::new("cancelled", state_tone(JobState::Cancelled)));
    }

    #[test]
    fn each_job_alone() {
        let look = fixed_look();
        let cards = View::Stack(page().items.iter().map(|view| card(view, &look)).collect());
        insta::assert_snapshot!(cards.render(&look));
    }

    #[test]
    fn only_a_job_that_ended_well_is_a_success() {
        let mut view = page().items.remove(0);
        for state in JobState::ALL {
            view.job.state = state;
            let code = verdict(view.clone()).map_or_else(|e| e.exit(), |()| Exit::Done);
            let expected = match state {
                JobState::Succeeded | JobState::Warning | JobState::Superseded => Exit::Done,
                JobState::Failed | JobState::Cancelled | JobState::Lost | JobState::Withdrawn => {
                    Exit::JobFailed
                }
                JobState::Queued | JobState::Dispatched | JobState::Running => Exit::Refused,
            };
            assert_eq!(code, expected, "{}", state.as_str());
        }
    }

    #[test]
    fn answers_that_are_put_together_stay_as_they_were_written() {
        let bodies = [Body::new("{ \"b\":1,  \"a\":2 }".into()), Body::new("{}".into())];
        assert_eq!(together(&bodies).unwrap().text(), "{\"jobs\":[{ \"b\":1,  \"a\":2 },{}]}");
    }
}
