//! Texts that were checked at the edge, so that nothing inside has to check again.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is not what its place asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct TextError {
    what: &'static str,
    problem: String,
}

impl TextError {
    fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self { what, problem: problem.into() }
    }
}

fn length(what: &'static str, text: &str, max: usize) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::new(what, "is empty"));
    }
    let length = text.chars().count();
    if length > max {
        return Err(TextError::new(what, format!("has {length} characters; at most {max} are allowed")));
    }
    Ok(())
}

fn no_control(what: &'static str, text: &str) -> Result<(), TextError> {
    match text.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some('\n' | '\r') => Err(TextError::new(what, "holds a line break; write it on one line")),
        Some(c) => Err(TextError::new(what, format!("holds the control character U+{:04X}", u32::from(c)))),
    }
}

fn word(what: &'static str, text: &str) -> Result<(), TextError> {
    length(what, text, 64)?;
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        None if text.starts_with('-') => Err(TextError::new(what, "starts with `-`")),
        None => Ok(()),
        Some(c) => Err(TextError::new(
            what,
            format!("holds {c:?}; only letters, digits, `-`, `_` and `.` are allowed"),
        )),
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub struct $name(String);

        impl $name {
            /// Checks the text and takes it.
            ///
            /// # Errors
            ///
            /// A [`TextError`] that says what is wrong with it.
            pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
                let text = text.into();
                let check: fn(&str) -> Result<(), TextError> = $check;
                check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;
            fn try_from(text: String) -> Result<Self, TextError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }
    )*};
}

texts! {
    /// The name people see of a host, a repository, a group or a token: 1 to 100 characters on one line.
    DisplayName = |text| { length("the name", text, 100)?; no_control("the name", text) };

    /// The name a person logs in with: 1 to 64 letters, digits, `-`, `_`, `.`.
    LoginName = |text| word("the user name", text);

    /// A restic tag or a label of a host: 1 to 64 letters, digits, `-`, `_`, `.`.
    ///
    /// No comma: restic reads `--tag a,b` as "a and b".
    Tag = |text| word("the tag", text);

    /// The name under which a host's snapshots stand in a repository (`restic --host`): 1 to 255 characters.
    ResticHost = |text| {
        length("the restic host name", text, 255)?;
        no_control("the restic host name", text)?;
        if text.contains(char::is_whitespace) || text.contains(',') || text.starts_with('-') {
            return Err(TextError::new("the restic host name", "holds a space or a comma, or starts with `-`"));
        }
        Ok(())
    };

    /// A file or folder to back up: an absolute path.
    SourcePath = |text| {
        length("the path", text, 4096)?;
        no_control("the path", text)?;
        let windows = matches!(text.as_bytes(), [drive, b':', _, ..] if drive.is_ascii_alphabetic());
        if text.starts_with('/') || windows {
            return Ok(());
        }
        let shown: String = text.chars().take(80).collect();
        Err(TextError::new("the path", format!("`{shown}` is relative; give it from the root, such as /home")))
    };

    /// A pattern as `restic --exclude` takes it.
    ExcludePattern = |text| { length("the exclude pattern", text, 4096)?; no_control("the exclude pattern", text) };

    /// Restic's own id of a repository: 64 lowercase hex digits.
    ResticRepoId = |text| {
        let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex { Ok(()) } else { Err(TextError::new("the repository id", "is not 64 hex digits")) }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_what_people_write_but_no_line_break() {
        assert!(DisplayName::new("Zoë's \"web\" <script> 🦀").is_ok());
        let error = DisplayName::new("a\nb").unwrap_err();
        assert_eq!(error.to_string(), "the name holds a line break; write it on one line");
        assert_eq!(DisplayName::new("  ").unwrap_err().to_string(), "the name is empty");
        assert!(DisplayName::new("x".repeat(101)).unwrap_err().to_string().contains("at most 100"));
    }

    #[test]
    fn a_tag_has_no_comma_and_no_leading_dash() {
        assert!(Tag::new("home.v1_x-2").is_ok());
        assert!(Tag::new("a,b").unwrap_err().to_string().contains("','"));
        assert!(Tag::new("-x").is_err());
        assert!(Tag::new("").is_err());
    }

    #[test]
    fn a_source_path_is_absolute() {
        assert!(SourcePath::new("/srv/data").is_ok());
        assert!(SourcePath::new("C:\\Users").is_ok());
        assert!(SourcePath::new("srv").unwrap_err().to_string().contains("`srv` is relative"));
        assert!(SourcePath::new("é:x").is_err());
        assert!(SourcePath::new("aéx").is_err());
    }

    #[test]
    fn a_text_is_checked_when_it_is_read_from_json() {
        let error = serde_json::from_str::<Tag>("\"a b\"").unwrap_err();
        assert!(error.to_string().contains("the tag holds ' '"), "{error}");
    }
}
