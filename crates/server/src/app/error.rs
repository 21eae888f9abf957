//! Refusals and faults, as a person gets to see them.

use restic_manager_core::api::ErrorBody;
use restic_manager_store::StoreError;

use crate::engine::EngineError;
use crate::vault::VaultError;

/// What kind of error it is; the HTTP shell makes the status of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the request cannot be understood.
    Malformed,
    /// 401: nobody is logged in.
    Unauthenticated,
    /// 403: not allowed.
    Forbidden,
    /// 404: there is no such thing.
    NotFound,
    /// 405: not this method.
    MethodNotAllowed,
    /// 409: the world is not so.
    Conflict,
    /// 410: it was there once.
    Gone,
    /// 413: too much.
    TooLarge,
    /// 415: not JSON.
    UnsupportedMedia,
    /// 422: understood, but a value is not possible.
    Invalid,
    /// 426: another protocol is wanted.
    UpgradeRequired,
    /// 429: too often.
    TooMany,
    /// 500: our fault.
    Internal,
    /// 503: not at present.
    Unavailable,
}

impl ErrorKind {
    /// The status with which HTTP says so.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::Invalid => 422,
            Self::UpgradeRequired => 426,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

/// A refusal or a fault: a stable code, a sentence that names the thing, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl AppError {
    /// A refusal.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), hint: None, source: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// There is no such thing.
    pub fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, "not_found", format!("there is no {what} {id}"))
    }

    /// A value is not possible; `field` is its path in the request.
    pub fn invalid(field: &str, why: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, "invalid", format!("`{field}`: {why}"))
    }

    /// Another thing has that name.
    pub fn name_taken(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Conflict, "name_taken", format!("there is another {what} named `{name}`"))
            .hint("choose another name")
    }

    /// The kind.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The body of the answer. What caused a fault stays in the log.
    pub fn body(&self) -> ErrorBody {
        ErrorBody { code: self.code.to_owned(), message: self.message.clone(), hint: self.hint.clone() }
    }

    /// A fault of ours, with what caused it for the log.
    pub(crate) fn fault(
        code: &'static str,
        message: &str,
        hint: &str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind: ErrorKind::Internal,
            code,
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
            source: Some(Box::new(source)),
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self {
                kind: ErrorKind::Unavailable,
                code: "disk_full",
                message: "the disk of the server's database is full".to_owned(),
                hint: Some("free some space in the server's data directory, then try again".to_owned()),
                source: Some(Box::new(StoreError::DiskFull)),
            },
            StoreError::BadCursor { why, .. } => {
                Self::invalid("cursor", why).hint("hand back the `next_cursor` of the page before as it is")
            }
            error @ (StoreError::Open { .. }
            | StoreError::NotADatabase { .. }
            | StoreError::OfAnotherProgram { .. }
            | StoreError::TooNew { .. }
            | StoreError::Unreadable { .. }
            | StoreError::Missing { .. }
            | StoreError::Backend { .. }) => Self::fault(
                "store_failed",
                "the server's database failed",
                "see the server's log for the cause",
                error,
            ),
        }
    }
}

impl From<VaultError> for AppError {
    fn from(error: VaultError) -> Self {
        Self::fault(
            "credential_unreadable",
            "the stored credential cannot be read",
            "set the credential anew; the server's log says what is wrong with it",
            error,
        )
    }
}

impl From<EngineError> for AppError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Vault(error) => error.into(),
        }
    }
}
