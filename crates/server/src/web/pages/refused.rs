//! Refusals as pages.

use askama::Template;
use http::StatusCode;
use warp::reply::Response;

use super::super::answer::{Refusal, Told};
use super::frame::{Frame, Tab};
use super::parts::Prose;
use super::words;

#[derive(Template)]
#[template(path = "refused.html")]
struct Refused {
    frame: Frame,
    status: u16,
    message: Prose,
    hint: Option<Prose>,
    code: String,
}

/// A refusal as a page within this frame.
pub(super) fn page(frame: Frame, refusal: Refusal) -> Response {
    let Told { status, body, headers } = refusal.told();
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::CONFLICT => "Not possible as things stand",
        StatusCode::SERVICE_UNAVAILABLE => "Not possible at present",
        StatusCode::INTERNAL_SERVER_ERROR => "A fault of the server",
        _ => "That did not work",
    };
    let refused = Refused {
        frame: frame.of(Tab::Elsewhere, title),
        status: status.as_u16(),
        message: Prose::new(&words::capitalised(&body.message)),
        hint: body.hint.map(|hint| Prose::sentence(&hint)),
        code: body.code,
    };
    let mut response = match super::page(status, &refused) {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    response.headers_mut().extend(headers);
    response
}
