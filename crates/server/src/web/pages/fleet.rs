//! The fleet: is anything wrong, and where.

mod row;

use std::sync::Arc;

use askama::Template;
use http::StatusCode;
use restic_manager_core::api::{Attention, FleetStatus, Page, Presence};
use restic_manager_core::text::Tag;
use restic_manager_core::time::Timestamp;

use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::{Fields, address};
use super::frame::{Frame, Tab, Visitor};
use super::parts::{Moment, Pager, Prose, Tone};
use super::table::{Route, look};
use super::{ROWS, page, words};
use crate::app::{FleetQuery, ListQuery, Standing};
use row::HostLine;

/// How many things that need a person are seen without opening the rest.
const WRONGS: usize = 5;

pub(super) fn routes() -> Vec<Route> {
    vec![look("/", fleet)]
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct Fleet {
    frame: Frame,
    /// The address of what is shown, for a script that keeps it true.
    here: String,
    verdict: (Tone, String, String),
    status: FleetStatus,
    failing: u64,
    wrongs: Vec<Wrong>,
    more_wrongs: Vec<Wrong>,
    filter: Filter,
    hosts: Vec<HostLine>,
    pager: Pager,
}

impl Fleet {
    fn number(&self, value: &u64) -> String {
        words::number(*value)
    }

    fn away(&self) -> u64 {
        self.status.hosts.saturating_sub(self.status.hosts_online)
    }
}

/// Something that needs a person.
struct Wrong {
    id: String,
    /// The worst has the lowest.
    rank: u8,
    tone: Tone,
    href: String,
    message: Prose,
    hint: Prose,
    since: Moment,
}

/// The filter as it was typed, and what of it makes no sense.
#[derive(Default)]
struct Filter {
    q: String,
    tag: String,
    state: String,
    wrong_tag: Option<String>,
}

/// How hosts may stand: the name in the address, the word, and what it means.
const STANDINGS: [(&str, &str, Standing); 5] = [
    ("failing", "last job failed", Standing::Failing),
    ("offline", "offline", Standing::Contact(Presence::Offline)),
    ("never_seen", "never seen", Standing::Contact(Presence::NeverSeen)),
    ("online", "online", Standing::Contact(Presence::Online)),
    ("busy", "busy", Standing::Busy),
];

impl Filter {
    fn is_set(&self) -> bool {
        !(self.q.is_empty() && self.tag.is_empty() && self.state.is_empty())
    }

    fn states(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        let any = ("", "any", self.state.is_empty());
        std::iter::once(any).chain(STANDINGS.map(|(name, word, _)| (name, word, self.state == name)))
    }
}

async fn fleet(visitor: Visitor, ask: Ask) -> Answer {
    let fields = Fields::parse(ask.query_text().as_bytes());
    let app = &ask.state.app;
    let now = visitor.frame.now;
    let glance = app.glance().await?;
    let (filter, query) = read_filter(&fields);
    let list = ListQuery { limit: Some(ROWS), cursor: fields.given("cursor").map(str::to_owned) };
    let hosts = match query {
        Some(query) => app.fleet(&query, &list).await?,
        None => Arc::new(Page { items: Vec::new(), next_cursor: None }),
    };
    let parameters = [("q", filter.q.as_str()), ("tag", &filter.tag), ("state", &filter.state)];
    let pager = pager("/", &parameters, list.cursor.is_some(), hosts.next_cursor.as_deref());
    let mut whole = parameters.to_vec();
    whole.push(("cursor", fields.text("cursor")));
    let here = address("/", &whole);
    let status = glance.status.clone();
    let mut wrongs: Vec<Wrong> = status.attention.iter().map(|attention| wrong(attention, now)).collect();
    wrongs.sort_by_key(|wrong| wrong.rank);
    let more_wrongs = wrongs.split_off(wrongs.len().min(WRONGS));
    page(
        StatusCode::OK,
        &Fleet {
            frame: visitor.frame.of(Tab::Fleet, "Fleet"),
            here,
            verdict: verdict(&status),
            failing: glance.failing.len() as u64,
            status,
            wrongs,
            more_wrongs,
            hosts: hosts.items.iter().map(|row| HostLine::new(row, now)).collect(),
            filter,
            pager,
        },
    )
}

/// The filter as it was typed, and as a query when it makes sense.
fn read_filter(fields: &Fields) -> (Filter, Option<FleetQuery>) {
    let text = |name: &str| fields.text(name).to_owned();
    let mut filter = Filter { q: text("q"), tag: text("tag"), state: text("state"), wrong_tag: None };
    let standing = STANDINGS.iter().find(|(name, ..)| *name == filter.state).map(|(.., standing)| *standing);
    if standing.is_none() {
        filter.state.clear();
    }
    let tag = match fields.given("tag").map(Tag::new).transpose() {
        Ok(tag) => tag,
        Err(error) => {
            filter.wrong_tag = Some(words::capitalised(&error.to_string()));
            return (filter, None);
        }
    };
    let q = fields.given("q").map(str::to_owned);
    (filter, Some(FleetQuery { q, tag, standing }))
}

/// The pages of a list behind these parameters.
pub(super) fn pager(path: &str, parameters: &[(&str, &str)], inside: bool, next: Option<&str>) -> Pager {
    let next = next.map(|cursor| {
        let mut parameters = parameters.to_vec();
        parameters.push(("cursor", cursor));
        address(path, &parameters)
    });
    Pager { first: inside.then(|| address(path, parameters)), next }
}

/// Whether anything is wrong, in one line and a further one.
fn verdict(status: &FleetStatus) -> (Tone, String, String) {
    let wrongs = status.attention.len() as u64;
    if status.hosts == 0 {
        return (Tone::Off, "No hosts yet".to_owned(), "The first one is added below.".to_owned());
    }
    if wrongs == 0 {
        return (Tone::Ok, "All is well".to_owned(), "Nothing needs a person.".to_owned());
    }
    let worst = status.attention.iter().any(|attention| tone(attention) == Tone::Bad);
    let needs = if wrongs == 1 { "needs a person" } else { "need a person" };
    let tone = if worst { Tone::Bad } else { Tone::Warn };
    (tone, format!("{} {needs}", words::count(wrongs, "thing")), "Worst first, below.".to_owned())
}

fn tone(attention: &Attention) -> Tone {
    match attention.code.as_str() {
        "job_warning" | "never_seen" => Tone::Warn,
        _ => Tone::Bad,
    }
}

/// A backup that failed and will not mend itself comes before a machine that may only be asleep.
fn rank(attention: &Attention) -> u8 {
    match attention.code.as_str() {
        "job_failed" => 0,
        "restic_missing" | "schedule_without_target" => 1,
        "job_quiet" => 2,
        "host_offline" => 3,
        "job_warning" => 4,
        "never_seen" => 5,
        _ => 1,
    }
}

fn wrong(attention: &Attention, now: Timestamp) -> Wrong {
    let path = match attention.subject_kind.as_str() {
        "host" => "/hosts",
        "repo" => "/repos",
        _ => "/jobs",
    };
    Wrong {
        id: format!("{}-{}", attention.code, attention.subject_id),
        rank: rank(attention),
        tone: tone(attention),
        href: format!("{path}/{}", attention.subject_id),
        message: Prose::sentence(&attention.message),
        hint: Prose::sentence(&attention.hint),
        since: Moment::or(attention.since, now, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_failed_comes_before_a_machine_that_may_only_sleep() {
        let attention = |code: &str| Attention {
            code: code.to_owned(),
            subject_kind: "job".to_owned(),
            subject_id: String::new(),
            message: String::new(),
            hint: String::new(),
            since: None,
        };
        let mut codes =
            ["never_seen", "job_warning", "host_offline", "job_quiet", "restic_missing", "job_failed"];
        codes.sort_by_key(|code| rank(&attention(code)));
        assert_eq!(
            codes,
            ["job_failed", "restic_missing", "job_quiet", "host_offline", "job_warning", "never_seen"]
        );
    }
}
