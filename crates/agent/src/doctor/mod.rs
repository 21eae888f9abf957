//! Looks at everything an agent needs, and says what is wrong and what to do about it. Changes nothing.

mod repository;

use std::path::{Path, PathBuf};

use restic_manager_core::model::CredentialKind;
use restic_manager_core::secret::Secret;
use restic_manager_core::time::{DAY, SECOND, Timestamp};

use crate::agent::{ALONE_FOR_TOO_LONG, last_contact};
use crate::clock;
use crate::http;
use crate::restic::{ResticBinary, ResticFinder};
use crate::secrets::Secrets;
use crate::server_url::{PlainHttp, ServerUrl};
use crate::session::{self, ConnectError};
use crate::state::{Enrolment, StateDir};

/// A clock that differs more from the server's makes slots come early or late, in milliseconds.
const SKEW: i64 = 30 * SECOND;

/// What to look at.
#[derive(Debug)]
pub struct Checkup {
    /// The agent's state directory.
    pub state_dir: PathBuf,
    /// The key of its secrets.
    pub key_file: PathBuf,
    /// The server, in place of the one it was enrolled at.
    pub server: Option<ServerUrl>,
    /// Whether secrets may cross a network in the clear.
    pub plain_http: PlainHttp,
    /// Finds restic.
    pub finder: ResticFinder,
    /// Restic's cache.
    pub cache_dir: PathBuf,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
}

/// How a thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok {
        /// What was seen.
        seen: String,
    },
    /// Something is wrong.
    Problem {
        /// What.
        what: String,
        /// What to do about it.
        remedy: Option<String>,
    },
}

impl Finding {
    fn ok(subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: Verdict::Ok { seen: seen.into() } }
    }

    fn problem(subject: impl Into<String>, what: impl Into<String>, remedy: Option<String>) -> Self {
        Self { subject: subject.into(), verdict: Verdict::Problem { what: what.into(), remedy } }
    }

    /// Whether something is wrong.
    pub const fn is_problem(&self) -> bool {
        matches!(self.verdict, Verdict::Problem { .. })
    }
}

/// Looks at everything, in the order in which it is needed.
pub async fn examine(checkup: Checkup) -> Vec<Finding> {
    let mut findings = Vec::new();
    let restic = restic(&checkup.finder, &mut findings).await;
    let state = state_dir(&checkup.state_dir, &mut findings);
    let enrolment = state.as_ref().and_then(|state| enrolment(state, &mut findings));
    findings
        .extend(state.as_ref().filter(|_| enrolment.is_some()).map(|state| contact(state, clock::wall())));
    let secrets = state.as_ref().and_then(|state| secrets(state, &checkup.key_file, &mut findings));
    if let Some(server) = checkup.server.or_else(|| enrolment.map(|enrolment| enrolment.server)) {
        let told = ask_server(server.clone(), checkup.plain_http).await;
        let answers = !told.iter().any(|finding| finding.subject == "server" && finding.is_problem());
        findings.extend(told);
        if let Some(token) = secrets.as_ref().filter(|_| answers).and_then(|secrets| secrets.token().ok()) {
            findings.push(try_token(&server, token).await);
        }
    }
    if let (Some(restic), Some(secrets)) = (restic, secrets) {
        for kind in [CredentialKind::Repo, CredentialKind::Admin] {
            for repo in secrets.repos(kind) {
                let Ok(credential) = secrets.credential(repo, kind) else { continue };
                let subject = repository::subject(repo, kind);
                findings.push(repository::look(&restic, subject, &credential, &checkup.cache_dir).await);
            }
        }
    }
    findings
}

async fn restic(finder: &ResticFinder, findings: &mut Vec<Finding>) -> Option<ResticBinary> {
    match finder.find().await {
        Ok(restic) => {
            findings.push(Finding::ok("restic", format!("{} at {}", restic.version, restic.path.display())));
            Some(restic)
        }
        Err(problem) => {
            findings.push(Finding::problem("restic", problem.to_string(), Some(problem.remedy())));
            None
        }
    }
}

fn state_dir(path: &Path, findings: &mut Vec<Finding>) -> Option<StateDir> {
    match StateDir::existing(path) {
        Ok(state) => {
            findings.push(Finding::ok("state directory", format!("{} is private", path.display())));
            Some(state)
        }
        Err(error) => {
            let remedy = error
                .hint()
                .or_else(|| Some("enrol the agent, or name its directory with --state-dir".to_owned()));
            findings.push(Finding::problem("state directory", chain(&error), remedy));
            None
        }
    }
}

fn enrolment(state: &StateDir, findings: &mut Vec<Finding>) -> Option<Enrolment> {
    match Enrolment::load(state) {
        Ok(enrolment) => {
            findings.push(Finding::ok("enrolment", format!("`{}` at {}", enrolment.name, enrolment.server)));
            Some(enrolment)
        }
        Err(error) => {
            findings.push(Finding::problem("enrolment", chain(&error), error.hint()));
            None
        }
    }
}

/// When the server was last seen; backups go on without it, so that nobody may notice.
fn contact(state: &StateDir, now: Timestamp) -> Finding {
    let subject = "last contact";
    match last_contact(state) {
        Ok(Some(at)) if now.millis_since(at) >= ALONE_FOR_TOO_LONG => {
            let days = now.millis_since(at) / DAY;
            let remedy = "look after the server and the way to it, or enrol this host at another one";
            let what = format!(
                "the last session stood {days} days ago, at {at}; scheduled backups go on without the server"
            );
            Finding::problem(subject, what, Some(remedy.to_owned()))
        }
        Ok(Some(at)) => Finding::ok(subject, format!("a session stood at {at}")),
        Ok(None) => Finding::ok(subject, "there was no session yet"),
        Err(error) => Finding::problem(subject, chain(&error), error.hint()),
    }
}

fn secrets(state: &StateDir, key_file: &Path, findings: &mut Vec<Finding>) -> Option<Secrets> {
    let path = state.join("secrets.age");
    if !path.exists() {
        // Opening would make a key; a doctor changes nothing.
        let remedy = Some("enrol the agent".to_owned());
        findings.push(Finding::problem("secrets", format!("there is no {}", path.display()), remedy));
        return None;
    }
    match Secrets::open(&path, key_file) {
        Ok(secrets) => {
            let count = |kind| secrets.repos(kind).len();
            let (everyday, admin) = (count(CredentialKind::Repo), count(CredentialKind::Admin));
            let seen = format!("opened; {everyday} repository credentials, {admin} admin credentials");
            findings.push(Finding::ok("secrets", seen));
            Some(secrets)
        }
        Err(error) => {
            findings.push(Finding::problem("secrets", chain(&error), error.hint()));
            None
        }
    }
}

async fn ask_server(server: ServerUrl, plain: PlainHttp) -> Vec<Finding> {
    if let Err(error) = server.check(plain) {
        return vec![Finding::problem("server", error.to_string(), error.hint())];
    }
    let name = server.to_string();
    let asked = tokio::task::spawn_blocking(move || healthz(&server)).await;
    match asked {
        Ok(Ok(told)) => {
            let reached = Finding::ok("server", format!("{name} answers"));
            std::iter::once(reached).chain(told.map(|told| skew(told, clock::wall()))).collect()
        }
        Ok(Err(why)) => {
            let remedy = "check the address, the network, and whether the server runs".to_owned();
            vec![Finding::problem("server", format!("{name}: {why}"), Some(remedy))]
        }
        Err(error) => vec![Finding::problem("server", error.to_string(), None)],
    }
}

async fn try_token(server: &ServerUrl, token: &Secret) -> Finding {
    match session::knock(server, token).await {
        Ok(()) => Finding::ok("token", "the server takes it"),
        Err(refused @ ConnectError::Unauthorized { .. }) => {
            Finding::problem("token", refused.to_string(), Some(session::REFUSED_HINT.to_owned()))
        }
        Err(error) => {
            let remedy =
                "check what stands between the agent and the server: it must let web sockets through";
            Finding::problem("token", error.to_string(), Some(remedy.to_owned()))
        }
    }
}

/// The time the server says it is.
fn healthz(server: &ServerUrl) -> Result<Option<Timestamp>, String> {
    let answer = http::client().get(server.at("/healthz")).call().map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answers HTTP {} on /healthz", answer.status()));
    }
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let parsed = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    Ok(parsed.map(|date| Timestamp::from_millis(date.timestamp().as_millisecond())))
}

fn skew(server: Timestamp, here: Timestamp) -> Finding {
    let skew = here.millis_since(server);
    let direction = if skew < 0 { "behind" } else { "ahead of" };
    let seen = format!("{} s {direction} the server's", skew.abs() / SECOND);
    if skew.abs() <= SKEW {
        return Finding::ok("clock", seen);
    }
    let remedy =
        "let the clock be set over the network, such as by systemd-timesyncd or chrony, on both machines";
    Finding::problem("clock", seen, Some(remedy.to_owned()))
}

/// An error with what caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_is_a_problem_with_a_remedy() {
        let here = Timestamp::from_millis(1_700_000_000_000);
        assert_eq!(skew(here - 2_000, here), Finding::ok("clock", "2 s ahead of the server's"));
        assert!(!skew(here + SKEW, here).is_problem());
        assert!(matches!(skew(here + SKEW + 1_000, here).verdict, Verdict::Problem { what, remedy: Some(_) }
            if what == "31 s behind the server's"));
    }

    #[test]
    fn a_server_that_was_not_seen_for_a_month_is_a_problem_with_a_remedy() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(&temp.path().join("s")).unwrap();
        let seen = Timestamp::from_millis(1_700_000_000_000);
        assert_eq!(contact(&state, seen), Finding::ok("last contact", "there was no session yet"));
        std::fs::write(state.join("last-contact.json"), format!("{{\"at\":{}}}", seen.as_millis())).unwrap();
        assert!(!contact(&state, seen + 30 * DAY - 1).is_problem());
        let late = contact(&state, seen + 30 * DAY);
        assert!(
            matches!(late.verdict, Verdict::Problem { ref what, remedy: Some(_) } if what.contains("30 days ago")),
            "{late:?}"
        );
    }

    #[tokio::test]
    async fn an_agent_that_is_not_there_has_a_remedy_for_each_thing_it_lacks_and_nothing_is_made() {
        let temp = tempfile::tempdir().unwrap();
        let checkup = Checkup {
            state_dir: temp.path().join("state"),
            key_file: temp.path().join("key"),
            server: Some(ServerUrl::parse("http://127.0.0.1:1", PlainHttp::LoopbackOnly).unwrap()),
            plain_http: PlainHttp::LoopbackOnly,
            finder: ResticFinder::looking_in(None, [temp.path().to_owned()]),
            cache_dir: temp.path().join("cache"),
        };
        let findings = examine(checkup).await;
        let subjects: Vec<&str> = findings.iter().map(|finding| finding.subject.as_str()).collect();
        assert_eq!(subjects, ["restic", "state directory", "server"]);
        for finding in findings {
            assert!(matches!(finding.verdict, Verdict::Problem { remedy: Some(_), .. }), "{finding:?}");
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }
}
