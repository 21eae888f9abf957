//! The audit log: who did what.

use std::collections::BTreeMap;

use askama::Template;
use http::StatusCode;
use restic_manager_core::id::HostId;
use restic_manager_core::model::{Actor, ActorKind, AuditRow};
use restic_manager_core::time::Timestamp;
use restic_manager_store::{AuditFilter, HostFilter, PageRequest};
use serde_json::Value;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::audit_words::{ACTIONS, deed, facts, page_of, subject};
use super::fields::{Fields, address};
use super::fleet::pager;
use super::frame::{Frame, Tab, Visitor};
use super::parts::{Moment, Pager};
use super::table::{Route, look};
use super::{ROWS, page, words};
use crate::app::{App, AppError, ListQuery};

/// What things happen to: their name in the address, and their word.
const SUBJECTS: [(&str, &str); 11] = [
    ("host", "a host"),
    ("repo", "a repository"),
    ("attachment", "a host's use of a repository"),
    ("source_group", "a source group"),
    ("schedule", "a schedule"),
    ("job", "a job"),
    ("run", "a run that owed an attempt"),
    ("user", "a user"),
    ("token", "an API token"),
    ("enrollment_token", "an enrolment token"),
    ("pending_host", "a machine that waits"),
];

pub(super) fn routes() -> Vec<Route> {
    vec![look("/audit", audit)]
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    actor: String,
    subject_id: String,
    is_filtered: bool,
    actions: Vec<(String, String, bool)>,
    kinds: Vec<(String, String, bool)>,
    rows: Vec<Row>,
    pager: Pager,
}

struct Row {
    at: Moment,
    exact: String,
    actor: String,
    /// The page of whoever did it, when it is a host.
    actor_href: Option<String>,
    deed: String,
    action: String,
    subject: String,
    href: Option<String>,
    /// The host it happened on, with its page.
    host: Option<(String, String)>,
    /// All that happened to the same thing.
    same: String,
    facts: Vec<(String, String)>,
}

async fn audit(visitor: Visitor, ask: Ask) -> Answer {
    let fields = Fields::parse(ask.query_text().as_bytes());
    let given = |name: &str| fields.given(name).map(str::to_owned);
    let filter = AuditFilter {
        actor: given("actor"),
        action: given("action"),
        subject_kind: given("subject_kind"),
        subject_id: given("subject_id"),
        ..AuditFilter::default()
    };
    let list = ListQuery { limit: Some(ROWS), cursor: given("cursor") };
    let app = &ask.state.app;
    let listed = app.audit_rows(&filter, &list).await?;
    let names = host_names(app, &listed.items).await?;
    let parameters = ["actor", "action", "subject_kind", "subject_id"].map(|name| (name, fields.text(name)));
    let now = visitor.frame.now;
    page(
        StatusCode::OK,
        &Audit {
            frame: visitor.frame.of(Tab::Audit, "Audit"),
            actor: fields.text("actor").to_owned(),
            subject_id: fields.text("subject_id").to_owned(),
            is_filtered: filter != AuditFilter::default(),
            actions: options(&ACTIONS, fields.text("action")),
            kinds: options(&SUBJECTS, fields.text("subject_kind")),
            rows: listed.items.into_iter().map(|audited| row(audited, &names, now)).collect(),
            pager: pager("/audit", &parameters, list.cursor.is_some(), listed.next_cursor.as_deref()),
        },
    )
}

/// What there is to choose; what stands in the address is among it, known or not.
fn options(known: &[(&str, &str)], chosen: &str) -> Vec<(String, String, bool)> {
    let option = |(name, word): &(&str, &str)| {
        let word = word.trim_end_matches([',', ' ']);
        ((*name).to_owned(), words::capitalised(word), *name == chosen)
    };
    let mut options: Vec<_> = known.iter().map(option).collect();
    if !chosen.is_empty() && known.iter().all(|(name, _)| *name != chosen) {
        options.push((chosen.to_owned(), chosen.to_owned(), true));
    }
    options
}

/// The names of the hosts of which a page of the log speaks and that are still there, by one look.
async fn host_names(app: &App, rows: &[AuditRow]) -> Result<BTreeMap<String, String>, AppError> {
    let of = |row: &AuditRow| -> Vec<HostId> {
        let subject = (row.subject_kind == "host").then_some(row.subject_id.as_str());
        let agent = (row.actor_kind == ActorKind::Agent).then_some(row.actor.as_str());
        let told = row.detail.get("host_id").and_then(Value::as_str);
        [subject, agent, told].into_iter().flatten().filter_map(|id| id.parse().ok()).collect()
    };
    let mut ids: Vec<HostId> = rows.iter().flat_map(of).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let filter = HostFilter { among: Some(ids), ..HostFilter::default() };
    let found = app.store().hosts(&filter, PageRequest { after: None, limit }).await?;
    Ok(found.items.into_iter().map(|host| (host.id.to_string(), host.name.to_string())).collect())
}

fn row(row: AuditRow, names: &BTreeMap<String, String>, now: Timestamp) -> Row {
    let agent = names.get(&row.actor).filter(|_| row.actor_kind == ActorKind::Agent);
    let told = subject(&row).or_else(|| names.get(&row.subject_id).cloned());
    let on = row.detail.get("host_id").and_then(Value::as_str);
    let on = on.and_then(|id| Some((names.get(id)?.clone(), format!("/hosts/{id}"))));
    let itself = row.subject_kind == "user" && !row.action.starts_with("user.");
    Row {
        at: Moment::new(row.at, now),
        exact: words::exact(row.at),
        actor_href: agent.map(|_| format!("/hosts/{}", row.actor)),
        href: page_of(&row).filter(|_| row.subject_kind != "host" || names.contains_key(&row.subject_id)),
        facts: facts(&row),
        deed: deed(&row.action),
        subject: match told {
            Some(told) => told,
            // Whoever logs in or out is the one who did it.
            None if itself => String::new(),
            None => words::short(&row.subject_id),
        },
        host: on,
        same: address("/audit", &[("subject_id", &row.subject_id)]),
        actor: match agent {
            // It is written down by the server, but done by whoever typed that name.
            _ if row.action == "login.failed" => "Somebody".to_owned(),
            _ if row.action == "host.announced" => "A machine".to_owned(),
            Some(name) => format!("the agent of {name}"),
            None => words::actor(&Actor { kind: row.actor_kind, name: row.actor }),
        },
        action: row.action,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_address_can_be_chosen_even_when_it_is_not_known() {
        let chosen =
            |text| options(&SUBJECTS, text).into_iter().filter(|(.., chosen)| *chosen).collect::<Vec<_>>();
        assert_eq!(chosen("repo"), [("repo".to_owned(), "A repository".to_owned(), true)]);
        assert_eq!(chosen("shelf"), [("shelf".to_owned(), "shelf".to_owned(), true)]);
        assert!(chosen("").is_empty());
    }
}
