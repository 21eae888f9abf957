//! Runs that owe an attempt: why, what they wait for, and making it at once or giving it up.

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::PendingRunView;
use restic_manager_core::id::RunId;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::fleet::pager;
use super::frame::{Frame, Tab, Visitor};
use super::parts::{Moment, Pager, Prose};
use super::table::{Route, act, look};
use super::{ROWS, page, see_other};
use crate::app::{App, ListQuery};
use restic_manager_core::time::Timestamp;

pub(super) fn routes() -> Vec<Route> {
    vec![
        look("/pending-runs", list),
        act("/pending-runs/{id}/run", run),
        look("/pending-runs/{id}/drop", drop_form),
        act("/pending-runs/{id}/drop", drop_it),
    ]
}

#[derive(Template)]
#[template(path = "pending_runs.html")]
struct PendingRuns {
    frame: Frame,
    rows: Vec<Row>,
    pager: Pager,
}

#[derive(Template)]
#[template(path = "pending_run_drop.html")]
struct DropRun {
    frame: Frame,
    row: Row,
}

/// A run that owes an attempt.
struct Row {
    id: String,
    path: String,
    /// Whether the attempt can be made now.
    online: bool,
    group: String,
    host: String,
    host_href: String,
    repo: String,
    repo_href: String,
    schedule: String,
    slot: Moment,
    due: Moment,
    attempt: String,
    last: Option<String>,
    said: Option<Prose>,
    sentence: Prose,
}

impl Row {
    fn new(app: &App, view: PendingRunView, now: Timestamp) -> Self {
        let run = view.run;
        let next = run.attempt + 1;
        let due = run.pending.map(|pending| pending.next_attempt_at);
        Self {
            id: run.id.to_string(),
            path: format!("/pending-runs/{}", run.id),
            online: app.engine().dispatch().epoch(run.host_id).is_some(),
            group: view.group_name,
            host: view.host_name,
            host_href: format!("/hosts/{}", run.host_id),
            repo: view.repo_name,
            repo_href: format!("/repos/{}", run.key.repo_id),
            schedule: view.schedule_name,
            slot: Moment::new(run.key.slot, now),
            due: Moment::or(due, now, "at once"),
            attempt: view.retry_max.map_or_else(|| next.to_string(), |most| format!("{next} of {most}")),
            last: view.last_job_id.map(|id| format!("/jobs/{id}")),
            said: view.last_message.as_deref().map(Prose::sentence),
            sentence: Prose::sentence(&view.sentence),
        }
    }
}

async fn list(visitor: Visitor, ask: Ask) -> Answer {
    let fields = Fields::parse(ask.query_text().as_bytes());
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let listed = ask.state.app.pending_runs(None, None, &list).await?;
    let now = visitor.frame.now;
    let pager = pager("/pending-runs", &[], list.cursor.is_some(), listed.next_cursor.as_deref());
    let rows = listed.items.into_iter().map(|view| Row::new(&ask.state.app, view, now)).collect();
    page(StatusCode::OK, &PendingRuns { frame: visitor.frame.of(Tab::Jobs, "Pending runs"), rows, pager })
}

/// Makes the attempt now.
async fn run(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let id: RunId = ask.id("id", "pending run")?;
    let accepted = ask.state.app.run_pending(&visitor.caller, id).await?;
    Ok(see_other(&format!("/jobs/{}", accepted.job_id)))
}

async fn drop_form(visitor: Visitor, ask: Ask) -> Answer {
    let id: RunId = ask.id("id", "pending run")?;
    let view = ask.state.app.pending_run(id).await?;
    let row = Row::new(&ask.state.app, view, visitor.frame.now);
    page(StatusCode::OK, &DropRun { frame: visitor.frame.of(Tab::Jobs, "Give up a run"), row })
}

async fn drop_it(visitor: Visitor, _: Fields, ask: Ask) -> Answer {
    let id: RunId = ask.id("id", "pending run")?;
    ask.state.app.drop_pending(&visitor.caller, id).await?;
    Ok(see_other("/pending-runs"))
}
