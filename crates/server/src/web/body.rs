//! Reading a body, JSON or a form: of the right type, of bounded size, and with a name for what is wrong. How long it may take is
//! the accept loop's matter.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::de::DeserializeOwned;

use super::Body;
use super::answer::Refusal;
use crate::app::{AppError, ErrorKind};

/// The most bytes of a body.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// A body that is too large is read on for so long, so that its sender gets to see the answer instead of a broken pipe.
const DRAINED_BYTES: usize = 8 << 20;

/// Reads the body as one JSON value of that type.
pub(super) async fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &mut Body) -> Result<T, Refusal> {
    check_type(headers)?;
    Ok(parse(&read(headers, body).await?)?)
}

/// Reads the body as one JSON value of that type; the default where there is no body.
pub(super) async fn json_or_default<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<T, Refusal> {
    let bytes = read(headers, body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    check_type(headers)?;
    Ok(parse(&bytes)?)
}

/// Whether the body is a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    essence(headers).is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// Reads the body of a form of ours as it was sent.
pub(super) async fn form(headers: &HeaderMap, body: &mut Body) -> Result<Bytes, Refusal> {
    if is_form(headers) {
        return Ok(read(headers, body).await?);
    }
    let error = AppError::new(ErrorKind::UnsupportedMedia, "form_expected", "the request is no form");
    Err(error.hint("programs use the paths below /api; GET /api/openapi.json lists them").into())
}

fn essence(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    given.as_deref().and_then(|value| value.split(';').next()).map(|essence| essence.trim().to_owned())
}

fn check_type(headers: &HeaderMap) -> Result<(), AppError> {
    let essence = essence(headers);
    let essence = essence.as_deref();
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let message = match essence {
        None => "the request has no Content-Type".to_owned(),
        Some(other) => format!("the Content-Type is `{}`", other.chars().take(64).collect::<String>()),
    };
    Err(AppError::new(ErrorKind::UnsupportedMedia, "json_expected", message)
        .hint("send JSON with `Content-Type: application/json`"))
}

async fn read(headers: &HeaderMap, body: &mut Body) -> Result<Bytes, AppError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut too_large = announced.is_some_and(|length| length > MAX_BYTES as u64);
    let mut bytes = BytesMut::new();
    let mut seen = 0usize;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            tracing::debug!(%error, "a body broke off");
            AppError::new(ErrorKind::Malformed, "body_incomplete", "the body broke off or came too slowly")
        })?;
        seen = seen.saturating_add(piece.len());
        too_large |= seen > MAX_BYTES;
        if seen > DRAINED_BYTES {
            break;
        }
        if !too_large {
            bytes.extend_from_slice(&piece);
        }
    }
    if too_large {
        let message = format!("the body is larger than {MAX_BYTES} bytes");
        return Err(AppError::new(ErrorKind::TooLarge, "body_too_large", message));
    }
    Ok(bytes.freeze())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AppError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        refuse(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| refuse(".", &error))?;
    Ok(value)
}

fn refuse(path: &str, error: &serde_json::Error) -> AppError {
    match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            invalid(path, text.strip_suffix(&place).unwrap_or(&text))
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            AppError::new(ErrorKind::Malformed, "malformed_json", format!("the body is no JSON: {error}"))
        }
    }
}

/// A value that is not possible, by the path of its field. A field that is unknown or missing is named by the text.
pub(super) fn invalid(path: &str, why: &str) -> AppError {
    let names_itself = why.starts_with("unknown field")
        || why.starts_with("missing field")
        || why.starts_with("duplicate field");
    let root = path.is_empty() || path == ".";
    match (root, names_itself) {
        (true, _) => AppError::new(ErrorKind::Invalid, "invalid", why),
        (false, true) => {
            // The path of an unknown field ends in the field itself.
            let parent =
                path.rsplit_once('.').map(|(parent, _)| parent).filter(|_| why.starts_with("unknown"));
            match parent {
                Some(parent) => AppError::invalid(parent, why),
                None if why.starts_with("missing") => AppError::invalid(path, why),
                None => AppError::new(ErrorKind::Invalid, "invalid", why),
            }
        }
        (false, false) => AppError::invalid(path, why),
    }
}

#[cfg(test)]
mod tests {
    use restic_manager_core::api::{PrimaryCredentialWrite, RepoWrite, SourceGroupWrite};

    use super::*;

    fn message<T: DeserializeOwned>(text: &str) -> (ErrorKind, String) {
        let Err(error) = parse::<T>(text.as_bytes()) else { panic!("{text} was taken") };
        (error.kind(), error.to_string())
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let relative = r#"{"name": "home", "includes": ["/srv", "srv"]}"#;
        assert_eq!(
            message::<SourceGroupWrite>(relative),
            (
                ErrorKind::Invalid,
                "`includes[1]`: the path `srv` is relative; give it from the root, such as /home".to_owned()
            )
        );
        let number = r#"{"name": "home", "includes": ["/srv"], "retry_max": "3"}"#;
        assert_eq!(
            message::<SourceGroupWrite>(number).1,
            "`retry_max`: invalid type: string \"3\", expected u32"
        );
    }

    #[test]
    fn an_unknown_and_a_missing_field_are_named() {
        let text = message::<RepoWrite>(r#"{"name": "nas", "colour": "red"}"#).1;
        assert_eq!(text, "unknown field `colour`, expected `name`");
        assert_eq!(message::<RepoWrite>("{}").1, "missing field `name`");
        let nested = message::<PrimaryCredentialWrite>(r#"{"credential": {"url": "/x", "pass": "y"}}"#).1;
        assert!(nested.starts_with("`credential`: unknown field `pass`, expected one of "), "{nested}");
        assert_eq!(
            message::<PrimaryCredentialWrite>(r#"{"credential": {"url": "/x"}}"#).1,
            "`credential`: missing field `password`"
        );
    }

    #[test]
    fn what_is_no_json_is_malformed_and_not_invalid() {
        for text in ["", "{", "{\"name\": \"x\"} tail", "\u{0}"] {
            assert_eq!(message::<RepoWrite>(text).0, ErrorKind::Malformed, "{text:?}");
        }
    }
}
