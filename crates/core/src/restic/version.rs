//! Restic's version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A release of restic, ordered as releases follow each other.
///
/// Its text form is `0.18.0`; a suffix such as `-dev` counts as the release it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

/// A text that names no version of restic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no restic version; `restic version` should print a line such as `restic 0.18.0 compiled with ...`"
)]
pub struct VersionError {
    text: String,
}

impl Version {
    /// The oldest release this crate knows how to drive.
    pub const OLDEST_SUPPORTED: Self = Self::new(0, 14, 0);

    /// Names a release.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Whether this crate knows how to drive it.
    pub fn is_supported(self) -> bool {
        self >= Self::OLDEST_SUPPORTED
    }

    /// Reads the output of `restic version --json`, or its plain text where a restic (0.14.0) ignores `--json`.
    ///
    /// # Errors
    ///
    /// No line of the output names a version.
    pub fn from_output(output: &str) -> Result<Self, VersionError> {
        output.lines().find_map(from_line).ok_or_else(|| VersionError::of(output))
    }
}

#[derive(Deserialize)]
struct VersionObject {
    version: String,
}

fn from_line(line: &str) -> Option<Version> {
    let line = line.trim();
    if line.starts_with('{') {
        return serde_json::from_str::<VersionObject>(line).ok()?.version.parse().ok();
    }
    line.strip_prefix("restic ")?.split_whitespace().next()?.parse().ok()
}

impl VersionError {
    fn of(text: &str) -> Self {
        Self { text: text.chars().take(80).collect() }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let release = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = release.strip_prefix('v').unwrap_or(release).split('.');
        let mut number = || parts.next().and_then(plain_number);
        let (Some(major), Some(minor)) = (number(), number()) else {
            return Err(VersionError::of(text));
        };
        let patch = match parts.next() {
            None => 0,
            Some(part) => plain_number(part).ok_or_else(|| VersionError::of(text))?,
        };
        if parts.next().is_some() {
            return Err(VersionError::of(text));
        }
        Ok(Self { major, minor, patch })
    }
}

/// Digits only: `u32::from_str` would take a leading plus sign.
fn plain_number(part: &str) -> Option<u32> {
    part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_0_14_and_the_json_of_newer_ones_are_read() {
        let old = "restic 0.14.0 compiled with go1.19.8 on linux/amd64\n";
        assert_eq!(Version::from_output(old).unwrap(), Version::new(0, 14, 0));
        let new = "{\"message_type\":\"version\",\"version\":\"0.19.1\",\"go_version\":\"go1.26.4\"}\n";
        assert_eq!(Version::from_output(new).unwrap(), Version::new(0, 19, 1));
        let dev = "restic 0.18.0-dev (compiled manually) compiled with go1.24.4 on linux/amd64";
        assert_eq!(Version::from_output(dev).unwrap().to_string(), "0.18.0");
        assert_eq!(String::from(Version::new(0, 19, 1)), "0.19.1");
    }

    #[test]
    fn what_names_no_version_is_refused() {
        for text in ["", "0.14", "restic", "restic x.y", "{\"version\":7}", "bash: restic: command not found"]
        {
            assert!(Version::from_output(text).is_err(), "{text}");
        }
        for text in ["", "1", "1.2.3.4", "a.b.c", "0.+14.0", "0.1x"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert_eq!("v0.14".parse::<Version>().unwrap(), Version::new(0, 14, 0));
    }

    #[test]
    fn releases_are_ordered_by_number_and_not_by_text() {
        assert!(Version::new(0, 9, 6) < Version::OLDEST_SUPPORTED);
        assert!(Version::new(0, 14, 0).is_supported());
        assert!(!Version::new(0, 13, 1).is_supported());
        assert!(Version::new(1, 0, 0) > Version::new(0, 19, 1));
    }
}
