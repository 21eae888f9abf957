//! Short HTTP requests to the server, beside its socket. They block.

use std::time::Duration;

use restic_manager_core::api::ErrorBody;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A client that returns every answer as it came.
pub(crate) fn client() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .tls_config(TlsConfig::builder().root_certs(roots()).build())
        .user_agent(concat!("restic-manager-agent/", env!("CARGO_PKG_VERSION")));
    config.build().new_agent()
}

/// The machine's own authorities, as for the socket, so that one of a company's own is trusted; where the machine has none, those of
/// the web.
fn roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates: Vec<Certificate<'static>> =
        found.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    RootCerts::new_with_certs(&certificates)
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
