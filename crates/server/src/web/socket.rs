//! The opening handshake of a WebSocket (RFC 6455, section 4.2).
//!
//! Done here and not by warp, whose own websocket keeps more than 100 KiB a connection.

use http::StatusCode;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use warp::reply::Response;

use super::answer::Refusal;
use super::ask::Ask;
use crate::app::{AppError, ErrorKind};

/// The answer that opens the WebSocket, and the connection that becomes one once that answer was sent.
pub(super) fn accept(ask: &mut Ask) -> Result<(Response, OnUpgrade), Refusal> {
    let headers = &ask.headers;
    if !(names(headers, &UPGRADE, "websocket") && names(headers, &CONNECTION, "upgrade")) {
        let error = AppError::new(
            ErrorKind::UpgradeRequired,
            "websocket_expected",
            "only a WebSocket can be opened here",
        )
        .hint("a reverse proxy in between must pass `Upgrade` and `Connection` on");
        return Err(Refusal::from(error).with(UPGRADE, HeaderValue::from_static("websocket")));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        let error = AppError::new(
            ErrorKind::UpgradeRequired,
            "websocket_version",
            "only version 13 of the WebSocket protocol is spoken here",
        );
        return Err(Refusal::from(error).with(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let accepted = key.and_then(|key| HeaderValue::try_from(key).ok());
    let (Some(accepted), Some(upgrade)) = (accepted, ask.upgrade()) else {
        let message =
            "the WebSocket handshake has no `Sec-WebSocket-Key`, or the connection cannot be upgraded";
        return Err(AppError::new(ErrorKind::Malformed, "websocket_handshake", message).into());
    };
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accepted);
    Ok((response, upgrade))
}

/// Whether a header that is a list holds this word.
fn names(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|given| given.trim().eq_ignore_ascii_case(word))
}
