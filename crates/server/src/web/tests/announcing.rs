//! Announce, compare, approve, claim; and everybody who is to get nothing.

use ed25519_dalek::{Signer as _, SigningKey};
use restic_manager_core::announce::{Challenge, HexBytes, announcement, claim};
use restic_manager_core::api::{AnnounceRequest, Announced, ClaimRequest};
use restic_manager_core::time::{DAY, HOUR};

use super::*;

/// An agent with a key of its own.
struct Agent {
    key: SigningKey,
    os_hostname: &'static str,
}

impl Agent {
    fn new(seed: u8, os_hostname: &'static str) -> Self {
        Self { key: SigningKey::from_bytes(&[seed; 32]), os_hostname }
    }

    fn public(&self) -> HexBytes<32> {
        HexBytes(self.key.verifying_key().to_bytes())
    }

    fn says(&self) -> AnnounceRequest {
        let mut said = AnnounceRequest {
            public_key: self.public(),
            signature: HexBytes([0; 64]),
            machine_id: "m1".into(),
            os_hostname: self.os_hostname.into(),
            agent_version: "0.1.0".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
        };
        said.signature = HexBytes(self.key.sign(&announcement(&said)).to_bytes());
        said
    }

    fn claims(&self, challenge: &Challenge) -> ClaimRequest {
        let signature = HexBytes(self.key.sign(&claim(&self.public(), challenge)).to_bytes());
        ClaimRequest { public_key: self.public(), signature }
    }

    async fn announce(&self, house: &House) -> Announced {
        house.clock.advance(1); // ids of one instant have no order
        let answer = house.answer(announcing(&self.says())).await;
        assert_eq!(answer.status(), 202, "{:?}", answer.body());
        body(&answer)
    }

    async fn state(&self, house: &House) -> Response<Bytes> {
        let asked = json!({"public_key": self.public()});
        house.answer(post("/api/agents/announce/state").json(&asked)).await
    }
}

fn announcing(said: &AnnounceRequest) -> RequestBuilder {
    post("/api/agents/announce").json(said)
}

async fn claiming(house: &House, claims: &ClaimRequest) -> Response<Bytes> {
    house.clock.advance(1);
    house.answer(post("/api/agents/announce/claim").json(claims)).await
}

async fn pending(house: &House, token: &str) -> Vec<Value> {
    let answer = house.answer(bearer(get("/api/pending-hosts"), token)).await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    body::<Value>(&answer)["items"].as_array().unwrap().clone()
}

async fn decide(house: &House, token: &str, pending: &Value, what: &str, said: &Value) -> Response<Bytes> {
    house.clock.advance(1);
    let path = format!("/api/pending-hosts/{}/{what}", pending["id"].as_str().unwrap());
    house.answer(bearer(post(&path), token).json(said)).await
}

async fn approve(house: &House, token: &str, pending: &Value) -> Value {
    let answer =
        decide(house, token, pending, "approve", &json!({"fingerprint": pending["fingerprint"]})).await;
    assert_eq!(answer.status(), 201, "{:?}", answer.body());
    body(&answer)
}

async fn audited(house: &House, token: &str) -> Vec<String> {
    let answer = house.answer(bearer(get("/api/audit"), token)).await;
    let rows = body::<Value>(&answer)["items"].as_array().unwrap().clone();
    let actions = rows.iter().rev().map(|row| row["action"].as_str().unwrap().to_owned());
    actions.filter(|action| action.starts_with("host.")).collect()
}

#[tokio::test]
async fn an_approved_agent_trades_its_signature_for_its_token_once() {
    let house = House::new();
    let token = house.token().await;
    let agent = Agent::new(1, "web1");
    let announced = agent.announce(&house).await;
    assert_eq!(announced.expires_at, house.clock.now() + HOUR);
    let early = claiming(&house, &agent.claims(&announced.challenge)).await;
    assert_eq!(refused(&early), (403, "not_approved".to_owned()));

    let waiting = pending(&house, &token).await;
    assert_eq!(waiting.len(), 1);
    assert_eq!((&waiting[0]["name"], &waiting[0]["os"]), (&json!("web1"), &json!("linux")));
    assert_eq!(waiting[0]["fingerprint"], json!(announced.fingerprint), "both ends show the same");
    let approved = approve(&house, &token, &waiting[0]).await;
    assert_eq!(
        (&approved["host"]["name"], &approved["host"]["presence"]),
        (&json!("web1"), &json!("never_seen"))
    );
    assert!(pending(&house, &token).await.is_empty());

    let standing: Announced = body(&agent.state(&house).await);
    assert_eq!(standing.state, restic_manager_core::announce::PendingState::Approved);
    let claims = agent.claims(&standing.challenge);
    let answer = claiming(&house, &claims).await;
    assert_eq!(answer.status(), 201, "{:?}", answer.body());
    let enrolled: Value = body(&answer);
    assert_eq!(enrolled["host_id"], approved["host"]["id"]);
    let agent_token = enrolled["agent_token"].as_str().unwrap();
    let socket = house.answer(bearer(get("/ws/agent"), agent_token)).await;
    assert_eq!(refused(&socket), (426, "websocket_expected".to_owned()), "the token opens the agents' door");

    let replayed = claiming(&house, &claims).await;
    assert_eq!(refused(&replayed), (401, "wrong_signature".to_owned()), "a challenge is good once");
    assert_eq!(audited(&house, &token).await, ["host.announced", "host.approved", "host.enrolled"]);
    let told =
        String::from_utf8(house.answer(bearer(get("/api/audit"), &token)).await.body().to_vec()).unwrap();
    assert!(!told.contains(agent_token), "no secret in the audit log");
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_made_anew_and_ends_the_first_token() {
    let house = House::new();
    let token = house.token().await;
    let agent = Agent::new(1, "web1");
    agent.announce(&house).await;
    approve(&house, &token, &pending(&house, &token).await[0]).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let standing: Announced = body(&agent.state(&house).await);
        let enrolled: Value = body(&claiming(&house, &agent.claims(&standing.challenge)).await);
        tokens.push(enrolled["agent_token"].as_str().unwrap().to_owned());
    }
    let first = house.answer(bearer(get("/ws/agent"), &tokens[0])).await;
    assert_eq!(refused(&first), (401, "unknown_agent".to_owned()));
    let second = house.answer(bearer(get("/ws/agent"), &tokens[1])).await;
    assert_eq!(refused(&second), (426, "websocket_expected".to_owned()));
}

#[tokio::test]
async fn only_the_holder_of_the_key_announces_it_and_claims_for_it() {
    let house = House::new();
    let token = house.token().await;
    let (agent, thief) = (Agent::new(1, "web1"), Agent::new(2, "web1"));
    let foreign = AnnounceRequest { public_key: agent.public(), ..thief.says() };
    assert_eq!(refused(&house.answer(announcing(&foreign)).await), (401, "wrong_signature".to_owned()));
    let altered = AnnounceRequest { os_hostname: "db1".into(), ..agent.says() };
    assert_eq!(refused(&house.answer(announcing(&altered)).await), (401, "wrong_signature".to_owned()));
    let announced = agent.announce(&house).await;
    approve(&house, &token, &pending(&house, &token).await[0]).await;
    let stolen = ClaimRequest { public_key: agent.public(), ..thief.claims(&announced.challenge) };
    assert_eq!(refused(&claiming(&house, &stolen).await), (401, "wrong_signature".to_owned()));
    let signed_words = ClaimRequest { public_key: agent.public(), signature: agent.says().signature };
    assert_eq!(refused(&claiming(&house, &signed_words).await), (401, "wrong_signature".to_owned()));
    assert_eq!(claiming(&house, &agent.claims(&announced.challenge)).await.status(), 201);
}

#[tokio::test]
async fn what_cannot_be_an_announcement_is_refused_by_name() {
    let house = House::new();
    let agent = Agent::new(1, "web1");
    let send = async |change: &dyn Fn(&mut Value)| {
        let mut said = serde_json::to_value(agent.says()).unwrap();
        change(&mut said);
        let answer = house.answer(post("/api/agents/announce").json(&said)).await;
        (answer.status().as_u16(), body::<ErrorBody>(&answer).message)
    };
    let (status, message) = send(&|said| said["public_key"] = json!("00ff")).await;
    assert!(status == 422 && message.contains("public_key") && message.contains("64"), "{status} {message}");
    let (status, message) = send(&|said| said["public_key"] = json!("0".repeat(64))).await;
    assert!(status == 422 && message.contains("public_key"), "a weak key: {status} {message}");
    let (status, message) = send(&|said| said["extra"] = json!(1)).await;
    assert!(status == 422 && message.contains("extra"), "{status} {message}");
    let long =
        Agent { key: SigningKey::from_bytes(&[1; 32]), os_hostname: Box::leak("x".repeat(256).into()) };
    let answer = house.answer(announcing(&long.says())).await;
    assert!(body::<ErrorBody>(&answer).message.contains("os_hostname"), "{:?}", answer.body());
    let control = Agent { key: SigningKey::from_bytes(&[1; 32]), os_hostname: "a\u{1b}[2J" };
    assert_eq!(refused(&house.answer(announcing(&control.says())).await), (422, "invalid".to_owned()));
}

#[tokio::test]
async fn an_announcement_is_forgotten_after_an_hour_and_an_approval_after_a_day() {
    let house = House::new();
    let token = house.token().await;
    let agent = Agent::new(1, "web1");
    let announced = agent.announce(&house).await;
    let waiting = pending(&house, &token).await;
    house.clock.advance(HOUR - 1);
    assert_eq!(pending(&house, &token).await.len(), 1);
    house.clock.advance(1);
    assert!(pending(&house, &token).await.is_empty());
    assert_eq!(refused(&agent.state(&house).await), (404, "not_announced".to_owned()));
    let late =
        decide(&house, &token, &waiting[0], "approve", &json!({"fingerprint": announced.fingerprint})).await;
    assert_eq!(refused(&late), (404, "not_found".to_owned()));

    let again = agent.announce(&house).await;
    assert_ne!(again.challenge, announced.challenge);
    let waiting = pending(&house, &token).await;
    assert_ne!(waiting[0]["id"], json!(null));
    approve(&house, &token, &waiting[0]).await;
    house.clock.advance(DAY);
    let late = claiming(&house, &agent.claims(&again.challenge)).await;
    assert_eq!(refused(&late), (404, "not_announced".to_owned()));
}

#[tokio::test]
async fn a_second_announcement_by_the_same_key_renews_the_first() {
    let house = House::new();
    let token = house.token().await;
    let agent = Agent::new(1, "web1");
    let first = agent.announce(&house).await;
    house.clock.advance(HOUR / 2);
    let renamed = Agent { os_hostname: "web2", ..Agent::new(1, "") };
    let second = renamed.announce(&house).await;
    assert_eq!((second.fingerprint, second.challenge), (first.fingerprint, first.challenge));
    assert_eq!(second.expires_at, house.clock.now() + HOUR);
    let waiting = pending(&house, &token).await;
    assert_eq!((waiting.len(), &waiting[0]["name"]), (1, &json!("web2")));
    assert_eq!(audited(&house, &token).await, ["host.announced"]);
}

#[tokio::test]
async fn a_name_that_collides_is_flagged_and_has_to_be_changed() {
    let house = House::new();
    let token = house.token().await;
    let (one, other) = (Agent::new(1, "web1"), Agent::new(2, "WEB1"));
    let (first, _) = (one.announce(&house).await, other.announce(&house).await);
    let waiting = pending(&house, &token).await;
    assert_eq!((&waiting[0]["namesakes"], &waiting[1]["namesakes"]), (&json!(1), &json!(1)));
    assert_ne!(waiting[0]["fingerprint"], waiting[1]["fingerprint"]);
    assert_eq!(waiting[0]["fingerprint"], json!(first.fingerprint), "oldest first");
    let host = approve(&house, &token, &waiting[0]).await["host"].clone();
    let left = pending(&house, &token).await;
    assert_eq!((&left[0]["namesakes"], &left[0]["name_taken_by"]), (&json!(0), &host["id"]));
    let said = json!({"fingerprint": left[0]["fingerprint"]});
    let refusal = decide(&house, &token, &left[0], "approve", &said).await;
    assert_eq!(refused(&refusal), (409, "name_taken".to_owned()));
    assert_eq!(pending(&house, &token).await.len(), 1, "it still waits");
    let said = json!({"fingerprint": left[0]["fingerprint"], "name": "web1 of the other site"});
    assert_eq!(decide(&house, &token, &left[0], "approve", &said).await.status(), 201);
}

#[tokio::test]
async fn an_approval_names_the_fingerprint_that_was_seen() {
    let house = House::new();
    let token = house.token().await;
    let (one, other) = (Agent::new(1, "web1"), Agent::new(2, "web1"));
    let seen = one.announce(&house).await.fingerprint;
    other.announce(&house).await;
    let waiting = pending(&house, &token).await;
    let impostor = waiting.iter().find(|row| row["fingerprint"] != json!(seen)).unwrap();
    let refusal = decide(&house, &token, impostor, "approve", &json!({"fingerprint": seen})).await;
    assert_eq!(refused(&refusal), (409, "fingerprint_differs".to_owned()));
    let refusal = decide(&house, &token, impostor, "approve", &json!({})).await;
    assert_eq!(refused(&refusal).0, 422);
    let refusal = decide(&house, &token, impostor, "approve", &json!({"fingerprint": "abc"})).await;
    assert_eq!(refused(&refusal).0, 422);
    let typed = seen.to_string().to_uppercase().replace('-', " ");
    let own = waiting.iter().find(|row| row["fingerprint"] == json!(seen)).unwrap();
    assert_eq!(decide(&house, &token, own, "approve", &json!({"fingerprint": typed})).await.status(), 201);
    let again = decide(&house, &token, own, "approve", &json!({"fingerprint": seen})).await;
    assert_eq!(refused(&again), (409, "already_decided".to_owned()));
}

#[tokio::test]
async fn a_rejected_agent_is_told_so_and_gets_nothing() {
    let house = House::new();
    let token = house.token().await;
    let agent = Agent::new(1, "web1");
    let announced = agent.announce(&house).await;
    let waiting = pending(&house, &token).await;
    for _ in 0..2 {
        assert_eq!(decide(&house, &token, &waiting[0], "reject", &json!({})).await.status(), 204);
    }
    assert!(pending(&house, &token).await.is_empty());
    let standing: Announced = body(&agent.state(&house).await);
    assert_eq!(standing.state, restic_manager_core::announce::PendingState::Rejected);
    assert_eq!(agent.announce(&house).await.state, standing.state, "announcing again changes nothing");
    let claimed = claiming(&house, &agent.claims(&announced.challenge)).await;
    assert_eq!(refused(&claimed), (403, "rejected".to_owned()));
    let late =
        decide(&house, &token, &waiting[0], "approve", &json!({"fingerprint": announced.fingerprint})).await;
    assert_eq!(refused(&late), (409, "already_decided".to_owned()));
    assert_eq!(audited(&house, &token).await, ["host.announced", "host.rejected"]);
    let listed: Value = body(&house.answer(bearer(get("/api/hosts"), &token)).await);
    assert!(listed["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_host_may_be_approved_with_its_repository() {
    let house = House::new();
    let token = house.token().await;
    let agent = Agent::new(1, "web1");
    agent.announce(&house).await;
    let waiting = pending(&house, &token).await;
    let with = |credential: Value| json!({"fingerprint": waiting[0]["fingerprint"], "repo": {"repo_name": "nas", "credential": credential}});
    let wrong =
        decide(&house, &token, &waiting[0], "approve", &with(json!({"url": "", "password": "x"}))).await;
    assert_eq!(refused(&wrong), (422, "invalid".to_owned()));
    assert!(body::<ErrorBody>(&wrong).message.contains("repo.credential.url"), "{:?}", wrong.body());
    assert_eq!(pending(&house, &token).await.len(), 1, "nothing is approved by half");
    let good = with(json!({"url": "/srv/backup", "password": "planted-secret"}));
    let answer = decide(&house, &token, &waiting[0], "approve", &good).await;
    assert_eq!(answer.status(), 201, "{:?}", answer.body());
    let approved: Value = body(&answer);
    assert_eq!(
        (&approved["attachment"]["repo_name"], &approved["attachment"]["role"]),
        (&json!("nas"), &json!("primary"))
    );
    assert_eq!(approved.get("attachment_error"), None);
    assert!(!String::from_utf8_lossy(answer.body()).contains("planted-secret"));
    let path = format!("/api/hosts/{}/attachments", approved["host"]["id"].as_str().unwrap());
    let attached: Value = body(&house.answer(bearer(get(&path), &token)).await);
    assert_eq!(attached["items"][0]["credentials"][0]["url"], "/srv/backup");

    let second = Agent::new(2, "web2");
    second.announce(&house).await;
    let waiting = pending(&house, &token).await;
    let taken = json!({"fingerprint": waiting[0]["fingerprint"], "repo": {"repo_name": "NAS", "credential": {"url": "/srv/x", "password": "p"}}});
    let approved: Value = body(&decide(&house, &token, &waiting[0], "approve", &taken).await);
    assert_eq!(approved["host"]["name"], "web2", "approved, and the reason why it has no repository");
    assert_eq!(approved["attachment_error"]["code"], "name_taken");
}

#[tokio::test]
async fn an_address_announces_ten_times_a_minute_and_a_hundred_may_wait() {
    let house = House::new();
    let send = |agent: &Agent, from: u32| {
        let peer = Peer((std::net::Ipv4Addr::from(0x0a00_0000 + from), 4711).into());
        announcing(&agent.says()).extension(peer)
    };
    for seed in 0..10 {
        assert_eq!(house.answer(send(&Agent::new(seed, "web"), 1)).await.status(), 202);
    }
    let often = house.answer(send(&Agent::new(10, "web"), 1)).await;
    assert_eq!(refused(&often), (429, "too_many_attempts".to_owned()));
    assert!(often.headers().contains_key("retry-after"));
    for seed in 10..100 {
        assert_eq!(
            house.answer(send(&Agent::new(seed, "web"), 1 + u32::from(seed) / 10)).await.status(),
            202
        );
    }
    let full = house.answer(send(&Agent::new(100, "web"), 99)).await;
    assert_eq!(refused(&full), (503, "too_many_pending".to_owned()));
    let known = house.answer(send(&Agent::new(5, "web"), 98)).await;
    assert_eq!(known.status(), 202, "who waits may say so again");
}

#[tokio::test]
async fn guesses_at_keys_are_counted_and_agents_that_wait_are_not() {
    let house = House::new();
    let agent = Agent::new(1, "web1");
    agent.announce(&house).await;
    for _ in 0..60 {
        assert_eq!(agent.state(&house).await.status(), 200);
    }
    let stranger = Agent::new(2, "web1");
    for _ in 0..30 {
        assert_eq!(refused(&stranger.state(&house).await), (404, "not_announced".to_owned()));
    }
    assert_eq!(refused(&stranger.state(&house).await), (429, "too_many_attempts".to_owned()));
}

#[tokio::test]
async fn an_enrolment_token_says_which_host_came_of_it() {
    let house = House::new();
    let token = house.token().await;
    let made: Value =
        body(&house.answer(bearer(post("/api/enrollment-tokens"), &token).json(&json!({}))).await);
    let path = format!("/api/enrollment-tokens/{}", made["id"].as_str().unwrap());
    let standing = async || body::<Value>(&house.answer(bearer(get(&path), &token)).await);
    assert_eq!(standing().await.get("used_at"), None);
    let said = json!({"token": made["token"], "machine_id": "m1", "os_hostname": "web1", "agent_version": "0.1.0", "os": "linux", "arch": "x86_64"});
    let enrolled: Value = body(&house.answer(post("/api/agents/enroll").json(&said)).await);
    let used = standing().await;
    assert_eq!((&used["host"]["id"], &used["host"]["name"]), (&enrolled["host_id"], &json!("web1")));
    assert!(!used.to_string().contains("rme_"));
}
