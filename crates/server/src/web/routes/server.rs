//! The server itself: is it alive, what is it, what does it speak.

use http::StatusCode;
use restic_manager_core::api::VersionInfo;
use restic_manager_core::model::Host;
use restic_manager_core::wire::{OLDEST_PROTOCOL, PROTOCOL};
use serde::Serialize;

use super::super::agent_socket;
use super::super::answer::{Refusal, json_bytes, ok};
use super::super::ask::Ask;
use super::super::socket;
use super::super::table::{Answer, Route};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::public::<__path_healthz, _>(healthz),
        Route::public::<__path_readyz, _>(readyz),
        Route::public::<__path_version, _>(version),
        Route::public::<__path_openapi, _>(openapi),
        Route::agent::<__path_agent_socket, _>(agent_socket),
    ]
}

/// The answer of a probe.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::web) struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, description = "It is.", body = Health)))]
async fn healthz(_: Ask) -> Answer {
    Ok(ok(&Health { status: "ok" }))
}

/// Whether the server can do its work: its database answers.
#[utoipa::path(get, path = "/readyz", tag = "server", responses((status = 200, description = "It can.", body = Health)))]
async fn readyz(ask: Ask) -> Answer {
    let answered = ask.state.accounts.needs_bootstrap().await;
    answered.map_err(|error| Refusal::from(error).with_status(StatusCode::SERVICE_UNAVAILABLE))?;
    Ok(ok(&Health { status: "ok" }))
}

/// What the server is.
#[utoipa::path(get, path = "/api/version", tag = "server",
    responses((status = 200, description = "Versions, and whether the first administrator is still to be made.", body = VersionInfo)))]
async fn version(ask: Ask) -> Answer {
    Ok(ok(&VersionInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        oldest_protocol: OLDEST_PROTOCOL,
        needs_bootstrap: ask.state.accounts.needs_bootstrap().await?,
    }))
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "server",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)))]
async fn openapi(ask: Ask) -> Answer {
    Ok(json_bytes(ask.document()))
}

/// The agents' WebSocket. What goes over it is the agent protocol, which `hello` negotiates.
#[utoipa::path(get, path = "/ws/agent", tag = "agents", responses((status = 101, description = "The WebSocket is open.")))]
async fn agent_socket(host: Host, mut ask: Ask) -> Answer {
    let (response, upgrade) = socket::accept(&mut ask)?;
    tokio::spawn(agent_socket::serve(ask.state.connections.clone(), host, upgrade));
    Ok(response)
}
