//! What an operator changes of hosts, repositories and of what ties them.

use restic_manager_core::id::JobId;
use restic_manager_core::model::{FinalState, JobKind, JobSummary};
use restic_manager_store::{AuditFilter, PageRequest};

use super::views::{Fleet, part};
use super::*;

/// How often this was done so far.
async fn deeds(house: &House, action: &str) -> usize {
    let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
    house.state.app.store().audit(&filter, PageRequest::first(500)).await.unwrap().items.len()
}

fn wrong<'a>(html: &'a str, field: &str) -> &'a str {
    part(html, &format!(r#"id="{field}-wrong""#), "</p>")
}

#[tokio::test]
async fn a_host_is_renamed_labelled_and_limited_on_its_settings() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let (overview, path) = (format!("/hosts/{}", fleet.host), format!("/hosts/{}/settings", fleet.host));
    let form = browser.steady(
        &browser.look(&path).await.html,
        &format!("<form method=\"post\" action=\"{path}\""),
        "</form>",
    );
    insta::assert_snapshot!("host_settings", form);
    let send = async |name: &str, tags: &str, up: &str, down: &str| {
        let fields = [("name", name), ("tags", tags), ("limit_upload_kib", up), ("limit_download_kib", down)];
        browser.send(&path, &fields).await
    };
    let before = deeds(&house, "host.changed").await;
    assert_eq!(send("web1", "prod", "", "").await.to.as_deref(), Some(overview.as_str()));
    assert_eq!(deeds(&house, "host.changed").await, before, "nothing changed, and nothing is written down");

    let answer = send("", "no:tag!", "0", "fast").await;
    assert_eq!(answer.status, 422);
    for field in ["name", "tags", "limit_upload_kib", "limit_download_kib"] {
        assert!(!wrong(&answer.html, field).is_empty(), "{field}: {}", answer.html);
    }
    assert!(answer.html.contains(r#"value="fast""#), "what was typed stays: {}", answer.html);

    assert_eq!(send("Web 2", "eu, prod  db", "512", "").await.status, 303);
    assert_eq!(deeds(&house, "host.changed").await, before + 1);
    let shown = browser.look(&overview).await.html;
    for expected in ["<h1>Web 2</h1>", ">eu</a>", ">db</a>", "512.0 KiB/s", "unlimited"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert_eq!(send("Web 2", "", "", "").await.status, 303);
    let shown = browser.look(&overview).await.html;
    assert!(!shown.contains("512.0 KiB/s") && !shown.contains(">eu</a>"), "{shown}");
}

#[tokio::test]
async fn whoever_changes_something_sees_it_at_once_though_the_fleet_is_held_for_the_others() {
    let house = House::with_looks_good_for(2_000);
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let path = format!("/hosts/{}/settings", fleet.host);
    let shown = async || {
        let html = browser.look("/").await.html;
        part(&html, r#"class="name""#, "</a>").rsplit('>').next().unwrap().to_owned()
    };
    let rename = |name: &'static str| [("name", name), ("tags", "prod")];
    assert!(browser.look("/").await.html.contains(">web1</a>"));
    let patch = serde_json::from_value(serde_json::json!({"name": "web2"})).unwrap();
    house.state.app.change_host(&fleet.caller, fleet.host, patch).await.unwrap();
    assert!(browser.look("/").await.html.contains(">web1</a>"), "it is held: {}", shown().await);
    assert_eq!(browser.send(&path, &rename("web3")).await.status, 303);
    assert!(browser.look("/").await.html.contains(">web3</a>"), "{}", shown().await);
    let patch = get(&format!("/api/hosts/{}", fleet.host)).method("PATCH").header("cookie", &browser.cookie);
    let patch = patch.header("origin", ORIGIN).header("x-csrf-token", &browser.csrf);
    let answer = house.answer(patch.json(&serde_json::json!({"name": "web4"}))).await;
    assert_eq!(answer.status, 200, "{}", answer.html);
    assert!(browser.look("/").await.html.contains(">web4</a>"), "{}", shown().await);
}

#[tokio::test]
async fn a_host_is_deleted_by_its_name_and_not_while_it_works() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let path = format!("/hosts/{}/delete", fleet.host);
    let job = fleet.running(JobKind::Backup).await;
    let typo = browser.send(&path, &[("typed", "web")]).await;
    let asked = part(&typo.html, r#"<details class="ask" open>"#, "</details>");
    assert!(typo.status == 422 && asked.contains("the name is “web1”"), "{}", typo.html);
    let busy = browser.send(&path, &[("typed", "web1")]).await;
    let told = part(&busy.html, r#"role="alert""#, "</div>");
    assert!(busy.status == 409 && told.contains(&job.to_string()), "{told}");
    house.state.app.give_up_job(&fleet.caller, job).await.unwrap();
    assert_eq!(browser.send(&path, &[("typed", "web1")]).await.to.as_deref(), Some("/"));
    assert_eq!(browser.look(&format!("/hosts/{}", fleet.host)).await.status, 404);
    let row = format!(r#"id="h-{}""#, fleet.host);
    assert!(!browser.look("/").await.html.contains(&row), "it is gone from the fleet at once");
}

#[tokio::test]
async fn a_repository_is_made_shared_handed_over_and_forgotten() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    assert!(browser.look("/repos").await.html.contains(r#"href="/repos/new""#));
    let taken = browser.send("/repos/new", &[("name", "web1")]).await;
    assert!(taken.status == 409 && wrong(&taken.html, "name").contains("There is another"), "{}", taken.html);
    let made = browser.send("/repos/new", &[("name", "Copies")]).await.to.unwrap();
    let repo = made.strip_suffix("/attach").unwrap().to_owned();

    let page = browser.look(&made).await;
    insta::assert_snapshot!(
        "attach",
        browser.steady(&page.html, &format!("<form method=\"post\" action=\"{made}\""), "</form>")
    );
    let attach = async |host: &str, role: &str, url: &str| {
        let fields = [
            ("host", host),
            ("role", role),
            ("append_only", "yes"),
            ("restic_host", ""),
            ("url", url),
            ("password", "planted secret"),
        ];
        browser.send(&made, &fields).await
    };
    let stranger = attach("web9", "copy", "/srv/copies").await;
    assert!(wrong(&stranger.html, "host").contains("no host of this name"), "{}", stranger.html);
    assert!(!stranger.html.contains("planted") && !wrong(&stranger.html, "password").is_empty());
    assert!(part(&stranger.html, r#"value="copy""#, ">").contains("selected"), "{}", stranger.html);
    let second = attach("web1", "primary", "/srv/copies").await;
    assert!(second.status == 409 && !wrong(&second.html, "role").is_empty(), "{}", second.html);
    let nowhere = attach("web1", "copy", "").await;
    assert!(nowhere.status == 422 && !wrong(&nowhere.html, "url").is_empty(), "{}", nowhere.html);
    assert_eq!(attach("WEB1", "copy", "/srv/copies").await.to, Some(format!("{repo}#hosts")));
    let again = attach("web1", "copy", "/srv/copies").await;
    assert!(wrong(&again.html, "host").contains("attached already"), "{}", again.html);
    let shown = browser.look(&repo).await.html;
    let users = part(&shown, r#"id="hosts""#, "</section>");
    assert!(users.contains("copy") && users.contains("/srv/copies") && users.contains(">yes"), "{users}");

    let settings = format!("{repo}/settings");
    let runner = part(&browser.look(&settings).await.html, r#"<select id="runner""#, "</select>").to_owned();
    assert!(runner.contains(r#"value="" selected>automatic: web1<"#), "{runner}");
    let runner = runner.split("value=\"").nth(2).unwrap().split('"').next().unwrap().to_owned();
    let unchanged = browser.send(&settings, &[("name", "Copies"), ("runner", "")]).await;
    assert_eq!((unchanged.to.as_deref(), deeds(&house, "repo.changed").await), (Some(repo.as_str()), 0));
    let nobody = browser.send(&settings, &[("name", "Copies"), ("runner", "nobody")]).await;
    assert!(nobody.status == 422 && !wrong(&nobody.html, "runner").is_empty(), "{}", nobody.html);
    assert_eq!(browser.send(&settings, &[("name", "Far copies"), ("runner", &runner)]).await.status, 303);
    assert!(browser.look(&repo).await.html.contains("<h1>Far copies</h1>"));
    let chosen = part(&browser.look(&settings).await.html, r#"<select id="runner""#, "</select>").to_owned();
    assert!(chosen.contains("selected>web1<"), "{chosen}");

    let delete = format!("{repo}/delete");
    let typo = browser.send(&delete, &[("typed", "Copies")]).await;
    assert!(typo.status == 422 && wrong(&typo.html, "typed").contains("“Far copies”"), "{}", typo.html);
    let used = browser.send(&delete, &[("typed", "Far copies")]).await;
    assert!(
        used.status == 409 && part(&used.html, r#"role="alert""#, "</div>").contains("etach"),
        "{}",
        used.html
    );
    let tie = format!("/hosts/{}/attachments/{}", fleet.host, repo.rsplit('/').next().unwrap());
    // Who was chosen by name is not detached by mistake, and need not stay for ever.
    let runs = browser.send(&format!("{tie}/delete"), &[("typed", "Far copies")]).await;
    assert!(runs.status == 409 && runs.html.contains("is the runner"), "{}", runs.html);
    assert_eq!(browser.send(&settings, &[("name", "Far copies")]).await.to.as_deref(), Some(repo.as_str()));
    assert_eq!(deeds(&house, "repo.changed").await, 1, "a form without the field changes no runner");
    assert_eq!(browser.send(&settings, &[("name", "Far copies"), ("runner", "")]).await.status, 303);
    assert_eq!(browser.send(&format!("{tie}/delete"), &[("typed", "Far copies")]).await.status, 303);
    assert_eq!(browser.look(&tie).await.status, 404);
    assert_eq!(browser.send(&delete, &[("typed", "Far copies")]).await.to.as_deref(), Some("/repos"));
    assert_eq!(browser.look(&repo).await.status, 404);
}

#[tokio::test]
async fn a_host_learns_its_role_and_what_its_credential_may_do() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let tie = format!("/hosts/{}/attachments/{}", fleet.host, fleet.repo);
    let overview = browser.look(&format!("/hosts/{}", fleet.host)).await.html;
    assert!(overview.contains(&format!(r#"href="{tie}""#)), "{overview}");
    assert!(browser.look(&format!("/hosts/{}/repo", fleet.host)).await.html.contains(&tie));
    let page = browser.look(&tie).await.html;
    insta::assert_snapshot!(
        "attachment",
        browser.steady(&page, &format!("<form method=\"post\" action=\"{tie}\""), "</form>")
    );
    let same = browser.send(&tie, &[("role", "primary"), ("append_only", "unknown")]).await;
    assert_eq!((same.status, deeds(&house, "attachment.changed").await), (303, 0));
    let nonsense = browser.send(&tie, &[("role", "king"), ("append_only", "perhaps")]).await;
    assert!(nonsense.status == 422, "{}", nonsense.html);
    assert!(!wrong(&nonsense.html, "role").is_empty() && !wrong(&nonsense.html, "append_only").is_empty());
    assert_eq!(browser.send(&tie, &[("role", "primary"), ("append_only", "yes")]).await.status, 303);
    assert_eq!(deeds(&house, "attachment.changed").await, 1);
    assert!(part(&browser.look(&tie).await.html, r#"value="yes""#, ">").contains("selected"));

    let url = |url: &'static str| [("url", url), ("password", "planted secret")];
    let nowhere = browser.send(&format!("{tie}/credential"), &url("")).await;
    assert!(nowhere.status == 422 && !wrong(&nowhere.html, "everyday-url").is_empty(), "{}", nowhere.html);
    assert!(!nowhere.html.contains("planted"));
    assert_eq!(browser.send(&format!("{tie}/credential"), &url("/srv/elsewhere")).await.status, 303);
    let page = browser.look(&tie).await.html;
    assert!(page.contains("/srv/elsewhere") && !page.contains("planted"), "{page}");
    assert!(part(&page, r#"value="yes""#, ">").contains("selected"), "the role and the rest stay");

    let typo = browser.send(&format!("{tie}/delete"), &[("typed", "web")]).await;
    assert!(typo.status == 422 && wrong(&typo.html, "typed").contains("“web1”"), "{}", typo.html);
}

#[tokio::test]
async fn a_job_that_did_not_succeed_can_be_run_again() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let offered = async |job: JobId| {
        browser.look(&format!("/jobs/{job}")).await.html.contains(&format!(r#"action="/jobs/{job}/rerun""#))
    };
    let runs = fleet.running(JobKind::Stats).await;
    assert!(!offered(runs).await, "it is not over");
    let none = JobSummary::default;
    let fine = fleet.ended(JobKind::Check, FinalState::Succeeded, "", none()).await;
    let unlock = fleet.ended(JobKind::Unlock, FinalState::Failed, "no", none()).await;
    assert!(!offered(fine).await && !offered(unlock).await);
    let failed = fleet.ended(JobKind::Check, FinalState::Failed, "no", none()).await;
    assert!(offered(failed).await);
    let away = browser.send(&format!("/jobs/{failed}/rerun"), &[]).await;
    assert!(away.html.contains("is not connected"), "{}: {}", away.status, away.html);
}

#[tokio::test]
async fn a_job_of_a_host_that_is_gone_can_be_given_up() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let job = fleet.running(JobKind::Backup).await;
    let (page, path) = (format!("/jobs/{job}"), format!("/jobs/{job}/give-up"));
    assert!(browser.look(&page).await.html.contains(&path));
    let asked = browser.look(&path).await;
    assert!(asked.status == 200 && asked.html.contains("counts as lost"), "{}", asked.html);
    assert_eq!(browser.send(&path, &[]).await.to.as_deref(), Some(page.as_str()));
    let over = browser.look(&page).await.html;
    assert!(over.contains("lost") && !over.contains(&path), "{over}");
    assert_eq!(browser.look(&path).await.to.as_deref(), Some(page.as_str()), "there is nothing to give up");
    assert_eq!(deeds(&house, "job.given_up").await, 1);
}
