//! The first administrator, login attempts, enrolment.

use restic_manager_core::time::HOUR;

use super::*;

async fn audited(house: &House, token: &str, action: &str) -> Vec<Value> {
    let answer = house.answer(bearer(get(&format!("/api/audit?action={action}")), token)).await;
    body::<Value>(&answer)["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_first_administrator_is_made_once_with_the_token_of_the_file() {
    let house = House::new();
    let version = async || body::<Value>(&house.answer(get("/api/version")).await)["needs_bootstrap"].clone();
    assert_eq!(version().await, true);
    let send = |token: &str, password: &str| {
        post("/api/bootstrap").json(&json!({"token": token, "username": "admin", "password": password}))
    };
    let token = house.bootstrap_token.expose();
    let wrong = house.answer(send("rmb_wrong", PASSWORD)).await;
    assert_eq!(refused(&wrong), (401, "wrong_bootstrap_token".to_owned()));
    let short = house.answer(send(token, "short")).await;
    assert_eq!(refused(&short), (422, "invalid".to_owned()));
    assert!(body::<ErrorBody>(&short).message.starts_with("`password`: "), "{:?}", short.body());
    assert!(house.state.bootstrap.path().exists(), "a refusal does not use the token up");
    assert_eq!(house.answer(send(token, PASSWORD)).await.status(), 201);
    assert!(!house.state.bootstrap.path().exists());
    assert_eq!(version().await, false);
    let again = house.answer(send(token, PASSWORD)).await;
    assert_eq!(refused(&again), (409, "already_bootstrapped".to_owned()));
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_look_alike_and_are_written_down() {
    let house = House::new();
    let token = house.token().await;
    let login = |name: &str, password: &str| {
        post("/api/auth/login").json(&json!({"username": name, "password": password}))
    };
    let unknown = house.answer(login("nobody", PASSWORD)).await;
    house.clock.advance(1);
    let wrong = house.answer(login("admin", "correct horse batterz")).await;
    assert_eq!(refused(&unknown), (401, "wrong_credentials".to_owned()));
    assert_eq!(refused(&wrong), (401, "wrong_credentials".to_owned()));
    let texts = [&unknown, &wrong].map(|answer| body::<ErrorBody>(answer).message);
    assert_eq!(texts[0].replace("nobody", "admin"), texts[1]);
    let failures = audited(&house, &token, "login.failed").await;
    assert_eq!(failures.len(), 2);
    assert_eq!(
        (&failures[0]["subject_id"], &failures[0]["detail"]["from"]),
        (&json!("admin"), &json!("0.0.0.0"))
    );
    assert_eq!(audited(&house, &token, "session.opened").await.len(), 1);
    assert_eq!(audited(&house, &token, "user.created").await.len(), 1);
    assert_eq!(audited(&house, &token, "token.created").await.len(), 1);
}

#[tokio::test]
async fn too_many_attempts_are_told_how_long_to_wait() {
    let house = House::new();
    let attempt =
        || post("/api/auth/login").json(&json!({"username": "admin", "password": "wrong wrong wrong"}));
    let mut tried = 0;
    let answer = loop {
        let answer = house.answer(attempt()).await;
        if answer.status() != 401 {
            break answer;
        }
        tried += 1;
        assert!(tried < 30, "the limit by name never came");
    };
    assert!(tried >= 5);
    assert_eq!(refused(&answer), (429, "too_many_attempts".to_owned()));
    let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=6).contains(&seconds), "{seconds}");
    assert!(body::<ErrorBody>(&answer).message.contains(&format!("{seconds} s")));
}

#[tokio::test]
async fn two_tokens_of_one_name_are_refused_and_days_have_bounds() {
    let house = House::new();
    let token = house.token().await;
    let make = |text: Value| bearer(post("/api/tokens"), &token).json(&text);
    assert_eq!(refused(&house.answer(make(json!({"name": "script"}))).await), (409, "name_taken".to_owned()));
    for days in [0, 3651] {
        let answer = house.answer(make(json!({"name": "x", "expires_in_days": days}))).await;
        assert_eq!(refused(&answer), (422, "invalid".to_owned()));
    }
    let unknown = "/api/tokens/01900000-0000-7000-8000-000000000000";
    assert_eq!(
        refused(&house.answer(bearer(ask("DELETE", unknown), &token)).await),
        (404, "not_found".to_owned())
    );
}

async fn enrolment_token(house: &House, token: &str, text: Value) -> Value {
    let answer = house.answer(bearer(post("/api/enrollment-tokens"), token).json(&text)).await;
    assert_eq!(answer.status(), 201, "{:?}", answer.body());
    body(&answer)
}

fn enroll(token: &str) -> RequestBuilder {
    post("/api/agents/enroll").json(&json!({
        "token": token, "machine_id": "m1", "os_hostname": "web1", "agent_version": "0.1.0", "os": "linux", "arch": "x86_64",
    }))
}

#[tokio::test]
async fn an_enrolment_token_is_good_once_and_for_an_hour() {
    let house = House::new();
    let token = house.token().await;
    let made = enrolment_token(&house, &token, json!({})).await;
    let secret = made["token"].as_str().unwrap();
    let command = format!("restic-manager-agent enrol --server {ORIGIN} --token {secret}");
    assert_eq!(made["command"], command);
    assert!(secret.starts_with("rme_"));
    let unknown = house.answer(enroll("rme_wrong")).await;
    assert_eq!(refused(&unknown), (401, "enrollment_token_unknown".to_owned()));
    let enrolled = house.answer(enroll(secret)).await;
    assert_eq!(enrolled.status(), 201, "{:?}", enrolled.body());
    let host: Value = body(&enrolled);
    assert_eq!(host["name"], "web1");
    assert!(host["agent_token"].as_str().unwrap().starts_with("rma_"));
    let used = house.answer(enroll(secret)).await;
    assert_eq!(refused(&used), (410, "enrollment_token_used".to_owned()));
    let late = enrolment_token(&house, &token, json!({})).await;
    house.clock.advance(HOUR);
    let expired = house.answer(enroll(late["token"].as_str().unwrap())).await;
    assert_eq!(refused(&expired), (410, "enrollment_token_expired".to_owned()));
    for answer in [&unknown, &used, &expired] {
        assert!(body::<ErrorBody>(answer).hint.is_some());
    }
    let listed: Value = body(&house.answer(bearer(get("/api/hosts"), &token)).await);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed["items"][0]["presence"], &listed["items"][0]["facts"]["os"]),
        (&json!("never_seen"), &json!("linux"))
    );
}

#[tokio::test]
async fn hosts_of_one_name_are_told_apart() {
    let house = House::new();
    let token = house.token().await;
    let mut names = Vec::new();
    for text in [json!({}), json!({}), json!({"host_name": "WEB1"}), json!({"host_name": "nas"})] {
        let made = enrolment_token(&house, &token, text).await;
        let answer = house.answer(enroll(made["token"].as_str().unwrap())).await;
        names.push(body::<Value>(&answer)["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["web1", "web1 (2)", "WEB1 (3)", "nas"]);
}

#[tokio::test]
async fn an_agents_door_opens_for_its_own_token_only() {
    let house = House::new();
    let token = house.token().await;
    let made = enrolment_token(&house, &token, json!({})).await;
    let host: Value = body(&house.answer(enroll(made["token"].as_str().unwrap())).await);
    let agent_token = host["agent_token"].as_str().unwrap();
    let plain = house.answer(bearer(get("/ws/agent"), agent_token)).await;
    assert_eq!(refused(&plain), (426, "websocket_expected".to_owned()));
    assert_eq!(plain.headers()["upgrade"], "websocket");
    let user = house.answer(bearer(get("/ws/agent"), &token)).await;
    assert_eq!(refused(&user), (401, "unknown_agent".to_owned()));
    let path = format!("/api/hosts/{}", host["host_id"].as_str().unwrap());
    assert_eq!(house.answer(bearer(ask("DELETE", &path), &token)).await.status(), 204);
    let gone = house.answer(bearer(get("/ws/agent"), agent_token)).await;
    assert_eq!(refused(&gone), (401, "unknown_agent".to_owned()));
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_and_is_written_down_without_it() {
    let house = House::new();
    let browser = house.admin().await;
    let login =
        |password: &str| post("/api/auth/login").json(&json!({"username": "admin", "password": password}));
    let other = Browser::of(&house.answer(login(PASSWORD)).await);
    let change = |current: &str, new: &str| {
        browser.write("POST", "/api/account/password").json(&json!({"current": current, "new": new}))
    };
    let wrong = house.answer(change("wrong wrong wrong", "another horse battery")).await;
    assert_eq!(refused(&wrong), (403, "wrong_password".to_owned()));
    assert_eq!(house.answer(other.read("/api/auth/session")).await.status(), 200, "a refusal ends nothing");

    let changed = house.answer(change(PASSWORD, "another horse battery")).await;
    assert_eq!(changed.status(), 204, "{:?}", changed.body());
    for stale in [&other, &browser] {
        assert_eq!(refused(&house.answer(stale.read("/api/auth/session")).await).1, "session_over");
    }
    let cookie = changed.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let renewed = house.answer(get("/api/auth/session").header("cookie", cookie)).await;
    assert_eq!(renewed.status(), 200, "whoever changed it stays logged in");
    assert_eq!(refused(&house.answer(login(PASSWORD)).await).0, 401);
    let back = Browser::of(&house.answer(login("another horse battery")).await);
    let rows: Value = body(&house.answer(back.read("/api/audit?limit=500")).await);
    let text = rows.to_string();
    assert!(text.contains("user.password_changed") && text.contains("user.password_refused"), "{text}");
    for secret in [PASSWORD, "another horse battery", "wrong wrong wrong", "argon2"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_program_changes_the_password_with_a_token_that_stays_good_and_may_not_guess() {
    let house = House::new();
    let token = house.token().await;
    let change = |current: &str, new: &str| {
        bearer(post("/api/account/password"), &token).json(&json!({"current": current, "new": new}))
    };
    let short = house.answer(change(PASSWORD, "short")).await;
    assert_eq!(refused(&short), (422, "invalid".to_owned()));
    assert!(body::<ErrorBody>(&short).message.starts_with("`new`: "), "{:?}", short.body());
    let same = house.answer(change(PASSWORD, PASSWORD)).await;
    assert!(body::<ErrorBody>(&same).message.starts_with("`new`: "), "{:?}", same.body());
    let changed = house.answer(change(PASSWORD, "another horse battery")).await;
    assert_eq!(changed.status(), 204, "{:?}", changed.body());
    assert!(!changed.headers().contains_key("set-cookie"), "a token opens no session");
    assert_eq!(house.answer(bearer(get("/api/hosts"), &token)).await.status(), 200);
    let mut tried = 0;
    while house.answer(change("guess guess guess", "a third horse battery")).await.status() != 429 {
        tried += 1;
        assert!(tried < 30, "the limit never came");
    }
}
