//! Short HTTP requests to the server, beside its socket. They block.

use std::time::Duration;

use restic_manager_core::api::ErrorBody;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A client that returns every answer as it came.
pub(crate) fn client() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .user_agent(concat!("restic-manager-agent/", env!("CARGO_PKG_VERSION")));
    config.build().new_agent()
}

/// What the server says in an answer that is an error.
pub(crate) fn error_of(answer: &mut ureq::http::Response<ureq::Body>) -> ErrorBody {
    let status = answer.status();
    answer.body_mut().with_config().limit(64 << 10).read_json().unwrap_or_else(|_| ErrorBody {
        code: status.as_str().to_owned(),
        message: format!("the server answered HTTP {status}"),
        hint: None,
    })
}
