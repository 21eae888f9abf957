//! Names instead of ids: hosts, repositories, source groups and schedules.

use restic_manager_core::api::Page;
use restic_manager_core::id::JobId;
use serde::Deserialize;

use crate::client::{Body, Client};
use crate::error::CliError;
use crate::exit::Exit;
use crate::route::Route;

const SUGGESTIONS: usize = 3;
const ALIKE: f64 = 0.8;

/// Why a name stands for nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("there is no {kind} `{wanted}`")]
    Unknown { kind: Kind, wanted: String, near: Vec<String> },
    #[error("`{wanted}` names {} of the {}", ids.len(), kind.plural())]
    Ambiguous { kind: Kind, wanted: String, ids: Vec<String> },
    #[error("host `{host}` is not attached to repository `{repo}`")]
    Unattached { host: String, repo: String },
    #[error("no announced host waits under `{wanted}`")]
    NobodyWaits { wanted: String },
    #[error("several announced hosts wait under `{wanted}`")]
    SeveralWait { wanted: String },
}

impl ResolveError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. }
            | Self::Ambiguous { .. }
            | Self::Unattached { .. }
            | Self::NobodyWaits { .. }
            | Self::SeveralWait { .. } => Exit::NotFound,
        }
    }

    const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unknown { kind, near, .. } if near.is_empty() => {
                format!("see what there is: rmctl {}", kind.listing())
            }
            Self::Unknown { kind, near, .. } => {
                format!("did you mean {}? All of them: rmctl {}", near.join(" or "), kind.listing())
            }
            Self::Ambiguous { ids, .. } => format!("use one of the ids: {}", ids.join(", ")),
            Self::Unattached { host, repo } => {
                format!(
                    "attach it, to back up nothing if so: rmctl host attach {host} {repo} --role maintenance"
                )
            }
            Self::NobodyWaits { .. } => {
                "see who waits: rmctl host pending; an announcement is forgotten after an hour".to_owned()
            }
            Self::SeveralWait { .. } => {
                "use the fingerprint that the agent shows on the machine in place of the name".to_owned()
            }
        }
    }
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Host,
    Repo,
    SourceGroup,
    Schedule,
    /// What the audit log tells of by name.
    Subject,
}

impl Kind {
    const fn plural(self) -> &'static str {
        match self {
            Self::Host => "hosts",
            Self::Repo => "repositories",
            Self::SourceGroup => "source groups",
            Self::Schedule => "schedules",
            Self::Subject => "hosts and repositories",
        }
    }

    const fn listing(self) -> &'static str {
        match self {
            Self::Host => "host ls",
            Self::Repo => "repo ls",
            Self::SourceGroup => "source ls HOST",
            Self::Schedule => "schedule ls HOST",
            Self::Subject => "host ls, rmctl repo ls",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Repo => "repository",
            Self::SourceGroup => "source group",
            Self::Schedule => "schedule",
            Self::Subject => "host or repository",
        })
    }
}

/// A thing with its two names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// Picks what was meant: the exact name, else a name that differs in upper and lower case only.
pub(crate) fn pick(kind: Kind, wanted: &str, known: &[Named]) -> Result<Named, ResolveError> {
    let exact: Vec<&Named> = known.iter().filter(|named| named.name == wanted).collect();
    let folded = || known.iter().filter(|named| named.name.to_lowercase() == wanted.to_lowercase()).collect();
    let found: Vec<&Named> = if exact.is_empty() { folded() } else { exact };
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(ResolveError::Unknown { kind, wanted: wanted.to_owned(), near: near(wanted, known) }),
        many => {
            let ids = many.iter().map(|named| named.id.clone()).collect();
            Err(ResolveError::Ambiguous { kind, wanted: wanted.to_owned(), ids })
        }
    }
}

fn near(wanted: &str, known: &[Named]) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .iter()
        .filter_map(|named| {
            let name = named.name.to_lowercase();
            let alike = strsim::jaro_winkler(&wanted, &name);
            let part = !wanted.is_empty() && (name.contains(&wanted) || wanted.contains(&name));
            (part || alike >= ALIKE).then_some((alike, named.name.as_str()))
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(SUGGESTIONS).map(|(_, name)| format!("`{name}`")).collect()
}

/// An id stands for itself. It is the spelling that decides: every id of the fleet is a UUID.
pub(crate) fn is_id(text: &str) -> bool {
    text.parse::<JobId>().is_ok()
}

impl Client {
    /// The id of a host that is named by id or name.
    pub(crate) fn host_id(&self, wanted: &str) -> Result<String, CliError> {
        if is_id(wanted) {
            return Ok(wanted.to_owned());
        }
        self.by_name(Kind::Host, "hosts", wanted)
    }

    /// The id behind a name in a list that can be searched.
    fn by_name(&self, kind: Kind, list: &str, wanted: &str) -> Result<String, CliError> {
        match pick(kind, wanted, &self.searched(list, wanted)?) {
            // Only the whole list can tell which name was probably meant.
            Err(error) if error.is_unknown() => {
                Ok(pick(kind, wanted, &named(&self.all(&Route::new([list]))?)?)?.id)
            }
            picked => Ok(picked?.id),
        }
    }

    /// What of a list has this text in its name.
    fn searched(&self, list: &str, text: &str) -> Result<Vec<Named>, CliError> {
        named(&self.all(&Route::new([list]).with("q", Some(text)))?)
    }

    /// The hosts with this text in their name.
    pub(crate) fn hosts_like(&self, text: &str) -> Result<Vec<Named>, CliError> {
        self.searched("hosts", text)
    }

    /// Under what the audit log has it: a host or a repository that is named by its name under its id. Of what else is
    /// given nothing is known: a failed login stands under the name that was tried.
    pub(crate) fn subject_id(&self, wanted: &str) -> Result<String, CliError> {
        if is_id(wanted) {
            return Ok(wanted.to_owned());
        }
        let known = [self.searched("hosts", wanted)?, self.searched("repos", wanted)?].concat();
        match pick(Kind::Subject, wanted, &known) {
            Err(error) if error.is_unknown() => Ok(wanted.to_owned()),
            picked => Ok(picked?.id),
        }
    }

    /// The id of a repository that is named by id or name.
    pub(crate) fn repo_id(&self, wanted: &str) -> Result<String, CliError> {
        if is_id(wanted) {
            return Ok(wanted.to_owned());
        }
        self.by_name(Kind::Repo, "repos", wanted)
    }

    /// The id of one of the host's source groups.
    pub(crate) fn group_id(&self, host_id: &str, wanted: &str) -> Result<String, CliError> {
        if is_id(wanted) {
            return Ok(wanted.to_owned());
        }
        Ok(pick(Kind::SourceGroup, wanted, &self.groups(host_id)?)?.id)
    }

    /// The id of one of the host's schedules.
    pub(crate) fn schedule_id(&self, host_id: &str, wanted: &str) -> Result<String, CliError> {
        if is_id(wanted) {
            return Ok(wanted.to_owned());
        }
        let schedules = named(&self.all(&Route::new(["hosts", host_id, "schedules"]))?)?;
        Ok(pick(Kind::Schedule, wanted, &schedules)?.id)
    }

    /// All repositories with their names.
    pub(crate) fn repos(&self) -> Result<Vec<Named>, CliError> {
        named(&self.all(&Route::new(["repos"]))?)
    }

    /// The host's source groups with their names.
    pub(crate) fn groups(&self, host_id: &str) -> Result<Vec<Named>, CliError> {
        named(&self.all(&Route::new(["hosts", host_id, "source-groups"]))?)
    }
}

fn named(list: &Body) -> Result<Vec<Named>, CliError> {
    let page: Page<Named> = list.read()?;
    Ok(page.items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Vec<Named> {
        names.iter().enumerate().map(|(n, name)| Named { id: n.to_string(), name: (*name).into() }).collect()
    }

    #[test]
    fn the_exact_name_wins_over_one_in_another_case() {
        let known = known(&["web", "Web", "db"]);
        assert_eq!(pick(Kind::Host, "Web", &known).unwrap().id, "1");
        assert_eq!(pick(Kind::Host, "DB", &known).unwrap().id, "2");
        let error = pick(Kind::Host, "WEB", &known).unwrap_err();
        assert_eq!(error.hint(), "use one of the ids: 0, 1");
        assert_eq!(error.exit(), Exit::NotFound);
        let error = pick(Kind::Repo, "WEB", &known).unwrap_err();
        assert_eq!(error.to_string(), "`WEB` names 2 of the repositories");
    }

    #[test]
    fn an_unknown_name_names_what_was_probably_meant() {
        let known = known(&["web1", "web2", "web3", "web4", "database", "Zoë's 🦀"]);
        let hint = |wanted: &str| pick(Kind::Repo, wanted, &known).unwrap_err().hint();
        assert_eq!(hint("web"), "did you mean `web1` or `web2` or `web3`? All of them: rmctl repo ls");
        assert_eq!(hint("databse"), "did you mean `database`? All of them: rmctl repo ls");
        assert_eq!(hint("quux"), "see what there is: rmctl repo ls");
        assert_eq!(hint(""), "see what there is: rmctl repo ls");
    }

    #[test]
    fn only_a_uuid_is_an_id() {
        assert!(is_id("01900000-0000-7000-8000-000000000000"));
        assert!(!is_id("web1") && !is_id("../x"));
    }
}
