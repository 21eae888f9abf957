//! What a source group's policy would forget: restic's own answer, snapshot by snapshot, before anything goes.

use askama::Template;
use askama::filters::HtmlSafe;
use http::StatusCode;
use restic_manager_core::api::JobView;
use restic_manager_core::id::{GroupId, HostId, JobId};
use restic_manager_core::model::{ForgetResult, SnapshotDecision};
use restic_manager_core::time::Timestamp;

use super::super::answer::Refusal;
use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::frame::{Frame, Tab, Visitor};
use super::host_head::{HostHead, HostTab};
use super::parts::{Mark, Moment, Prose};
use super::table::{Route, act, look};
use super::{page, see_other, words};
use crate::app::{AppError, ErrorKind};

/// Seconds until a page that waits looks again.
const LOOK: u32 = 3;

pub(super) fn routes() -> Vec<Route> {
    vec![
        act("/hosts/{id}/sources/{group_id}/preview", ask_for),
        look("/hosts/{id}/sources/{group_id}/preview/{job_id}", preview),
        look("/hosts/{id}/sources/{group_id}/preview/{job_id}/state", part),
    ]
}

#[derive(Template)]
#[template(path = "preview.html")]
struct Preview {
    frame: Frame,
    head: HostHead,
    host: String,
    group: String,
    group_href: String,
    keeps: String,
    outcome: Outcome,
}

/// What came of it so far.
#[derive(Template)]
#[template(path = "preview_part.html")]
struct Outcome {
    /// Where the next state is, while there is one to come.
    more: Option<String>,
    job: String,
    state: Mark,
    note: Option<Prose>,
    result: Option<Told>,
}

impl HtmlSafe for Outcome {}

struct Told {
    goes: u64,
    stays: u64,
    rows: Vec<Row>,
}

struct Row {
    short: String,
    id: String,
    at: Moment,
    /// Why it stays; none when it goes.
    keeps: Option<String>,
}

/// Asks restic what would go, and leads to the answer.
async fn ask_for(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let (host_id, id): (HostId, GroupId) = (ask.id("id", "host")?, ask.id("group_id", "source group")?);
    let accepted = ask.state.app.preview_forget(&visitor.caller, host_id, id, None).await?;
    Ok(see_other(&format!("/hosts/{host_id}/sources/{id}/preview/{}", accepted.job_id)))
}

async fn preview(visitor: Visitor, ask: Ask) -> Answer {
    let (host_id, id): (HostId, GroupId) = (ask.id("id", "host")?, ask.id("group_id", "source group")?);
    let app = &ask.state.app;
    let seen = app.host_seen(host_id).await?;
    let group = app.group(host_id, id).await?;
    let outcome = outcome(&ask, visitor.frame.now).await?;
    let refresh = outcome.more.is_some().then_some(LOOK);
    page(
        StatusCode::OK,
        &Preview {
            head: HostHead::new(&seen, HostTab::Sources),
            host: host_id.to_string(),
            group: group.name.to_string(),
            group_href: format!("/hosts/{host_id}/sources/{id}"),
            keeps: group.keep.summary(),
            outcome,
            frame: Frame {
                refresh,
                ..visitor.frame.of(Tab::Fleet, format!("What {} would forget", group.name))
            },
        },
    )
}

async fn part(visitor: Visitor, ask: Ask) -> Answer {
    page(StatusCode::OK, &outcome(&ask, visitor.frame.now).await?)
}

async fn outcome(ask: &Ask, now: Timestamp) -> Result<Outcome, Refusal> {
    let (host_id, id): (HostId, GroupId) = (ask.id("id", "host")?, ask.id("group_id", "source group")?);
    let job_id: JobId = ask.id("job_id", "job")?;
    let view = ask.state.app.job(job_id).await?;
    if view.job.intent.preview_group != Some(id) {
        let message = format!("job {job_id} is no preview of this source group");
        return Err(AppError::new(ErrorKind::NotFound, "not_found", message).into());
    }
    let over = view.job.state.is_final();
    Ok(Outcome {
        more: (!over).then(|| format!("/hosts/{host_id}/sources/{id}/preview/{job_id}/state")),
        job: format!("/jobs/{job_id}"),
        state: Mark::job(view.job.state),
        note: note(&view),
        result: result(&view, id).map(|result| told(result, now)),
    })
}

fn note(view: &JobView) -> Option<Prose> {
    let text = view.hold_sentence.as_deref().or(view.job.message.as_deref());
    text.map(Prose::sentence)
}

fn result(view: &JobView, id: GroupId) -> Option<&ForgetResult> {
    let summary = view.job.summary.as_ref()?;
    summary.forget.iter().find(|result| result.group_id == id)
}

fn told(result: &ForgetResult, now: Timestamp) -> Told {
    let row = |decision: &SnapshotDecision| Row {
        short: words::short(&decision.snapshot_id),
        id: decision.snapshot_id.clone(),
        at: Moment::exact(decision.time, now),
        keeps: (!decision.keeps.is_empty()).then(|| decision.keeps.join(", ")),
    };
    Told { goes: result.planned, stays: result.kept, rows: result.decisions.iter().map(row).collect() }
}
