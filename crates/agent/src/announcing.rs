//! Becoming a host of the fleet without a token: the agent shows its key, waits until a person approved it, and claims.

use std::path::Path;
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use restic_manager_core::announce::{Fingerprint, HexBytes, PendingState, announcement, claim};
use restic_manager_core::api::{AnnounceRequest, Announced, AnnouncedRequest, ClaimRequest, EnrollResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::enrolment::{EnrolError, Enrolling, Existing};
use crate::http;
use crate::server_url::ServerUrl;
use crate::state::{Enrolment, Identity};

/// How often the server is asked whether a person decided.
const LOOK: Duration = Duration::from_secs(2);

/// What the waiting agent has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// It announced itself; a person is to compare this fingerprint.
    Announced {
        /// Of the agent's key.
        fingerprint: Fingerprint,
    },
    /// The server cannot be reached at present; it is asked again.
    Unreachable {
        /// Why.
        why: &'a str,
    },
    /// The server answers again.
    BackInTouch,
    /// The announcement was forgotten, after an hour or by the server, and is made again.
    Again,
}

/// Announces this machine, waits until a person approved it, and stores what the server answered. Blocks, for hours if it must;
/// `tell` hears what happens, and `pause` lets the time between two looks pass.
///
/// The key is kept with the agent's secrets: whoever starts this again waits under the same fingerprint.
///
/// # Errors
///
/// [`EnrolError`]: the agent was rejected, or what can fail on this machine did.
pub fn announce(
    state_dir: &Path,
    key_file: &Path,
    server: &ServerUrl,
    existing: Existing,
    mut tell: impl FnMut(Told<'_>),
    mut pause: impl FnMut(Duration),
) -> Result<Enrolment, EnrolError> {
    let mut enrolling = Enrolling::begin(state_dir, key_file, existing)?;
    let key = enrolling.announcing_key()?;
    let agent = Announcing { server, key };
    let request = agent.request(enrolling.identity());
    let mut standing = agent.announce(&request)?;
    let fingerprint = agent.fingerprint();
    tell(Told::Announced { fingerprint });
    let mut in_touch = true;
    loop {
        match standing.state {
            PendingState::Rejected => return Err(EnrolError::Rejected { fingerprint }),
            PendingState::Waiting => {}
            PendingState::Approved => match agent.claim(&standing) {
                Ok(answer) => return enrolling.finish(server, answer),
                // The answer to an earlier claim was lost, or the host deleted since: the next look tells.
                Err(EnrolError::Refused { code, .. })
                    if code == "wrong_signature" || code == "not_announced" => {}
                Err(error) => wait_out(error, &mut in_touch, &mut tell)?,
            },
        }
        pause(LOOK);
        match agent.look() {
            Ok(seen) => standing = seen,
            Err(EnrolError::Refused { code, .. }) if code == "not_announced" => {
                match agent.announce(&request) {
                    Ok(seen) => {
                        standing = seen;
                        tell(Told::Again);
                    }
                    Err(error) => wait_out(error, &mut in_touch, &mut tell)?,
                }
                continue;
            }
            Err(error) => {
                wait_out(error, &mut in_touch, &mut tell)?;
                continue;
            }
        }
        if !in_touch {
            in_touch = true;
            tell(Told::BackInTouch);
        }
    }
}

/// What passes is waited out: a server that restarts, a network that is away, a limit.
fn wait_out(
    error: EnrolError,
    in_touch: &mut bool,
    tell: &mut impl FnMut(Told<'_>),
) -> Result<(), EnrolError> {
    if !error.passes() {
        return Err(error);
    }
    if *in_touch {
        *in_touch = false;
        tell(Told::Unreachable { why: &error.to_string() });
    }
    Ok(())
}

/// The agent's side of the three requests.
struct Announcing<'a> {
    server: &'a ServerUrl,
    key: SigningKey,
}

impl Announcing<'_> {
    fn public_key(&self) -> HexBytes<32> {
        HexBytes(self.key.verifying_key().to_bytes())
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_digest(Sha256::digest(self.public_key().0).into())
    }

    fn sign(&self, bytes: &[u8]) -> HexBytes<64> {
        HexBytes(self.key.sign(bytes).to_bytes())
    }

    fn request(&self, identity: &Identity) -> AnnounceRequest {
        let mut request = AnnounceRequest {
            public_key: self.public_key(),
            signature: HexBytes([0; 64]),
            machine_id: identity.machine_id.clone(),
            os_hostname: identity.os_hostname.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        };
        request.signature = self.sign(&announcement(&request));
        request
    }

    /// What the server says of the key is of our own making: a fingerprint that another one made is none of ours.
    fn announce(&self, request: &AnnounceRequest) -> Result<Announced, EnrolError> {
        self.of_this_key(ask(self.server, "/api/agents/announce", request)?)
    }

    fn look(&self) -> Result<Announced, EnrolError> {
        let asked = AnnouncedRequest { public_key: self.public_key() };
        self.of_this_key(ask(self.server, "/api/agents/announce/state", &asked)?)
    }

    fn of_this_key(&self, seen: Announced) -> Result<Announced, EnrolError> {
        if seen.fingerprint == self.fingerprint() {
            return Ok(seen);
        }
        let why = "it answers with the fingerprint of another key".to_owned();
        Err(EnrolError::NotOurs { server: self.server.to_string(), why })
    }

    fn claim(&self, standing: &Announced) -> Result<EnrollResponse, EnrolError> {
        let key = self.public_key();
        let signature = self.sign(&claim(&key, &standing.challenge));
        ask(self.server, "/api/agents/announce/claim", &ClaimRequest { public_key: key, signature })
    }
}

/// Sends one request of an agent that has no token yet.
pub(crate) fn ask<T: DeserializeOwned>(
    server: &ServerUrl,
    path: &str,
    request: &impl Serialize,
) -> Result<T, EnrolError> {
    let unreachable =
        |error: ureq::Error| EnrolError::Unreachable { server: server.to_string(), why: error.to_string() };
    let mut answer = http::client().post(server.at(path)).send_json(request).map_err(unreachable)?;
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        let said = http::error_of(&mut answer);
        return Err(EnrolError::Refused { status, code: said.code, message: said.message, hint: said.hint });
    }
    let read = answer.body_mut().with_config().limit(64 << 10).read_json();
    read.map_err(|error| EnrolError::NotOurs { server: server.to_string(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::path::PathBuf;
    use std::thread::JoinHandle;

    use restic_manager_core::announce::{AgentKey, Challenge, Signature};
    use serde_json::{Value, json};

    use super::*;
    use crate::server_url::PlainHttp;
    use crate::state::{StateDir, StateError};

    const CHALLENGE: &str = "aa";

    /// What the server answers, in this order; none closes the connection without a word.
    type Script = Vec<Option<(&'static str, Value)>>;

    fn standing(state: &str, challenge: &str) -> Option<(&'static str, Value)> {
        Some(("200 OK", json!({"state": state, "challenge": challenge.repeat(32), "expires_at": 1})))
    }

    fn refusal(status: &'static str, code: &str) -> Option<(&'static str, Value)> {
        Some((status, json!({"code": code, "message": "no"})))
    }

    fn welcome() -> Option<(&'static str, Value)> {
        let id = "01900000-0000-7000-8000-000000000009";
        Some(("201 Created", json!({"host_id": id, "name": "box", "agent_token": "rma_new"})))
    }

    /// A server with a script, which adds to what it says the fingerprint of the key it is asked about.
    fn server(script: Script) -> (ServerUrl, JoinHandle<Vec<(String, Value)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in script {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = Vec::new();
                while !text.ends_with(b"}") {
                    let mut part = [0; 4096];
                    let length = stream.read(&mut part).unwrap();
                    text.extend_from_slice(&part[..length]);
                }
                let text = String::from_utf8(text).unwrap();
                let path = text.split(' ').nth(1).unwrap().to_owned();
                let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
                let key: AgentKey = body["public_key"].as_str().unwrap().parse().unwrap();
                asked.push((path, body));
                let Some((status, mut said)) = answer else { continue };
                said["fingerprint"] = json!(Fingerprint::of_digest(Sha256::digest(key.0).into()));
                let said = said.to_string();
                let head =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close", said.len());
                write!(stream, "{head}\r\n\r\n{said}").unwrap();
            }
            asked
        });
        (ServerUrl::parse(&url, PlainHttp::LoopbackOnly).unwrap(), answering)
    }

    struct Place {
        _temp: tempfile::TempDir,
        state: PathBuf,
        key: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let (state, key) = (temp.path().join("state"), temp.path().join("key"));
            Self { _temp: temp, state, key }
        }

        /// The outcome, and what was told meanwhile.
        fn announce(&self, server: &ServerUrl) -> (Result<Enrolment, EnrolError>, Vec<String>) {
            let mut heard = Vec::new();
            let tell = |told: Told<'_>| {
                let word = format!("{told:?}");
                heard.push(word.split([' ', '{']).next().unwrap().to_owned());
            };
            let outcome = announce(&self.state, &self.key, server, Existing::Keep, tell, |_| ());
            (outcome, heard)
        }
    }

    fn paths(asked: &[(String, Value)]) -> Vec<&str> {
        asked.iter().map(|(path, _)| path.rsplit('/').next().unwrap()).collect()
    }

    fn verified(claimed: &Value, challenge: &str) -> bool {
        let key: AgentKey = claimed["public_key"].as_str().unwrap().parse().unwrap();
        let signature: Signature = claimed["signature"].as_str().unwrap().parse().unwrap();
        let challenge: Challenge = challenge.repeat(32).parse().unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        let verifying = ed25519_dalek::VerifyingKey::from_bytes(&key.0).unwrap();
        verifying.verify_strict(&claim(&key, &challenge), &signature).is_ok()
    }

    #[test]
    fn it_waits_claims_with_the_challenge_of_the_hour_and_is_enrolled() {
        let place = Place::new();
        let (url, asked) = server(vec![
            standing("waiting", CHALLENGE),
            standing("waiting", CHALLENGE),
            standing("approved", "bb"),
            welcome(),
        ]);
        let (outcome, heard) = place.announce(&url);
        let enrolment = outcome.unwrap();
        assert_eq!((enrolment.name.as_str(), heard), ("box", vec!["Announced".to_owned()]));
        let asked = asked.join().unwrap();
        assert_eq!(paths(&asked), ["announce", "state", "state", "claim"]);
        assert!(verified(&asked[3].1, "bb") && !verified(&asked[3].1, CHALLENGE));
        let dir = StateDir::existing(&place.state).unwrap();
        assert_eq!(Enrolment::load(&dir).unwrap(), enrolment);
        let secrets = crate::secrets::Secrets::open(&dir.join("secrets.age"), &place.key).unwrap();
        assert_eq!(secrets.token().unwrap().expose(), "rma_new");
    }

    #[test]
    fn a_rejection_ends_the_wait_and_the_key_is_kept() {
        let place = Place::new();
        let (url, asked) = server(vec![standing("waiting", CHALLENGE), standing("rejected", CHALLENGE)]);
        let (outcome, _) = place.announce(&url);
        let error = outcome.unwrap_err();
        assert!(matches!(error, EnrolError::Rejected { .. }), "{error}");
        let first = asked.join().unwrap();
        let (url, asked) = server(vec![standing("rejected", CHALLENGE)]);
        assert!(place.announce(&url).0.is_err());
        assert_eq!(asked.join().unwrap()[0].1["public_key"], first[0].1["public_key"]);
        let dir = StateDir::existing(&place.state).unwrap();
        assert!(matches!(Enrolment::load(&dir), Err(StateError::NotEnrolled { .. })));
    }

    #[test]
    fn a_server_that_is_away_forgets_or_limits_is_waited_out() {
        let place = Place::new();
        let (url, asked) = server(vec![
            standing("waiting", CHALLENGE),
            None,
            refusal("429 Too Many Requests", "too_many_attempts"),
            standing("waiting", CHALLENGE),
            refusal("404 Not Found", "not_announced"),
            refusal("503 Service Unavailable", "too_many_pending"),
            refusal("404 Not Found", "not_announced"),
            standing("approved", "bb"),
            welcome(),
        ]);
        let (outcome, heard) = place.announce(&url);
        outcome.unwrap();
        assert_eq!(heard, ["Announced", "Unreachable", "BackInTouch", "Unreachable", "Again"]);
        let asked = asked.join().unwrap();
        assert_eq!(
            paths(&asked),
            ["announce", "state", "state", "state", "state", "announce", "state", "announce", "claim"]
        );
    }

    #[test]
    fn a_claim_whose_answer_was_lost_is_made_with_the_next_challenge() {
        let place = Place::new();
        let (url, asked) = server(vec![
            standing("approved", "bb"),
            None,
            standing("approved", "cc"),
            refusal("401 Unauthorized", "wrong_signature"),
            standing("approved", "dd"),
            welcome(),
        ]);
        place.announce(&url).0.unwrap();
        let asked = asked.join().unwrap();
        assert_eq!(paths(&asked), ["announce", "claim", "state", "claim", "state", "claim"]);
        assert!(verified(&asked[1].1, "bb") && verified(&asked[3].1, "cc") && verified(&asked[5].1, "dd"));
    }

    #[test]
    fn a_refusal_that_does_not_pass_ends_the_wait() {
        let place = Place::new();
        let (url, _asked) =
            server(vec![standing("waiting", CHALLENGE), refusal("422 Unprocessable", "invalid")]);
        let (outcome, _) = place.announce(&url);
        assert!(matches!(outcome, Err(EnrolError::Refused { status: 422, .. })));
        let nobody = ServerUrl::parse("http://127.0.0.1:1", PlainHttp::LoopbackOnly).unwrap();
        assert!(
            matches!(place.announce(&nobody).0, Err(EnrolError::Unreachable { .. })),
            "a typo is told at once"
        );
    }
}
