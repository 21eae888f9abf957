//! Style sheet, scripts and icon: part of the binary, under names that change with what is in them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::super::answer;
use super::super::ask::Ask;
use super::super::table::Answer;
use super::compress::{Coding, Squeezed};
use super::table::{Route, open};
use crate::app::{AppError, ErrorKind};

const SCRIPT: &str = "text/javascript; charset=utf-8";

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("app", "css", "text/css; charset=utf-8", include_str!("../../../assets/app.css"))
});
static OWN_SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("app", "js", SCRIPT, include_str!("../../../assets/app.js")));
static HTMX: LazyLock<Asset> = LazyLock::new(|| {
    let text = concat!(
        include_str!("../../../node_modules/htmx.org/dist/htmx.min.js"),
        "\n",
        include_str!("../../../node_modules/htmx.org/dist/ext/hx-sse.min.js"),
    );
    Asset::new("htmx", "js", SCRIPT, text)
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("favicon", "svg", "image/svg+xml", include_str!("../../../assets/favicon.svg"))
});

struct Asset {
    path: String,
    content_type: &'static str,
    text: &'static str,
    /// Made when first asked for, so that starting the server costs nothing.
    squeezed: LazyLock<Squeezed, Box<dyn FnOnce() -> Squeezed + Send>>,
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let mut hash = String::new();
        for byte in Sha256::digest(text).iter().take(6) {
            // Writing to a string cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        let path = format!("/assets/{name}.{hash}.{extension}");
        let squeezed =
            LazyLock::new(Box::new(|| Squeezed::of(text.as_bytes())) as Box<dyn FnOnce() -> _ + Send>);
        Self { path, content_type, text, squeezed }
    }
}

/// Where the style sheet lies.
pub(super) fn style_path() -> &'static str {
    &STYLE.path
}

/// Where the scripts lie, in the order in which they are run.
pub(super) fn script_paths() -> [&'static str; 2] {
    [&HTMX.path, &OWN_SCRIPT.path]
}

/// Where the icon lies.
pub(super) fn icon_path() -> &'static str {
    &ICON.path
}

pub(super) fn routes() -> Vec<Route> {
    vec![open("/assets/{name}", asset)]
}

async fn asset(ask: Ask) -> Answer {
    let found = [&STYLE, &HTMX, &OWN_SCRIPT, &ICON]
        .into_iter()
        .find(|asset| asset.path.strip_prefix("/assets/") == Some(ask.param("name")));
    let Some(asset) = found else {
        let message = "there is no such file; the page that asks for it may be of another version";
        return Err(AppError::new(ErrorKind::NotFound, "no_such_asset", message)
            .hint("load the page anew")
            .into());
    };
    let kind = HeaderValue::from_static(asset.content_type);
    let mut response = match Coding::wanted(&ask.headers) {
        Some(coding) => coding.mark(answer::sized(StatusCode::OK, kind, asset.squeezed.by(coding))),
        None => answer::sized(StatusCode::OK, kind, asset.text.into()),
    };
    Coding::vary(&mut response);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, forever);
    Ok(response)
}
