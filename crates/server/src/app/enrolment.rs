//! How an agent comes to belong to the fleet.

use restic_manager_core::api::{
    EnrollRequest, EnrollResponse, EnrollmentTokenRequest, EnrollmentTokenResponse, EnrollmentView,
};
use restic_manager_core::id::{EnrollmentId, HostId};
use restic_manager_core::model::{Actor, ActorKind, Host};
use restic_manager_core::secret::Secret;
use restic_manager_core::time::HOUR;
use restic_manager_store::{EnrollOutcome, EnrollmentRow};

use super::newcomer::{Said, name_of_machine, namesake, new_host};
use super::{App, AppError, Caller, ErrorKind};
use crate::random::token_hash;

const ENROLMENT_PREFIX: &str = "rme_";
pub(super) const AGENT_PREFIX: &str = "rma_";
const LIFETIME: i64 = HOUR;
/// How many hosts of one name are told apart by a number.
const NAMESAKES: u32 = 1000;

impl App {
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
        let token = self.random.mint_token(ENROLMENT_PREFIX);
        let created_at = self.clock.now();
        let expires_at = created_at + LIFETIME;
        let row = EnrollmentRow {
            id: EnrollmentId::mint(created_at, self.random.id_bytes()),
            hash: token_hash(&token),
            host_name: request.host_name,
            created_at,
            expires_at,
            used_at: None,
            host_id: None,
        };
        let id = row.id;
        let audit = self.audit_of(
            caller,
            "enrollment_token.created",
            ("enrollment_token", id.to_string()),
            [("host_name", row.host_name.as_ref().map(ToString::to_string).into())],
        );
        self.store.create_enrollment(row, audit).await?;
        let command = format!("restic-manager-agent enrol --server {server_url} --token {}", token.expose());
        Ok(EnrollmentTokenResponse { id, token, expires_at, command })
    }

    /// How an enrolment token stands, and the host that came of it.
    ///
    /// # Errors
    ///
    /// When there is none, or it expired more than a day ago; or the store fails.
    pub async fn enrollment(&self, id: EnrollmentId) -> Result<EnrollmentView, AppError> {
        let row = self.store.enrollment_by_id(id).await?;
        let row = row.ok_or_else(|| AppError::not_found("enrolment token", id))?;
        let host = match row.host_id {
            Some(host_id) => match self.host(host_id).await {
                Ok(view) => Some(view),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        Ok(EnrollmentView {
            host_name: row.host_name,
            expires_at: row.expires_at,
            used_at: row.used_at,
            host,
        })
    }

    /// Makes a host of whoever comes with a good enrolment token, which is used up by it. Agents post it to `/api/agents/enroll`, take the
    /// answer with 201, and bring their token to `/ws/agent` from then on.
    ///
    /// # Errors
    ///
    /// When the token is unknown, expired or used, a text is too long, or the store fails.
    pub async fn enroll(&self, request: EnrollRequest) -> Result<EnrollResponse, AppError> {
        let EnrollRequest { machine_id, os_hostname, agent_version, os, arch, .. } = &request;
        let facts = Said { machine_id, os_hostname, agent_version, os, arch }.facts()?;
        let hash = token_hash(&request.token);
        let now = self.clock.now();
        let Some(row) = self.store.enrollment(&hash).await? else { return Err(unknown()) };
        let wanted = row.host_name.unwrap_or_else(|| name_of_machine(&facts));
        let agent_token = self.random.mint_token(AGENT_PREFIX);
        let mut host = new_host(HostId::mint(now, self.random.id_bytes()), wanted.clone(), facts, now);
        for number in 1..=NAMESAKES {
            host.name = namesake(&wanted, number);
            let audit = self.engine.audit(
                Actor { kind: ActorKind::Agent, name: host.id.to_string() },
                "host.enrolled",
                ("host", host.id.to_string()),
                [
                    ("name", host.name.to_string().into()),
                    ("os_hostname", host.facts.os_hostname.clone().into()),
                    ("enrollment_token_id", row.id.to_string().into()),
                ],
            );
            match self.store.enroll(&hash, host.clone(), token_hash(&agent_token), now, audit).await? {
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
        self.store.host_by_agent_token(&token_hash(given)).await?.ok_or_else(|| {
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
