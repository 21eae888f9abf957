//! The one table of routes.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use http::header::{ALLOW, HeaderValue};
use matchit::Router;
use restic_manager_core::model::Host;
use utoipa::openapi::path::{HttpMethod, Operation, ParameterIn};
use utoipa::openapi::{RefOr, Schema};
use warp::reply::Response;

use super::answer::Refusal;
use super::ask::Ask;
use super::guard::User;
use super::{document, routes};
use crate::app::{AppError, ErrorKind};

/// What a handler answers.
pub(super) type Answer = Result<Response, Refusal>;

/// Who may ask, and what is done then.
pub(super) enum Handler {
    /// Anybody.
    Public(Box<dyn Fn(Ask) -> BoxFuture<'static, Answer> + Send + Sync>),
    /// An enrolled host's agent, by its bearer token.
    Agent(Box<dyn Fn(Host, Ask) -> BoxFuture<'static, Answer> + Send + Sync>),
    /// Somebody logged in, by API token or session cookie.
    User(Box<dyn Fn(User, Ask) -> BoxFuture<'static, Answer> + Send + Sync>),
}

/// A path and a method, what they do, and how they are documented.
pub(super) struct Route {
    /// The method.
    pub(super) method: Method,
    /// The path with its `{parameters}`.
    pub(super) path: String,
    /// Who may ask, and what is done.
    pub(super) handler: Handler,
    /// What the document says of it.
    pub(super) operation: Operation,
    /// The schemas the operation refers to.
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Route {
    /// A route for anybody. `P` is the type that `#[utoipa::path]` makes beside the handler: it knows method and path.
    pub(super) fn public<P, F>(handler: fn(Ask) -> F) -> Self
    where
        P: utoipa::Path + utoipa::__dev::SchemaReferences,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::new::<P>(Handler::Public(Box::new(move |ask| handler(ask).boxed())))
    }

    /// A route for agents.
    pub(super) fn agent<P, F>(handler: fn(Host, Ask) -> F) -> Self
    where
        P: utoipa::Path + utoipa::__dev::SchemaReferences,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::new::<P>(Handler::Agent(Box::new(move |host, ask| handler(host, ask).boxed())))
    }

    /// A route for somebody logged in.
    pub(super) fn user<P, F>(handler: fn(User, Ask) -> F) -> Self
    where
        P: utoipa::Path + utoipa::__dev::SchemaReferences,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::new::<P>(Handler::User(Box::new(move |user, ask| handler(user, ask).boxed())))
    }

    /// Whether it may change something.
    pub(super) fn writes(&self) -> bool {
        !(self.method == Method::GET || self.method == Method::HEAD)
    }

    /// The names its query string may hold.
    pub(super) fn query_names(&self) -> impl Iterator<Item = &str> + Clone {
        let parameters = self.operation.parameters.iter().flatten();
        parameters.filter_map(|parameter| match parameter {
            RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
                Some(parameter.name.as_str())
            }
            RefOr::T(_) | RefOr::Ref(_) => None,
        })
    }

    fn new<P: utoipa::Path + utoipa::__dev::SchemaReferences>(handler: Handler) -> Self {
        let mut schemas = Vec::new();
        P::schemas(&mut schemas);
        let method = match P::methods().first() {
            None | Some(HttpMethod::Get) => Method::GET,
            Some(HttpMethod::Post) => Method::POST,
            Some(HttpMethod::Put) => Method::PUT,
            Some(HttpMethod::Delete) => Method::DELETE,
            Some(HttpMethod::Options) => Method::OPTIONS,
            Some(HttpMethod::Head) => Method::HEAD,
            Some(HttpMethod::Patch) => Method::PATCH,
            Some(HttpMethod::Trace) => Method::TRACE,
        };
        Self { method, path: P::path(), handler, operation: P::operation(), schemas }
    }
}

/// All routes.
pub(super) struct Table {
    routes: Vec<Route>,
    /// By path, then by method.
    paths: Router<BTreeMap<String, usize>>,
    document: Bytes,
}

/// The route of a request, with the parameters of its path.
pub(super) struct Found<'a> {
    pub(super) route: &'a Route,
    pub(super) params: Vec<(String, String)>,
}

impl Table {
    /// Puts the table together.
    ///
    /// # Panics
    ///
    /// When two paths exclude each other: the table is fixed when the program is built, and a test makes it.
    pub(super) fn new() -> Self {
        let routes = routes::all();
        let mut by_path: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        for (at, route) in routes.iter().enumerate() {
            by_path.entry(&route.path).or_default().insert(route.method.to_string(), at);
        }
        let mut paths = Router::new();
        for (path, methods) in by_path {
            paths.insert(path, methods).expect("the paths of the table do not exclude each other");
        }
        let document = document::of(&routes);
        let document =
            Bytes::from(serde_json::to_vec(&document).expect("the document can be written as JSON"));
        Self { routes, paths, document }
    }

    /// The OpenAPI document of the table, as JSON.
    pub(super) fn document(&self) -> Bytes {
        self.document.clone()
    }

    /// Every route.
    #[cfg(test)]
    pub(super) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route for a method and a path; HEAD goes where GET does.
    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Found<'_>, Refusal> {
        let Ok(matched) = self.paths.at(path) else {
            let shown: String = path.chars().take(200).collect();
            let message = format!("there is nothing at `{shown}`");
            return Err(AppError::new(ErrorKind::NotFound, "no_such_route", message)
                .hint("GET /api/openapi.json lists what there is")
                .into());
        };
        let wanted = if method == Method::HEAD { Method::GET } else { method.clone() };
        let Some(at) = matched.value.get(wanted.as_str()) else {
            return Err(not_allowed(method, matched.value.keys()));
        };
        let params = matched.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Found { route: &self.routes[*at], params })
    }
}

fn not_allowed<'a>(method: &Method, known: impl Iterator<Item = &'a String>) -> Refusal {
    let mut allowed: Vec<&str> = known.map(String::as_str).collect();
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(", ");
    let error = AppError::new(
        ErrorKind::MethodNotAllowed,
        "method_not_allowed",
        format!("{method} is not possible here; possible: {allowed}"),
    );
    match HeaderValue::try_from(allowed) {
        Ok(value) => Refusal::from(error).with(ALLOW, value),
        Err(_) => error.into(),
    }
}
