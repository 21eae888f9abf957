//! What the paths do: each handler takes a request apart, calls one method of the application, and renders what it says.
//!
//! The annotation above a handler is where its method and its path come from, for the table as for the OpenAPI document.

mod admin_credentials;
mod announcing;
mod attachments;
pub(super) mod auth;
mod enrolment;
mod fleet;
mod follow;
mod groups;
mod hosts;
mod jobs;
mod log;
mod maintenance;
mod pending;
mod repos;
mod schedules;
mod server;
mod tokens;

use super::table::Route;
use crate::app::ListQuery;

/// Every route there is.
pub(super) fn all() -> Vec<Route> {
    [
        server::routes(),
        auth::routes(),
        tokens::routes(),
        enrolment::routes(),
        announcing::routes(),
        hosts::routes(),
        repos::routes(),
        attachments::routes(),
        groups::routes(),
        schedules::routes(),
        maintenance::routes(),
        admin_credentials::routes(),
        jobs::routes(),
        pending::routes(),
        fleet::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The body of a request that has none: an empty one, or an empty JSON object. Anything in it is refused by name.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

/// The parameters of every list.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct PageParams {
    /// At most so many items: 1 to 500, 100 when not given.
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

impl From<PageParams> for ListQuery {
    fn from(params: PageParams) -> Self {
        Self { limit: params.limit, cursor: params.cursor }
    }
}
