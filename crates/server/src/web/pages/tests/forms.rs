//! Forms with wrong input: what was typed is kept, what is wrong stands at its field, no secret is lost silently.

use super::views::{Fleet, part};
use super::*;

#[tokio::test]
async fn a_password_is_changed_on_its_page_and_this_browser_stays_logged_in() {
    let house = House::new();
    let browser = house.browser().await;
    let send = async |current: &str, new: &str, again: &str| {
        browser.send("/settings/password", &[("current", current), ("new", new), ("again", again)]).await
    };
    let new = "another horse battery";
    let cases = [
        ("", "", "", 422, "current-wrong", "Type the password you log in with"),
        (PASSWORD, "", "", 422, "new-wrong", "Type the new password"),
        (PASSWORD, new, "another house", 422, "again-wrong", "not the same"),
        (PASSWORD, "short", "short", 422, "new-wrong", "at least 12"),
        ("wrong wrong wrong", new, new, 403, "current-wrong", "is wrong"),
    ];
    for (current, new, again, status, place, said) in cases {
        let answer = send(current, new, again).await;
        assert_eq!(answer.status, status, "{said}");
        let told = part(&answer.html, &format!(r#"id="{place}""#), "</p>");
        assert!(told.contains(said), "{told}");
        for secret in [current, new, again] {
            assert!(secret.is_empty() || !answer.html.contains(&format!("\"{secret}\"")), "{said}");
        }
        assert!(!answer.html.contains("The password is changed"), "{said}");
    }
    let done = send(PASSWORD, new, new).await;
    assert_eq!((done.status, done.to.as_deref()), (303, Some("/settings?done=password")), "{}", done.html);
    assert_eq!(browser.look("/settings").await.status, 303, "the old cookie is worth nothing");
    let cookie = done.cookie.unwrap();
    let page = house.answer(get("/settings?done=password").header("cookie", cookie)).await;
    assert!(page.html.contains("The password is changed"), "{}", page.html);
    let login = sent("/login", &[("username", "admin"), ("password", new)]);
    assert_eq!(house.answer(login).await.status, 303);
}

/// What people and attackers put into a field.
fn nasty() -> [String; 4] {
    ["x".repeat(10_000), "\u{202e}🦀 zoë\u{0}".to_owned(), views::EVIL.to_owned(), "  \t ".to_owned()]
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;");
    text.replace('"', "&#34;").replace('\'', "&#39;")
}

#[tokio::test]
async fn whatever_is_typed_into_whatever_form_comes_back_with_what_is_wrong_and_without_the_secrets() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let (host, repo) = (fleet.host, fleet.repo);
    let forms: [(String, &[&str], &[&str]); 11] = [
        ("/settings/tokens".to_owned(), &["name", "expires_in_days"], &[]),
        ("/hosts/new".to_owned(), &["host_name"], &[]),
        ("/repos/new".to_owned(), &["name"], &[]),
        (format!("/hosts/{host}/settings"), &["name", "tags", "limit_upload_kib", "limit_download_kib"], &[]),
        (format!("/repos/{repo}/settings"), &["name"], &[]),
        (
            format!("/repos/{repo}/attach"),
            &["host", "restic_host", "url", "rest_user"],
            &["password", "rest_password", "env"],
        ),
        (
            format!("/hosts/{host}/sources/new"),
            &["name", "tag", "includes", "excludes", "daily", "within", "retry_max", "retry_backoff_seconds"],
            &[],
        ),
        (format!("/hosts/{host}/schedules/new"), &["name", "cron", "timezone"], &[]),
        (format!("/hosts/{host}/repo"), &["url", "rest_user"], &["password", "rest_password", "env"]),
        (format!("/repos/{repo}/admin"), &["url", "rest_user"], &["password", "rest_password", "env"]),
        (
            format!("/repos/{repo}/maintenance"),
            &["forget_cron", "prune_cron", "check_cron", "timezone", "check_subset_pct", "spread_minutes"],
            &[],
        ),
    ];
    let secret = "planted secret";
    for (path, texts, secrets) in &forms {
        for typed in nasty() {
            let mut fields: Vec<(&str, &str)> = texts.iter().map(|name| (*name, typed.as_str())).collect();
            fields.extend(
                secrets
                    .iter()
                    .map(|name| (*name, if *name == "env" { "KEY=planted secret" } else { secret })),
            );
            let answer = browser.send(path, &fields).await;
            let short: String = typed.chars().take(20).collect();
            // A host may do without a name, and any that can be written in a line will do.
            let named = typed == views::EVIL && texts.len() == 1;
            let fine = match path.as_str() {
                "/hosts/new" if named || typed.trim().is_empty() => Some(201),
                "/repos/new" if named => Some(303),
                // The name is taken since the form before.
                _ if named => Some(409),
                _ => None,
            };
            assert_eq!(answer.status, fine.unwrap_or(422), "{path} {short:?}: {}", answer.html);
            assert!(
                !answer.html.contains(secret) && !answer.html.contains("<script>alert"),
                "{path} {short:?}"
            );
            if fine.is_some() || typed.trim().is_empty() {
                continue;
            }
            let wrong = answer.html.matches("class=\"wrong\"").count();
            assert!(wrong > 0, "{path} {short:?} says nothing at a field: {}", answer.html);
            let kept = answer.html.matches(&escaped(typed.trim())).count();
            assert!(kept >= texts.len(), "{path} {short:?} kept {kept} of {}: {}", texts.len(), answer.html);
            for name in *secrets {
                let place = part(&answer.html, &format!(r#" name="{name}""#), "</div>");
                assert!(place.contains(r#"class="wrong""#), "{path}: {name} is lost silently: {place}");
            }
        }
    }
}

#[tokio::test]
async fn a_credential_form_comes_back_with_its_address_and_asks_for_the_secrets_again() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let fields = [
        ("url", "rest:https://backup.example.net/web1/"),
        ("password", "planted-password"),
        ("rest_user", "web1"),
        ("rest_password", "planted-rest"),
        ("env", "AWS_ACCESS_KEY_ID=planted-key\nno equals sign"),
    ];
    for (name, path, at) in [
        ("credential_everyday", format!("/hosts/{}/repo", fleet.host), "everyday"),
        ("credential_admin", format!("/repos/{}/admin", fleet.repo), "admin"),
    ] {
        let answer = browser.send(&path, &fields).await;
        assert_eq!(answer.status, 422, "{}", answer.html);
        assert!(!answer.html.contains("planted"), "{}", answer.html);
        let from = format!(r#"<section aria-labelledby="{at}">"#);
        insta::assert_snapshot!(name, browser.steady(&answer.html, &from, "</section>"));
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_at_its_field() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    assert_eq!(browser.send("/settings/tokens", &[("name", "ci")]).await.status, 201);
    let group =
        house.state.app.groups(fleet.host, &crate::app::ListQuery::default()).await.unwrap().items.remove(0);
    let id = group.id.to_string();
    let cases = [
        ("/settings/tokens".to_owned(), vec![("name", "ci")]),
        (
            format!("/hosts/{}/sources/new", fleet.host),
            vec![
                ("name", "web1"),
                ("tag", "other"),
                ("includes", "/srv"),
                ("retry_max", "3"),
                ("retry_backoff_seconds", "60"),
            ],
        ),
        (
            format!("/hosts/{}/schedules/new", fleet.host),
            vec![("name", "web1"), ("cron", "0 3 * * *"), ("timezone", "UTC"), ("group", id.as_str())],
        ),
    ];
    for (path, fields) in cases {
        let answer = browser.send(&path, &fields).await;
        assert_eq!(answer.status, 409, "{path}: {}", answer.html);
        assert!(
            part(&answer.html, r#"id="name-wrong""#, "</p>").contains("named"),
            "{path}: {}",
            answer.html
        );
    }
}
