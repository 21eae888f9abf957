//! Answers: the one place that turns results and refusals into HTTP.

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::Stream;
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use restic_manager_core::api::{Accepted, ErrorBody};
use restic_manager_core::secret::Secret;
use serde::Serialize;
use warp::reply::Response;

use super::ask::Ask;
use crate::app::{AppError, ErrorKind};
use crate::engine::chain;
use crate::rate::TooMany;

const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A refusal with the headers that belong to it.
#[derive(Debug)]
pub(super) struct Refusal {
    error: Box<AppError>,
    status: Option<StatusCode>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a refused client is told.
pub(super) struct Told {
    /// The status.
    pub(super) status: StatusCode,
    /// The words.
    pub(super) body: ErrorBody,
    /// Further headers.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// The answer when the reason is only fit for the log.
    pub(super) fn broken() -> Self {
        AppError::new(
            ErrorKind::Internal,
            "internal",
            "the server could not answer because of a fault of its own",
        )
        .hint("the server's log says what happened")
        .into()
    }

    /// The same with a header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same with a status that is not that of its kind.
    pub(super) const fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// What is refused.
    pub(super) const fn error(&self) -> &AppError {
        &self.error
    }

    /// What is refused, for whoever tells of it in a form of their own.
    pub(super) fn into_error(self) -> AppError {
        *self.error
    }

    /// The answer as JSON.
    pub(super) fn into_response(self) -> Response {
        let unauthenticated = self.error.kind() == ErrorKind::Unauthenticated;
        let Told { status, body, headers } = self.told();
        let mut response = json(status, &body);
        if unauthenticated {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.headers_mut().extend(headers);
        response
    }

    /// What the client is told, in whatever form. A fault is logged here, with all its causes, and nowhere else.
    pub(super) fn told(self) -> Told {
        let kind = self.error.kind();
        if kind == ErrorKind::Internal || std::error::Error::source(&*self.error).is_some() {
            tracing::error!(code = self.error.code(), error = %chain(&*self.error), "a request failed");
        }
        let status = self.status.unwrap_or_else(|| status(kind));
        Told { status, body: self.error.body(), headers: self.headers }
    }
}

impl From<AppError> for Refusal {
    fn from(error: AppError) -> Self {
        Self { error: Box::new(error), status: None, headers: Vec::new() }
    }
}

impl From<TooMany> for Refusal {
    fn from(error: TooMany) -> Self {
        let refusal = AppError::new(ErrorKind::TooMany, "too_many_attempts", error.to_string());
        Self::from(refusal).with(RETRY_AFTER, HeaderValue::from(error.seconds))
    }
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => sized(status, JSON, bytes.into()),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            let body = Bytes::from_static(
                br#"{"code":"internal","message":"the server could not write its answer","hint":"see the server's log"}"#,
            );
            sized(StatusCode::INTERNAL_SERVER_ERROR, JSON, body)
        }
    }
}

/// A value as JSON, with 200.
pub(super) fn ok<T: Serialize>(value: &T) -> Response {
    json(StatusCode::OK, value)
}

/// Work was started: JSON for a program, the way to the job's page for a page of ours.
pub(super) fn started(ask: &Ask, accepted: &Accepted) -> Response {
    let page = format!("/jobs/{}", accepted.job_id);
    let Ok(page) = HeaderValue::try_from(page) else { return json(StatusCode::ACCEPTED, accepted) };
    if ask.headers.get(HX_REQUEST).is_some_and(|value| value.as_bytes() == b"true") {
        let mut response = json(StatusCode::ACCEPTED, accepted);
        response.headers_mut().insert(HX_REDIRECT, page);
        return response;
    }
    if ask.is_form() {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, page);
        return response;
    }
    json(StatusCode::ACCEPTED, accepted)
}

/// Bytes that are JSON already.
pub(super) fn json_bytes(bytes: Bytes) -> Response {
    sized(StatusCode::OK, JSON, bytes)
}

/// Done, and there is nothing to say.
pub(super) fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A body of a length that is not known, made piece by piece as the client takes it.
pub(super) fn stream<S, E>(content_type: &'static str, pieces: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + Sync + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let mut response = warp::Reply::into_response(warp::reply::stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The answer with a cookie that holds a secret.
pub(super) fn with_cookie(mut response: Response, cookie: &Secret) -> Response {
    if let Ok(mut value) = HeaderValue::try_from(cookie.expose()) {
        value.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

/// The answer to HEAD: the headers of the answer to GET.
pub(super) fn without_body(response: Response) -> Response {
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Bytes::new().into())
}

/// The headers that every answer carries.
pub(super) fn harden(mut response: Response) -> Response {
    static HEADERS: LazyLock<[(HeaderName, HeaderValue); 5]> = LazyLock::new(|| {
        [
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ]
    });
    for (name, value) in HEADERS.iter() {
        response.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    response
}

/// A body of a known length.
pub(super) fn sized(status: StatusCode, content_type: HeaderValue, bytes: Bytes) -> Response {
    let length = bytes.len();
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Malformed => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Gone => StatusCode::GONE,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
        ErrorKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
