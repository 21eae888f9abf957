//! How an agent comes to belong to the fleet.

use restic_manager_core::api::{
    EnrollRequest, EnrollResponse, EnrollmentTokenRequest, EnrollmentTokenResponse,
};
use restic_manager_core::id::{EnrollmentId, HostId};
use restic_manager_core::model::{Actor, ActorKind, Host, HostFacts};
use restic_manager_core::secret::Secret;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::{HOUR, Timestamp};
use restic_manager_store::{EnrollOutcome, EnrollmentRow};

use super::Accounts;
use crate::app::{AppError, Caller, ErrorKind};
use crate::random::token_hash;

const ENROLMENT_PREFIX: &str = "rme_";
const AGENT_PREFIX: &str = "rma_";
const LIFETIME: i64 = HOUR;
/// How many hosts of one name are told apart by a number.
const NAMESAKES: u32 = 1000;
const NAME_CHARS: usize = 100;
const FACT_CHARS: usize = 255;

impl Accounts {
    /// Makes a one-time enrolment token; `server_url` is where the agent will reach the server.
    ///
    /// # Errors
    ///
    /// A fault of the store.
    pub async fn create_enrollment_token(
        &self,
        caller: &Caller,
        request: EnrollmentTokenRequest,
        server_url: &str,
    ) -> Result<EnrollmentTokenResponse, AppError> {
        let token = self.app.random.mint_token(ENROLMENT_PREFIX);
        let created_at = self.app.clock.now();
        let expires_at = created_at + LIFETIME;
        let row = EnrollmentRow {
            id: EnrollmentId::mint(created_at, self.app.random.id_bytes()),
            hash: token_hash(&token),
            host_name: request.host_name,
            created_at,
            expires_at,
            used_at: None,
        };
        let audit = self.app.audit_of(
            caller,
            "enrollment_token.created",
            ("enrollment_token", row.id.to_string()),
            [("host_name", row.host_name.as_ref().map(ToString::to_string).into())],
        );
        self.app.store.create_enrollment(row, audit).await?;
        let command = format!("restic-manager-agent enrol --server {server_url} --token {}", token.expose());
        Ok(EnrollmentTokenResponse { token, expires_at, command })
    }

    /// Makes a host of whoever comes with a good enrolment token, which is used up by it.
    ///
    /// # Errors
    ///
    /// When the token is unknown, expired or used, a text is too long, or the store fails.
    pub async fn enroll(&self, request: EnrollRequest) -> Result<EnrollResponse, AppError> {
        check_facts(&request)?;
        let hash = token_hash(&request.token);
        let now = self.app.clock.now();
        let Some(row) = self.app.store.enrollment(&hash).await? else { return Err(unknown()) };
        let wanted = row.host_name.unwrap_or_else(|| name_of_machine(&request.os_hostname));
        let agent_token = self.app.random.mint_token(AGENT_PREFIX);
        let mut host = new_host(HostId::mint(now, self.app.random.id_bytes()), wanted.clone(), &request, now);
        for number in 1..=NAMESAKES {
            host.name = namesake(&wanted, number);
            let audit = self.app.engine.audit(
                Actor { kind: ActorKind::Agent, name: host.id.to_string() },
                "host.enrolled",
                ("host", host.id.to_string()),
                [
                    ("name", host.name.to_string().into()),
                    ("os_hostname", host.facts.os_hostname.clone().into()),
                    ("enrollment_token_id", row.id.to_string().into()),
                ],
            );
            match self.app.store.enroll(&hash, host.clone(), token_hash(&agent_token), now, audit).await? {
                EnrollOutcome::Enrolled => {
                    return Ok(EnrollResponse { host_id: host.id, name: host.name, agent_token });
                }
                EnrollOutcome::NameTaken => {}
                EnrollOutcome::Unknown => return Err(unknown()),
                EnrollOutcome::Expired => {
                    let message = format!("the enrolment token expired at {}", row.expires_at);
                    return Err(gone("enrollment_token_expired", message));
                }
                EnrollOutcome::Used => {
                    return Err(gone(
                        "enrollment_token_used",
                        "the enrolment token was used before".to_owned(),
                    ));
                }
            }
        }
        Err(AppError::name_taken("host", wanted))
    }

    /// The host whose agent comes with this token.
    ///
    /// # Errors
    ///
    /// When the token is unknown, which it also is after its host was deleted, or the store fails.
    pub async fn agent(&self, given: &Secret) -> Result<Host, AppError> {
        self.app.store.host_by_agent_token(&token_hash(given)).await?.ok_or_else(|| {
            AppError::new(ErrorKind::Unauthenticated, "unknown_agent", "no host has this agent token")
                .hint("the host was deleted, or the token belongs to another server: enrol the agent anew")
        })
    }
}

fn unknown() -> AppError {
    AppError::new(ErrorKind::Unauthenticated, "enrollment_token_unknown", "the enrolment token is unknown")
        .hint("check that the whole token was copied, and that it was made by this server")
}

fn gone(code: &'static str, message: String) -> AppError {
    AppError::new(ErrorKind::Gone, code, message).hint("make a new one; it is good for one host and one hour")
}

fn check_facts(request: &EnrollRequest) -> Result<(), AppError> {
    let facts = [
        ("machine_id", &request.machine_id),
        ("os_hostname", &request.os_hostname),
        ("agent_version", &request.agent_version),
        ("os", &request.os),
        ("arch", &request.arch),
    ];
    for (field, text) in facts {
        let chars = text.chars().count();
        if chars > FACT_CHARS {
            let why = format!("it has {chars} characters; at most {FACT_CHARS} are allowed");
            return Err(AppError::invalid(field, why));
        }
        if text.chars().any(char::is_control) {
            return Err(AppError::invalid(field, "it holds a control character"));
        }
    }
    Ok(())
}

fn new_host(id: HostId, name: DisplayName, request: &EnrollRequest, now: Timestamp) -> Host {
    let told = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Host {
        id,
        name,
        tags: Vec::new(),
        facts: HostFacts {
            machine_id: told(&request.machine_id),
            os_hostname: told(&request.os_hostname),
            os: told(&request.os),
            arch: told(&request.arch),
            agent_version: told(&request.agent_version),
            restic_version: None,
            restic_problem: None,
        },
        limit_upload_kib: None,
        limit_download_kib: None,
        created_at: now,
        last_seen_at: None,
        schedule_version: 1,
        schedule_version_acked: 0,
        revision: 0,
    }
}

/// The operating system's name, or a word where it has none that people could read.
fn name_of_machine(os_hostname: &str) -> DisplayName {
    let short: String = os_hostname.trim().chars().take(NAME_CHARS).collect();
    DisplayName::new(short).unwrap_or_else(|_| DisplayName::new("host").expect("a plain word is a name"))
}

/// The wanted name for the first, `name (2)` for the second of that name, and so on.
fn namesake(wanted: &DisplayName, number: u32) -> DisplayName {
    if number == 1 {
        return wanted.clone();
    }
    let suffix = format!(" ({number})");
    let room = NAME_CHARS - suffix.chars().count();
    let base: String = wanted.as_str().chars().take(room).collect();
    DisplayName::new(format!("{}{suffix}", base.trim_end())).unwrap_or_else(|_| wanted.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namesakes_are_numbered_within_the_length_of_a_name() {
        let name = DisplayName::new("web").unwrap();
        assert_eq!(namesake(&name, 1).as_str(), "web");
        assert_eq!(namesake(&name, 2).as_str(), "web (2)");
        let long = DisplayName::new("ü".repeat(100)).unwrap();
        assert_eq!(namesake(&long, 12).as_str(), format!("{} (12)", "ü".repeat(95)));
    }

    #[test]
    fn a_machine_without_a_readable_name_is_a_host_all_the_same() {
        assert_eq!(name_of_machine(" web1 ").as_str(), "web1");
        assert_eq!(name_of_machine("").as_str(), "host");
        assert_eq!(name_of_machine(&"x".repeat(200)).as_str().len(), 100);
    }
}
