//! The dashboard: pages made on the server, over the same façade as the JSON API, and whole without a script.
//!
//! A page is asked for by the cookie of a session; whoever has none is sent to the login. Every form carries the token
//! of its session. Refusals are pages too.

mod assets;
mod attachments;
mod audit;
mod audit_words;
mod cadence;
mod calendar;
mod chart;
mod compress;
mod connection;
mod dates;
mod door;
mod fields;
mod fleet;
mod form;
mod frame;
mod health;
mod history;
mod host;
mod host_head;
mod host_settings;
mod job;
mod jobs;
mod log_tail;
mod month;
mod newcomers;
mod parts;
mod pending_runs;
mod preview;
mod refused;
mod repo_settings;
mod repos;
mod schedules;
mod settings;
mod snapshots;
mod sources;
mod spark;
mod table;
#[cfg(test)]
mod tests;
mod theme;
mod upkeep;
mod words;

use std::sync::Arc;

use http::header::{ACCEPT, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use warp::reply::Response;

use super::answer::Refusal;
use super::ask::Ask;
use super::newsroom::Newsroom;
use super::table::{Answer, Table};
use super::{Incoming, WebState, guard};
use compress::Coding;
use door::Asked;
use fields::Fields;
use frame::{Frame, Visitor};
use table::{Found, Handler, PageTable};

/// The rows of a page of a list.
const ROWS: u32 = 50;

/// All pages.
pub(super) struct Pages {
    table: PageTable,
    newsroom: Newsroom,
}

impl Pages {
    /// Puts the pages together.
    pub(super) fn new(newsroom: Newsroom) -> Self {
        Self { table: PageTable::new(), newsroom }
    }

    /// Whether a request is one for a page: what lies at a page's path, and whatever a browser looks for outside of the
    /// API, so that it is refused in a form that people read.
    pub(super) fn own(&self, incoming: &Incoming) -> bool {
        let machine = ["/api", "/ws", "/healthz", "/readyz"];
        let for_machines = machine.iter().any(|prefix| {
            incoming.path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let accept = incoming.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        !for_machines && (self.table.knows(&incoming.path) || accept.contains("text/html"))
    }

    /// Answers a request for a page.
    pub(super) async fn answer(
        &self,
        state: Arc<WebState>,
        table: Arc<Table>,
        incoming: Incoming,
    ) -> Response {
        let mut frame = Frame::outside(state.app.clock().now(), &incoming.headers);
        let coding = Coding::of_page(&incoming.headers);
        let response = match self.respond(state, table, incoming, &mut frame).await {
            Ok(response) => response,
            Err(refusal) => refused::page(frame, refusal),
        };
        compress::page(coding, response).await
    }

    /// The answer; `frame` learns who asks as soon as that is known, so that a refusal is shown within it.
    async fn respond(
        &self,
        state: Arc<WebState>,
        table: Arc<Table>,
        incoming: Incoming,
        frame: &mut Frame,
    ) -> Answer {
        let host = guard::known_host(&state.settings, &incoming)?;
        let Found { handler, params } = self.table.find(&incoming.method, &incoming.path)?;
        let client = state.settings.client(incoming.peer, &incoming.headers);
        let asked = Asked::of(&incoming);
        let writes = incoming.method == Method::POST;
        let mut ask = Ask::new(state, table, params, client, host, incoming);
        match handler {
            Handler::Open(open) => {
                if writes {
                    guard::refuse_foreign(&ask)?;
                }
                open(ask).await
            }
            Handler::Listen => match guard::session(&ask).await? {
                Some(_) => self.newsroom.listen(&ask),
                None => door::send_in(&ask, &asked).await,
            },
            Handler::Look(look) => {
                let Some((session, cookie)) = guard::session(&ask).await? else {
                    return door::send_in(&ask, &asked).await;
                };
                let visitor = Visitor::of(&ask, session, &cookie);
                *frame = visitor.frame.clone();
                look(visitor, ask).await
            }
            Handler::Act(act) => {
                let Some((session, cookie)) = guard::session(&ask).await? else {
                    return door::send_in(&ask, &asked).await;
                };
                let visitor = Visitor::of(&ask, session, &cookie);
                *frame = visitor.frame.clone();
                let form = Fields::parse(&ask.form().await?);
                guard::check_form(&ask, &visitor.session, &form.secret("csrf"))?;
                let app = Arc::clone(&ask.state.app);
                let answer = act(visitor, form, ask).await;
                // Whoever changed something is led to a page that shows it.
                app.look_anew();
                answer
            }
        }
    }
}

/// A template as an answer.
fn page(status: StatusCode, template: &impl askama::Template) -> Answer {
    match template.render() {
        Ok(html) => Ok(frame::html(status, html)),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            Err(Refusal::broken())
        }
    }
}

/// Sends the browser to a path of ours, by GET.
fn see_other(path: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SEE_OTHER;
    // What no header can carry leads to the first page.
    let location = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}
