//! What `init` says.

use serde::Deserialize;

use crate::text::ResticRepoId;

/// How an `init` left the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitReport {
    /// It was made. The full id is known where restic says it as JSON; 0.14.0 prints only its first digits.
    Created {
        /// The repository's id, where all of it was said.
        id: Option<ResticRepoId>,
    },
    /// It was there already, which serves as well; whether the password opens it is for `cat config` to tell.
    Adopted,
}

#[derive(Deserialize)]
struct Initialized {
    message_type: String,
    id: ResticRepoId,
}

/// Reads the output of `init`, JSON or text; `None` when it neither made nor found a repository.
pub fn parse_init(stdout: &str, stderr: &str) -> Option<InitReport> {
    if is_already_there(stderr) {
        return Some(InitReport::Adopted);
    }
    stdout.lines().find_map(|line| {
        if line.starts_with("created restic repository ") {
            return Some(InitReport::Created { id: None });
        }
        let object: Initialized = serde_json::from_str(line).ok()?;
        (object.message_type == "initialized").then_some(InitReport::Created { id: Some(object.id) })
    })
}

/// The words of all releases, at the end of a line or of an object's message.
fn is_already_there(stderr: &str) -> bool {
    super::diagnosis::Diagnosis::of(stderr).verdict().lines().any(says_already_there)
}

pub(super) fn says_already_there(line: &str) -> bool {
    line.starts_with("Fatal: ")
        && line.contains("create repository at ")
        && line.trim_end().ends_with("config file already exists")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_the_full_id_and_text_does_not() {
        let id = "ab".repeat(32);
        let json = format!("{{\"message_type\":\"initialized\",\"id\":\"{id}\",\"repository\":\"/r\"}}\n");
        let created = InitReport::Created { id: Some(ResticRepoId::new(id).unwrap()) };
        assert_eq!(parse_init(&json, ""), Some(created));
        let text = "created restic repository d41ae37215 at /r\n\nPlease note that knowledge\n";
        assert_eq!(parse_init(text, ""), Some(InitReport::Created { id: None }));
    }

    #[test]
    fn an_existing_repository_is_adopted() {
        for stderr in [
            "Fatal: create repository at /r failed: config file already exists\n",
            "Fatal: Fatal: create repository at /r failed: config file already exists\n",
            "{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: create repository at /r failed: Fatal: unable to open repository at /r: config file already exists\\n\"}\n",
        ] {
            assert_eq!(parse_init("", stderr), Some(InitReport::Adopted), "{stderr}");
        }
        assert_eq!(parse_init("", "Fatal: create repository at /r failed: 401\n"), None);
        assert_eq!(parse_init("", ""), None);
    }
}
