//! Repositories as pages: credentials, maintenance, locks.

use restic_manager_core::model::RepoStats;
use restic_manager_store::Effect;
use serde_json::json;

use super::views::{Fleet, foreign_lock, part};
use super::*;
use crate::engine::SessionHandle;

impl Fleet<'_> {
    /// The agent meets a lock of somebody else.
    async fn sees_a_lock(&mut self) {
        let now = self.house.clock.now();
        let lock = foreign_lock(now);
        let stats = RepoStats { locks: Some(vec![lock]), locks_seen_at: Some(now), ..RepoStats::default() };
        self.says(Effect::Stats { repo_id: self.repo, restic_id: None, stats }).await;
    }
}

#[tokio::test]
async fn many_repositories_are_searched_and_many_hosts_of_one_are_paged() {
    let house = House::new();
    let browser = house.browser().await;
    let last = Fleet::new(&house, "web999").await;
    assert!(!browser.look("/repos").await.html.contains(r#"role="search""#), "one needs no search");
    for number in 100..150 {
        let other = Fleet::new(&house, &format!("web{number}")).await;
        let write = json!({"role": "copy", "credential": {"url": "/srv/shared", "password": "s3cret"}});
        let write = serde_json::from_value(write).unwrap();
        house.state.app.put_attachment(&other.caller, other.host, last.repo, write).await.unwrap();
    }
    let named = |html: &str, from: &str| {
        let part = part(html, from, "</section>");
        part.matches(r#"class="name" href="/"#).count()
    };
    let first = browser.look(&format!("/repos/{}", last.repo)).await.html;
    let users = part(&first, r#"id="hosts""#, "</section>");
    assert!(users.contains("Used by 51 hosts") && users.find(">web999<") < users.find(">web100<"), "{users}");
    assert_eq!(named(&first, r#"id="hosts""#), 50);
    let next = part(users, r#"<a href="/repos/"#, r#"" rel="next""#).split('"').nth(1).unwrap().to_owned();
    let second = browser.look(next.split('#').next().unwrap()).await.html;
    let users = part(&second, r#"id="hosts""#, "</section>");
    assert!(
        users.contains(">web149<") && users.contains("First page") && !users.contains("Next page"),
        "{users}"
    );
    assert_eq!(named(&second, r#"id="hosts""#), 1);
    let beyond = browser.look(&format!("/repos/{}?from=51", last.repo)).await.html;
    assert_eq!(named(&beyond, r#"id="hosts""#), 50, "what is not there begins anew");

    let all = browser.look("/repos").await.html;
    assert!(all.contains(r#"role="search""#) && all.contains("Next page"), "{all}");
    let found = browser.look("/repos?q=WEB14").await.html;
    assert_eq!(found.matches(r#"class="name" href="/repos/"#).count(), 10, "{found}");
    assert!(found.contains(r#"value="WEB14""#) && !found.contains("Next page"));
    assert!(browser.look("/repos?q=nothing").await.html.contains("No repository like that"));
}

#[tokio::test]
async fn forget_waits_for_the_admin_credential_where_the_everyday_one_may_only_append() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let (outgoing, _messages) = tokio::sync::mpsc::channel(4);
    let (closing, _ends) = tokio::sync::mpsc::unbounded_channel();
    house.state.connections.sessions.insert(fleet.host, SessionHandle::new(1, outgoing, closing));
    let forget = async || {
        let page = browser.look(&format!("/repos/{}", fleet.repo)).await.html;
        part(&page, "/run/forget", "</td>").to_owned()
    };
    assert!(!forget().await.contains("disabled"), "{}", forget().await);
    let tie = format!("/hosts/{}/attachments/{}", fleet.host, fleet.repo);
    assert_eq!(browser.send(&tie, &[("role", "primary"), ("append_only", "yes")]).await.status, 303);
    let told = forget().await;
    assert!(told.contains("disabled") && told.contains(r#"id="blocked-forget""#), "{told}");
    let admin = [("url", "/srv/admin"), ("password", "planted-admin-password")];
    assert_eq!(browser.send(&format!("/repos/{}/admin", fleet.repo), &admin).await.status, 303);
    assert!(!forget().await.contains("disabled"), "{}", forget().await);
}

#[tokio::test]
async fn a_repository_says_why_prune_cannot_run_and_takes_its_admin_credential() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let path = format!("/repos/{}", fleet.repo);
    let page = browser.look(&path).await;
    insta::assert_snapshot!(
        "repo_upkeep",
        browser.steady(&page.html, r#"<section aria-labelledby="maintenance">"#, "</section>")
    );
    let prune = part(&page.html, "/run/prune", "</td>");
    assert!(prune.contains("disabled") && prune.contains(r#"id="blocked-prune""#), "{prune}");
    let asked = browser.send(&format!("{path}/run/prune"), &[]).await;
    assert_eq!(asked.status, 503, "{}", asked.html);
    assert!(
        part(&asked.html, r#"class="note bad""#, "</div>").contains("is not connected"),
        "{}",
        asked.html
    );

    let secret = "planted-admin-password";
    let half = browser.send(&format!("{path}/admin"), &[("url", ""), ("password", secret)]).await;
    assert_eq!(half.status, 422);
    assert!(
        half.html.contains("Give the address")
            && half.html.contains("type it again")
            && !half.html.contains(secret)
    );
    let nothing = browser.send(&format!("{path}/admin"), &[("url", ""), ("password", "")]).await;
    assert!(nothing.html.contains("Nothing was typed, so nothing changed"), "{}", nothing.html);
    let stored = browser.send(&format!("{path}/admin"), &[("url", "/srv/admin"), ("password", secret)]).await;
    assert_eq!(stored.status, 303, "{}", stored.html);
    let page = browser.look(&path).await.html;
    assert!(page.contains("/srv/admin") && !page.contains(secret));
    let untouched = browser.send(&format!("{path}/admin"), &[("url", "/srv/admin"), ("password", "")]).await;
    assert!(untouched.html.contains("Nothing was typed"), "{}", untouched.html);
    let kept = browser.send(&format!("{path}/admin/delete"), &[("name", "web")]).await;
    assert!(kept.status == 422 && browser.look(&path).await.html.contains("/srv/admin"));
    let asked = part(&kept.html, r#"<details class="ask" open>"#, "</details>");
    assert!(asked.contains("the name is “web1”") && asked.contains(r#"value="web""#), "{asked}");
    assert_eq!(browser.send(&format!("{path}/admin/delete"), &[("name", "web1")]).await.status, 303);
    assert!(!browser.look(&path).await.html.contains("/srv/admin"));
}

#[tokio::test]
async fn the_cadence_is_changed_with_presets_and_shown_before_it_is_saved() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let path = format!("/repos/{}/maintenance", fleet.repo);
    let page = browser.look(&path).await.html;
    assert!(page.contains(r#"value="0 3 * * *""#) && page.contains("which is missing"), "{page}");
    let fields = |prune: &'static str, act: &'static str| {
        [
            ("forget_on", "yes"),
            ("forget_preset", "0 */6 * * *"),
            ("forget_cron", "0 3 * * *"),
            ("prune_cron", prune),
            ("check_on", "yes"),
            ("check_cron", "0 5 1 * *"),
            ("timezone", "Europe/Berlin"),
            ("check_subset_pct", "10"),
            ("spread_minutes", "0"),
            ("keep_admin_credential", "no"),
            ("do", act),
        ]
    };
    let looked = browser.send(&path, &fields("0 4 * * 0", "look")).await.html;
    assert!(
        looked.contains("06:00 CET") && looked.contains(r#"value="0 */6 * * *" autocomplete"#),
        "{looked}"
    );
    let wrong = browser.send(&path, &fields("sometimes", "save")).await;
    assert!(wrong.status == 422 && wrong.html.contains(r#"id="prune_cron-wrong""#), "{}", wrong.html);
    assert_eq!(browser.send(&path, &fields("0 4 * * 0", "save")).await.status, 303);
    let repo = browser.look(&format!("/repos/{}", fleet.repo)).await.html;
    assert!(repo.contains("every 6 hours") && repo.contains(r#"value="10""#), "{repo}");
    let prune = part(&repo, r#"<span class="name">Prune"#, "</tr>");
    assert!(prune.contains("off"), "{prune}");
}

#[tokio::test]
async fn every_lock_goes_only_when_the_name_was_typed() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let path = format!("/repos/{}/unlock", fleet.repo);
    let empty = browser.send(&path, &[("scope", "all"), ("name", "")]).await;
    let told = part(&empty.html, r#"class="note bad""#, "</div>");
    assert!(empty.status == 422 && told.contains("the name is “web1”"), "no lock was seen: {told}");
    fleet.sees_a_lock().await;
    let wrong = browser.send(&path, &[("scope", "all"), ("name", "web2")]).await;
    let asked = part(&wrong.html, r#"<details class="ask" open>"#, "</details>");
    assert!(wrong.status == 422 && asked.contains("the name is “web1”"), "{asked}");
    assert!(asked.contains(r#"value="web2""#) && !wrong.html.contains(r#"class="note bad""#), "{asked}");
    let offline = browser.send(&path, &[]).await;
    assert_eq!(offline.status, 503);
}

#[tokio::test]
async fn a_host_without_a_repository_is_connected_on_its_page() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let path = format!("/hosts/{}/repo", fleet.host);
    let page = browser.look(&path).await.html;
    assert!(
        page.contains("rest:https://backup.example.net/web1/") && page.contains(r#"value="u""#),
        "{page}"
    );
    assert!(!page.contains("hunter2") && !page.contains("s3cret"), "no secret is ever shown");
    let secret = "planted-repo-password";
    let wrong = browser.send(&path, &[("url", "nonsense:"), ("password", secret)]).await;
    assert!(
        wrong.status == 422 && wrong.html.contains("-url-wrong") && !wrong.html.contains(secret),
        "{}",
        wrong.html
    );
    assert!(wrong.html.contains(r#"value="nonsense:""#));
    assert_eq!(browser.send(&path, &[("url", "/srv/new"), ("password", secret)]).await.status, 303);
    assert!(browser.look(&path).await.html.contains("/srv/new"));
}
