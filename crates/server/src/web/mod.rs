//! The HTTP API and the dashboard, hosted by warp.
//!
//! One filter takes every request, and one table says what each path and method does. So no route can forget the check of the
//! `Host` header, authentication, CSRF protection, the limits of a body, or its place in the OpenAPI document, which
//! is made from the same table.

mod agent_socket;
mod answer;
mod ask;
mod body;
mod document;
mod guard;
mod newsroom;
mod pages;
mod query;
mod routes;
mod settings;
mod socket;
mod stream;
mod table;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, Method};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::host::Authority;
use warp::reply::Response;

use crate::app::{Accounts, App};
use crate::engine::Connections;
use crate::rate::LoginLimits;
use crate::shell::{BootstrapToken, Peer};

use answer::{Refusal, harden};
use ask::Ask;
use newsroom::Newsroom;
use pages::Pages;
use table::{Found, Handler, Table};

pub use settings::Settings;

/// What the API stands on.
pub struct WebState {
    /// What an operator can do.
    pub app: Arc<App>,
    /// Who may come in.
    pub accounts: Accounts,
    /// How often somebody may try to.
    pub limits: LoginLimits,
    /// The one-time token of the first administrator.
    pub bootstrap: BootstrapToken,
    /// The agents' connections.
    pub connections: Connections,
    /// Ends whatever would go on for ever: sockets, followed logs.
    pub shutdown: CancellationToken,
    /// Where the server is reached.
    pub settings: Settings,
}

/// A request as warp hands it over.
struct Incoming {
    method: Method,
    path: String,
    query: String,
    authority: Option<Authority>,
    headers: HeaderMap,
    upgrade: Option<OnUpgrade>,
    peer: Option<Peer>,
    body: Body,
}

/// A request's body, piece by piece.
type Body = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send + Sync>>;

/// The API and the dashboard as one filter that answers every request and rejects none.
pub fn routes(state: Arc<WebState>) -> BoxedFilter<(Response,)> {
    let table = Arc::new(Table::new());
    let newsroom = Newsroom::open(&state.app, state.shutdown.clone());
    let pages = Arc::new(Pages::new(newsroom));
    // A target without an authority that can be understood is refused by the guard, with an answer of ours.
    let authority = warp::host::optional().or(warp::any().map(|| None)).unify();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let body = warp::body::stream().map(|stream| {
        let pieces = StreamExt::map(stream, |piece: Result<_, warp::Error>| piece.map(to_bytes));
        Box::pin(pieces) as Body
    });
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(authority)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::ext::optional::<Peer>())
        .and(body)
        .map(|method, path: warp::path::FullPath, query, authority, headers, upgrade, peer, body| {
            let path = path.as_str().to_owned();
            Incoming { method, path, query, authority, headers, upgrade, peer, body }
        })
        .then(move |incoming| serve(Arc::clone(&state), Arc::clone(&table), Arc::clone(&pages), incoming))
        .recover(|rejection| async move {
            tracing::error!(?rejection, "a request fell through the filters");
            Ok::<_, Infallible>(harden(Refusal::broken().into_response()))
        })
        .unify()
        .boxed()
}

fn to_bytes(mut piece: impl Buf) -> Bytes {
    piece.copy_to_bytes(piece.remaining())
}

async fn serve(state: Arc<WebState>, table: Arc<Table>, pages: Arc<Pages>, incoming: Incoming) -> Response {
    let head_only = incoming.method == Method::HEAD;
    let (method, path) = (incoming.method.clone(), incoming.path.clone());
    let response = if pages.own(&incoming) {
        pages.answer(state, table, incoming).await
    } else {
        answer(state, table, incoming).await.unwrap_or_else(Refusal::into_response)
    };
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    harden(if head_only { answer::without_body(response) } else { response })
}

async fn answer(state: Arc<WebState>, table: Arc<Table>, incoming: Incoming) -> Result<Response, Refusal> {
    let host = guard::known_host(&state.settings, &incoming)?;
    let Found { route, params } = table.find(&incoming.method, &incoming.path)?;
    query::check_names(&incoming.query, route.query_names())?;
    let client = state.settings.client(incoming.peer, &incoming.headers);
    let changes = !incoming.method.is_safe();
    let mut ask = Ask::new(Arc::clone(&state), Arc::clone(&table), params, client, host, incoming);
    match &route.handler {
        Handler::Public(handler) => {
            guard::refuse_cross_site(&ask, route)?;
            handler(ask).await
        }
        Handler::Agent(handler) => {
            let host = guard::agent(&ask).await?;
            handler(host, ask).await
        }
        Handler::User(handler) => {
            let user = guard::user(&mut ask, route).await?;
            let answer = handler(user, ask).await;
            if changes {
                state.app.look_anew();
            }
            answer
        }
    }
}
