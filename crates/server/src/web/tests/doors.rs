//! Who comes in: hosts, cookies, tokens, foreign pages.

use restic_manager_core::time::{MINUTE, SECOND};

use super::*;

#[tokio::test]
async fn a_request_for_a_foreign_host_is_refused() {
    let house = House::new();
    let sent_to = |host: &str| warp::test::request().path("/healthz").header("host", host);
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "user@127.0.0.1", "a b"] {
        assert_eq!(refused(&house.answer(sent_to(host)).await), (421, "unknown_host".to_owned()), "{host}");
    }
    let none = house.answer(warp::test::request().path("/healthz")).await;
    assert_eq!(refused(&none), (421, "unknown_host".to_owned()));
    for host in [HOST, "localhost:8080", "[::1]:8080"] {
        assert_eq!(house.answer(sent_to(host)).await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_cookie_reads_and_writes_only_from_a_page_of_ours() {
    let house = House::new();
    let browser = house.admin().await;
    let answer = house.answer(browser.read("/api/hosts")).await;
    assert_eq!(
        (answer.status().as_u16(), body::<Value>(&answer)),
        (200, json!({"items": [], "next_cursor": null}))
    );
    let name = json!({"name": "nas"});
    let bare = || post("/api/repos").header("cookie", &browser.cookie).json(&name);
    let with_token = || bare().header("x-csrf-token", &browser.csrf);
    let cases = [
        (bare(), "cross_site"),
        (bare().header("origin", ORIGIN), "csrf_token_wrong"),
        (bare().header("origin", ORIGIN).header("x-csrf-token", "guess"), "csrf_token_wrong"),
        (with_token(), "cross_site"),
        (with_token().header("origin", "https://evil.example"), "cross_site"),
        (with_token().header("origin", "null"), "cross_site"),
        (with_token().header("origin", ORIGIN).header("sec-fetch-site", "cross-site"), "cross_site"),
        (with_token().header("sec-fetch-site", "same-site"), "cross_site"),
        (with_token().header("sec-fetch-site", "none"), "cross_site"),
    ];
    for (number, (request, code)) in cases.into_iter().enumerate() {
        assert_eq!(refused(&house.answer(request).await), (403, code.to_owned()), "case {number}");
    }
    let listed = house.answer(browser.read("/api/repos")).await;
    assert_eq!(body::<Value>(&listed)["items"], json!([]), "nothing was written");
    assert_eq!(house.answer(with_token().header("sec-fetch-site", "same-origin")).await.status(), 201);
    let again = browser.write("POST", "/api/repos").json(&json!({"name": "nas2"}));
    assert_eq!(house.answer(again).await.status(), 201);
}

#[tokio::test]
async fn a_foreign_page_cannot_log_anybody_in_or_follow_a_job() {
    let house = House::new();
    let browser = house.admin().await;
    let login = || post("/api/auth/login").json(&json!({"username": "admin", "password": PASSWORD}));
    let foreign = house.answer(login().header("origin", "https://evil.example")).await;
    assert_eq!(refused(&foreign), (403, "cross_site".to_owned()));
    assert_eq!(house.answer(login().header("origin", ORIGIN)).await.status(), 200);
    assert_eq!(house.answer(login()).await.status(), 200, "a program sends neither header");
    let path = "/api/jobs/01900000-0000-7000-8000-000000000000/stream";
    let foreign = house.answer(browser.read(path).header("origin", "https://evil.example")).await;
    assert_eq!(refused(&foreign), (403, "cross_site".to_owned()));
    assert_eq!(refused(&house.answer(browser.read(path).header("origin", ORIGIN)).await).0, 404);
}

#[tokio::test]
async fn the_public_address_is_an_origin_of_ours_and_makes_the_cookie_secure() {
    let public_url = Some("https://backup.example.org".parse().unwrap());
    let house = House::with(Settings { public_url, ..settings() });
    house.admin().await;
    let login = post("/api/auth/login").json(&json!({"username": "admin", "password": PASSWORD}));
    let answer = house.answer(login.header("origin", "https://backup.example.org")).await;
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    for part in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=2592000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
}

#[tokio::test]
async fn plain_loopback_has_a_cookie_that_works_there() {
    let house = House::new();
    house.admin().await;
    let login = post("/api/auth/login").json(&json!({"username": "admin", "password": PASSWORD}));
    let answer = house.answer(login).await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(!cookie.contains("Secure") && cookie.contains("HttpOnly"), "{cookie}");
}

#[tokio::test]
async fn a_session_tells_its_token_again_and_ends_by_logout_and_by_time() {
    let house = House::new();
    let browser = house.admin().await;
    let told: SessionInfo = body(&house.answer(browser.read("/api/auth/session")).await);
    assert_eq!((told.username.as_str(), told.csrf_token.expose()), ("admin", browser.csrf.as_str()));
    let other =
        house.answer(post("/api/auth/login").json(&json!({"username": "admin", "password": PASSWORD}))).await;
    let other = Browser::of(&other);
    assert_ne!(other.csrf, browser.csrf);
    let both = format!("theme=dark; {}; {}", browser.cookie, other.cookie);
    let mixed = browser.write("POST", "/api/auth/logout").header("cookie", both);
    assert_eq!(house.answer(mixed).await.status(), 204, "the first cookie of that name counts");
    let answer = house.answer(browser.read("/api/auth/session")).await;
    assert_eq!(refused(&answer), (401, "session_over".to_owned()));
    assert_eq!(house.answer(other.read("/api/auth/session")).await.status(), 200);
    house.clock.advance(30 * DAY - SECOND);
    assert_eq!(house.answer(other.read("/api/auth/session")).await.status(), 200);
    house.clock.advance(SECOND);
    assert_eq!(refused(&house.answer(other.read("/api/auth/session")).await).1, "session_over");
}

#[tokio::test]
async fn a_token_needs_no_csrf_and_makes_cookies_count_for_nothing() {
    let house = House::new();
    let token = house.token().await;
    let write = bearer(post("/api/repos"), &token).json(&json!({"name": "nas"}));
    assert_eq!(house.answer(write.header("origin", "https://evil.example")).await.status(), 201);
    let other =
        house.answer(post("/api/auth/login").json(&json!({"username": "admin", "password": PASSWORD}))).await;
    let cookie = Browser::of(&other);
    let bad = bearer(cookie.read("/api/hosts"), "rmt_wrong");
    assert_eq!(refused(&house.answer(bad).await), (401, "unknown_token".to_owned()));
    let session = house.answer(bearer(cookie.read("/api/auth/session"), &token)).await;
    assert_eq!(refused(&session), (409, "no_session".to_owned()));
    for wrong in ["Basic YTpi", "Bearer", "Bearer ", "rmt_x"] {
        let answer = house.answer(get("/api/hosts").header("authorization", wrong)).await;
        assert_eq!(refused(&answer), (401, "bearer_expected".to_owned()), "{wrong}");
    }
    let agents = house.answer(bearer(get("/api/hosts"), "rma_agent")).await;
    assert_eq!(refused(&agents), (401, "unknown_token".to_owned()));
}

#[tokio::test]
async fn an_expired_and_a_revoked_token_are_told_apart() {
    let house = House::new();
    let browser = house.admin().await;
    let make = |name: &str, days: u32| {
        browser.write("POST", "/api/tokens").json(&json!({"name": name, "expires_in_days": days}))
    };
    let short: Value = body(&house.answer(make("short", 1)).await);
    let long: Value = body(&house.answer(make("long", 30)).await);
    let (short_token, long_token) = (short["token"].as_str().unwrap(), long["token"].as_str().unwrap());
    assert_eq!(house.answer(bearer(get("/api/hosts"), short_token)).await.status(), 200);
    house.clock.advance(DAY);
    let answer = house.answer(bearer(get("/api/hosts"), short_token)).await;
    assert_eq!(refused(&answer), (401, "token_expired".to_owned()));
    assert!(body::<ErrorBody>(&answer).message.contains("`short`"));
    let path = format!("/api/tokens/{}", long["info"]["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(house.answer(browser.write("DELETE", &path)).await.status(), 204);
    }
    let answer = house.answer(bearer(get("/api/hosts"), long_token)).await;
    assert_eq!(refused(&answer), (401, "token_revoked".to_owned()));
}

#[tokio::test]
async fn the_use_of_a_token_is_noted_to_the_minute() {
    let house = House::new();
    let token = house.token().await;
    let used = async || -> Value {
        let listed: Value = body(&house.answer(bearer(get("/api/tokens"), &token)).await);
        listed["items"][0]["last_used_at"].clone()
    };
    let first = used().await;
    assert_eq!(first, json!(house.clock.now().as_millis()));
    house.clock.advance(MINUTE - 1);
    assert_eq!(used().await, first);
    house.clock.advance(1);
    assert_eq!(used().await, json!(house.clock.now().as_millis()));
}
