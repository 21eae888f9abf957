//! The table of pages: what lies where, and who may ask for it.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use http::header::{ALLOW, HeaderValue};
use matchit::Router;

use super::super::answer::Refusal;
use super::super::ask::Ask;
use super::super::table::Answer;
use super::fields::Fields;
use super::frame::Visitor;
use super::{
    assets, attachments, audit, connection, door, fleet, history, host, host_settings, job, jobs, newcomers,
    pending_runs, preview, repo_settings, repos, schedules, settings, snapshots, sources, theme, upkeep,
};
use crate::app::{AppError, ErrorKind};

/// Who may ask, and what is done then.
pub(super) enum Handler {
    /// Anybody.
    Open(Box<dyn Fn(Ask) -> BoxFuture<'static, Answer> + Send + Sync>),
    /// Somebody logged in, who listens to what happens elsewhere.
    Listen,
    /// Somebody logged in, who looks.
    Look(Box<dyn Fn(Visitor, Ask) -> BoxFuture<'static, Answer> + Send + Sync>),
    /// Somebody logged in, who sends a form; its token was checked.
    Act(Box<dyn Fn(Visitor, Fields, Ask) -> BoxFuture<'static, Answer> + Send + Sync>),
}

/// A path, a method, and what they do.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) handler: Handler,
}

/// A page for anybody.
pub(super) fn open<F>(path: &'static str, handler: fn(Ask) -> F) -> Route
where
    F: Future<Output = Answer> + Send + 'static,
{
    Route { method: Method::GET, path, handler: Handler::Open(Box::new(move |ask| handler(ask).boxed())) }
}

/// A form that anybody may send from a page of ours.
pub(super) fn enter<F>(path: &'static str, handler: fn(Ask) -> F) -> Route
where
    F: Future<Output = Answer> + Send + 'static,
{
    Route { method: Method::POST, ..open(path, handler) }
}

/// A page for somebody logged in.
pub(super) fn look<F>(path: &'static str, handler: fn(Visitor, Ask) -> F) -> Route
where
    F: Future<Output = Answer> + Send + 'static,
{
    let handler = Handler::Look(Box::new(move |visitor, ask| handler(visitor, ask).boxed()));
    Route { method: Method::GET, path, handler }
}

/// A form of somebody logged in.
pub(super) fn act<F>(path: &'static str, handler: fn(Visitor, Fields, Ask) -> F) -> Route
where
    F: Future<Output = Answer> + Send + 'static,
{
    let handler = Handler::Act(Box::new(move |visitor, form, ask| handler(visitor, form, ask).boxed()));
    Route { method: Method::POST, path, handler }
}

/// What happens elsewhere, as it happens.
const fn listen(path: &'static str) -> Route {
    Route { method: Method::GET, path, handler: Handler::Listen }
}

/// Every page.
fn all() -> Vec<Route> {
    [
        assets::routes(),
        door::routes(),
        fleet::routes(),
        newcomers::routes(),
        host::routes(),
        host_settings::routes(),
        connection::routes(),
        attachments::routes(),
        sources::routes(),
        preview::routes(),
        schedules::routes(),
        repos::routes(),
        repo_settings::routes(),
        upkeep::routes(),
        jobs::routes(),
        history::routes(),
        snapshots::routes(),
        pending_runs::routes(),
        job::routes(),
        audit::routes(),
        settings::routes(),
        theme::routes(),
        vec![listen("/live")],
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// All pages by path, then by method.
pub(super) struct PageTable {
    paths: Router<BTreeMap<String, Handler>>,
}

/// The page of a request, with the parameters of its path.
pub(super) struct Found<'a> {
    pub(super) handler: &'a Handler,
    pub(super) params: Vec<(String, String)>,
}

impl PageTable {
    /// Puts the table together.
    ///
    /// # Panics
    ///
    /// When two paths exclude each other: the table is fixed when the program is built, and a test makes it.
    pub(super) fn new() -> Self {
        let mut by_path: BTreeMap<&str, BTreeMap<String, Handler>> = BTreeMap::new();
        for route in all() {
            by_path.entry(route.path).or_default().insert(route.method.to_string(), route.handler);
        }
        let mut paths = Router::new();
        for (path, handlers) in by_path {
            paths.insert(path, handlers).expect("the paths of the pages do not exclude each other");
        }
        Self { paths }
    }

    /// Whether there is a page at this path.
    pub(super) fn knows(&self, path: &str) -> bool {
        self.paths.at(path).is_ok()
    }

    /// The page for a method and a path; HEAD goes where GET does.
    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Found<'_>, Refusal> {
        let Ok(matched) = self.paths.at(path) else {
            let shown: String = path.chars().take(200).collect();
            let message = format!("there is no page at `{shown}`");
            return Err(AppError::new(ErrorKind::NotFound, "no_such_page", message).into());
        };
        let wanted = if method == Method::HEAD { Method::GET } else { method.clone() };
        let Some(handler) = matched.value.get(wanted.as_str()) else {
            return Err(not_allowed(method, matched.value.keys()));
        };
        let params = matched.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Found { handler, params })
    }
}

fn not_allowed<'a>(method: &Method, known: impl Iterator<Item = &'a String>) -> Refusal {
    let allowed = known.map(String::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("{method} is not possible here; possible: {allowed}");
    let error = AppError::new(ErrorKind::MethodNotAllowed, "method_not_allowed", message);
    match HeaderValue::try_from(allowed) {
        Ok(value) => Refusal::from(error).with(ALLOW, value),
        Err(_) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The browser tests go by this list too: a page that is new has to be looked at there.
    #[test]
    fn what_can_be_looked_at() {
        let mut paths: Vec<&str> =
            all().iter().filter(|route| route.method == Method::GET).map(|route| route.path).collect();
        paths.sort_unstable();
        insta::assert_snapshot!("paths", paths.join("\n"));
    }
}
