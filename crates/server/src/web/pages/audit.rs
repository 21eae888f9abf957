//! The audit log: who did what.

use askama::Template;
use http::StatusCode;
use restic_manager_core::model::{Actor, AuditRow};
use restic_manager_core::time::Timestamp;
use restic_manager_store::AuditFilter;
use serde_json::Value;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::fleet::pager;
use super::frame::{Frame, Tab, Visitor};
use super::parts::{Moment, Pager};
use super::table::{Route, look};
use super::{ROWS, page, words};
use crate::app::ListQuery;

pub(super) fn routes() -> Vec<Route> {
    vec![look("/audit", audit)]
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    actor: String,
    action: String,
    subject_id: String,
    rows: Vec<Row>,
    pager: Pager,
}

impl Audit {
    fn is_filtered(&self) -> bool {
        !(self.actor.is_empty() && self.action.is_empty() && self.subject_id.is_empty())
    }
}

struct Row {
    at: Moment,
    actor: String,
    action: String,
    kind: String,
    subject: String,
    href: Option<String>,
    details: Vec<(String, String)>,
}

async fn audit(visitor: Visitor, ask: Ask) -> Answer {
    let fields = Fields::parse(ask.query_text().as_bytes());
    let given = |name: &str| fields.given(name).map(str::to_owned);
    let filter = AuditFilter {
        actor: given("actor"),
        action: given("action"),
        subject_id: given("subject_id"),
        ..AuditFilter::default()
    };
    let list = ListQuery { limit: Some(ROWS), cursor: given("cursor") };
    let listed = ask.state.app.audit_rows(&filter, &list).await?;
    let parameters = ["actor", "action", "subject_id"].map(|name| (name, fields.text(name)));
    let text = |name: &str| fields.text(name).to_owned();
    let now = visitor.frame.now;
    page(
        StatusCode::OK,
        &Audit {
            frame: visitor.frame.of(Tab::Audit, "Audit"),
            actor: text("actor"),
            action: text("action"),
            subject_id: text("subject_id"),
            rows: listed.items.into_iter().map(|audited| row(audited, now)).collect(),
            pager: pager("/audit", &parameters, list.cursor.is_some(), listed.next_cursor.as_deref()),
        },
    )
}

fn row(row: AuditRow, now: Timestamp) -> Row {
    let path = match row.subject_kind.as_str() {
        "host" => Some("/hosts"),
        "repo" => Some("/repos"),
        "job" => Some("/jobs"),
        _ => None,
    };
    let deleted = row.action.ends_with(".deleted");
    let name = row.detail.get("name").and_then(Value::as_str).map(str::to_owned);
    let details = row.detail.iter().filter(|(key, value)| *key != "name" && !value.is_null());
    Row {
        at: Moment::new(row.at, now),
        actor: words::actor(&Actor { kind: row.actor_kind, name: row.actor }),
        href: path.filter(|_| !deleted).map(|path| format!("{path}/{}", row.subject_id)),
        subject: name.unwrap_or_else(|| words::short(&row.subject_id)),
        action: row.action,
        kind: row.subject_kind.replace('_', " "),
        details: details.map(|(key, value)| detail(key, value)).collect(),
    }
}

/// A fact of a row in words: instants as such, texts without quotes, whatever else as JSON.
fn detail(key: &str, value: &Value) -> (String, String) {
    let shown = match (key.ends_with("_at"), value) {
        (true, Value::Number(number)) if number.is_i64() => {
            words::exact(Timestamp::from_millis(number.as_i64().unwrap_or_default()))
        }
        (_, Value::String(text)) => text.clone(),
        (_, Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            value.to_string()
        }
    };
    (key.replace('_', " "), shown)
}
