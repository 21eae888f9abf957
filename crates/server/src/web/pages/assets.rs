//! The style sheet and the icon: part of the binary, under names that change with what is in them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::super::answer;
use super::super::ask::Ask;
use super::super::table::Answer;
use super::table::{Route, open};
use crate::app::{AppError, ErrorKind};

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("app", "css", "text/css; charset=utf-8", include_str!("../../../assets/app.css"))
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("favicon", "svg", "image/svg+xml", include_str!("../../../assets/favicon.svg"))
});

struct Asset {
    path: String,
    content_type: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let mut hash = String::new();
        for byte in Sha256::digest(text).iter().take(6) {
            // Writing to a string cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Self { path: format!("/assets/{name}.{hash}.{extension}"), content_type, text }
    }
}

/// Where the style sheet lies.
pub(super) fn style_path() -> &'static str {
    &STYLE.path
}

/// Where the icon lies.
pub(super) fn icon_path() -> &'static str {
    &ICON.path
}

pub(super) fn routes() -> Vec<Route> {
    vec![open("/assets/{name}", asset)]
}

async fn asset(ask: Ask) -> Answer {
    let found = [&STYLE, &ICON]
        .into_iter()
        .find(|asset| asset.path.strip_prefix("/assets/") == Some(ask.param("name")));
    let Some(asset) = found else {
        let message = "there is no such file; the page that asks for it may be of another version";
        return Err(AppError::new(ErrorKind::NotFound, "no_such_asset", message)
            .hint("load the page anew")
            .into());
    };
    let mut response =
        answer::sized(StatusCode::OK, HeaderValue::from_static(asset.content_type), asset.text.into());
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, forever);
    Ok(response)
}
