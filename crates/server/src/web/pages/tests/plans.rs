//! What is backed up and when, as pages.

use restic_manager_core::model::{FinalState, ForgetResult, JobKind, JobSummary, SnapshotDecision};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_store::{Effect, Enqueued};

use super::views::{Fleet, part};
use super::*;
use crate::app::ListQuery;

/// The first path of a page that begins so and goes on with an id.
fn path_with(html: &str, begin: &str) -> String {
    let found = html.match_indices(begin).find_map(|(at, _)| {
        let id = html.get(at + begin.len()..at + begin.len() + 36)?;
        id.parse::<restic_manager_core::id::HostId>().is_ok().then(|| format!("{begin}{id}"))
    });
    found.unwrap_or_else(|| panic!("no {begin} in {html}"))
}

#[tokio::test]
async fn a_source_group_is_made_read_in_words_changed_and_deleted_by_its_name() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let base = format!("/hosts/{}/sources", fleet.host);
    assert!(
        browser.look(&format!("{base}/new")).await.html.contains("Keeps 7 daily, 4 weekly and 12 monthly")
    );
    let fields = [
        ("name", "mail & more"),
        ("includes", "/var/mail\r\n/srv/<b>\r\n"),
        ("excludes", "*.tmp"),
        ("daily", "7"),
        ("within", "2m"),
        ("retry_max", "3"),
        ("retry_backoff_seconds", "60"),
        ("one_file_system", "yes"),
    ];
    let mut look = fields.to_vec();
    look.push(("do", "look"));
    let looked = browser.send(&format!("{base}/new"), &look).await;
    assert!(
        looked.status == 200 && looked.html.contains("Keeps 7 daily and everything of the last 2 months"),
        "{}",
        looked.html
    );
    assert!(!browser.look(&base).await.html.contains("mail &#38; more"), "looking saves nothing");
    assert_eq!(browser.send(&format!("{base}/new"), &fields).await.to.as_deref(), Some(base.as_str()));
    let list = browser.look(&base).await.html;
    assert!(
        list.contains("mail &#38; more")
            && list.contains("/srv/&#60;b&#62;")
            && list.contains("stays on one file system"),
        "{list}"
    );
    assert!(list.contains("No schedule backs it up"));

    let taken = browser.send(&format!("{base}/new"), &fields).await;
    assert_eq!(taken.status, 409);
    assert!(part(&taken.html, r#"id="name-wrong""#, "</p>").contains("There is another"), "{}", taken.html);
    assert!(taken.html.contains("/var/mail\n/srv/&#60;b&#62;"), "what was typed stays: {}", taken.html);

    let own = path_with(part(&list, "mail &#38; more", "</li>"), &format!("{base}/"));
    let edit = browser.look(&own).await;
    assert!(edit.html.contains(r#"value="2m""#) && edit.html.contains("mail-more"), "{}", edit.html);
    insta::assert_snapshot!(
        "source_edit",
        browser.steady(&edit.html, "<form method=\"post\" action=\"/hosts", "</form>")
    );
    let kept = browser.send(&format!("{own}/delete"), &[("typed", "mail")]).await;
    let asked = part(&kept.html, r#"<details class="ask" open>"#, "</details>");
    assert!(kept.status == 422 && asked.contains("the name is “mail &#38; more”"), "{}", kept.html);
    assert!(asked.contains(r#"value="mail""#), "what was typed stays: {asked}");
    assert_eq!(browser.send(&format!("{own}/delete"), &[("typed", "mail & more")]).await.status, 303);
    assert!(!browser.look(&base).await.html.contains("mail &#38; more"));
}

#[tokio::test]
async fn what_is_wrong_with_a_source_group_stands_at_its_field() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let path = format!("/hosts/{}/sources/new", fleet.host);
    let fields = [
        ("name", ""),
        ("includes", "relative"),
        ("hourly", "0"),
        ("daily", "many"),
        ("within", "soon"),
        ("retry_max", "99"),
        ("retry_backoff_seconds", "60"),
    ];
    let refused = browser.send(&path, &fields).await;
    assert_eq!(refused.status, 422);
    for field in ["name", "includes", "hourly", "daily", "within", "retry_max"] {
        assert!(refused.html.contains(&format!(r#"id="{field}-wrong""#)), "{field}: {}", refused.html);
    }
    assert!(!refused.html.contains(r#"id="retry_backoff_seconds-wrong""#));
    assert!(refused.html.contains(r#"value="many""#));
}

#[tokio::test]
async fn a_group_that_a_schedule_uses_is_not_deleted_and_the_page_says_why() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let base = format!("/hosts/{}/sources", fleet.host);
    let own = path_with(&browser.look(&base).await.html, &format!("{base}/"));
    let refused = browser.send(&format!("{own}/delete"), &[("typed", "web1")]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.html.contains("is used by schedules"), "{}", refused.html);
}

#[tokio::test]
async fn a_schedule_shows_its_next_times_and_what_it_can_never_fill() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let base = format!("/hosts/{}/schedules", fleet.host);
    let list = browser.look(&base).await.html;
    assert!(list.contains("daily at 03:00") && list.contains("Europe/Berlin"), "{list}");
    let own = path_with(&list, &format!("{base}/"));
    let edit = browser.look(&own).await.html;
    assert_eq!(edit.matches("CET").count(), 5, "five times in its zone: {edit}");
    insta::assert_snapshot!(
        "schedule_edit",
        browser.steady(&edit, "<form method=\"post\" action=\"/hosts", "</form>")
    );
    let group = path_with(&edit, r#"name="group" value=""#).rsplit('"').next().unwrap().to_owned();
    let send = |preset: &'static str, cron: &'static str, act: &'static str| {
        let (browser, own, group) = (&browser, &own, &group);
        async move {
            let fields = [
                ("name", "weekly"),
                ("timezone", "Asia/Tokyo"),
                ("preset", preset),
                ("cron", cron),
                ("group", group.as_str()),
                ("enabled", "yes"),
                ("do", act),
            ];
            browser.send(own, &fields).await
        }
    };
    let looked = send("0 4 * * 0", "0 3 * * *", "look").await.html;
    assert!(looked.contains("on Sundays at 04:00") && looked.contains("JST"), "{looked}");
    assert!(looked.contains("Daily 7 can never fill"), "{looked}");
    assert!(
        looked.contains(r#"value="0 4 * * 0" autocomplete"#),
        "the preset is what is written then: {looked}"
    );
    let never = send("", "0 3 30 2 *", "look").await.html;
    assert!(never.contains("never fires"), "{never}");
    let wrong = send("", "every day", "save").await;
    assert!(
        wrong.status == 422
            && wrong.html.contains(r#"id="cron-wrong""#)
            && wrong.html.contains(r#"value="every day""#)
    );
    assert_eq!(send("0 4 * * 0", "", "save").await.status, 303);
    let list = browser.look(&base).await.html;
    assert!(list.contains("on Sundays at 04:00") && list.contains("Asia/Tokyo"), "{list}");
    let kept = browser.send(&format!("{own}/delete"), &[("typed", "no")]).await;
    assert!(
        part(&kept.html, r#"id="typed-wrong""#, "</p>").contains("the name is “weekly”"),
        "{}",
        kept.html
    );
    assert_eq!(browser.send(&format!("{own}/delete"), &[("typed", "weekly")]).await.status, 303);
    assert!(browser.look(&base).await.html.contains("Nothing runs by itself yet"));
}

#[tokio::test]
async fn run_now_needs_the_host() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let base = format!("/hosts/{}/schedules", fleet.host);
    let list = browser.look(&base).await.html;
    assert!(list.contains("disabled title=\"The host is not connected\""), "{list}");
    let own = path_with(&list, &format!("{base}/"));
    let refused = browser.send(&format!("{own}/run"), &[]).await;
    assert_eq!(refused.status, 503);
    assert!(refused.html.contains("is not connected"), "{}", refused.html);
}

#[tokio::test]
async fn what_would_go_is_shown_snapshot_by_snapshot_with_the_reasons_of_what_stays() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let app = &house.state.app;
    let group = app.groups(fleet.host, &ListQuery::default()).await.unwrap().items.remove(0);
    let base = format!("/hosts/{}/sources/{}/preview", fleet.host, group.id);
    let away = browser.send(&base, &[]).await;
    assert!(away.status == 503 && away.html.contains("is not connected"), "{}", away.html);

    let mut job = app.engine().new_job(JobKind::Forget, fleet.host, fleet.repo, fleet.caller.actor());
    job.intent.preview_group = Some(group.id);
    let id = job.id;
    let audit = app.audit_of(&fleet.caller, "job.asked", ("job", id.to_string()), []);
    assert!(matches!(app.store().enqueue(job, audit).await.unwrap(), Enqueued::Created(_)));
    let path = format!("{base}/{id}");
    let waits = browser.look(&path).await.html;
    assert!(waits.contains("hx-trigger=\"every 2s\"") && waits.contains("http-equiv=\"refresh\""), "{waits}");

    fleet.starts(id).await;
    let now = house.clock.now();
    let decision = |n: u8, keeps: &[&str]| SnapshotDecision {
        snapshot_id: format!("{n:02x}").repeat(32),
        time: now - i64::from(n) * DAY,
        keeps: keeps.iter().map(ToString::to_string).collect(),
    };
    let result = ForgetResult {
        group_id: group.id,
        restic_host: "web1".parse().unwrap(),
        tag: group.tag,
        class: OutcomeClass::Ok,
        message: String::new(),
        planned: 1,
        removed: 0,
        kept: 2,
        decisions: vec![
            decision(0, &["daily snapshot", "weekly snapshot"]),
            decision(1, &["daily snapshot"]),
            decision(9, &[]),
        ],
    };
    let over = Effect::Finished {
        job_id: id,
        at: now,
        state: FinalState::Succeeded,
        class: OutcomeClass::Ok,
        exit_code: Some(0),
        message: "1 of 3 snapshots would go".to_owned(),
        hint: None,
        summary: Box::new(JobSummary { forget: vec![result], ..JobSummary::default() }),
        adopt: None,
    };
    fleet.says(over).await;
    let page = browser.look(&path).await.html;
    insta::assert_snapshot!(
        "preview",
        browser.steady(&page, r#"<section aria-label="What would go""#, "</section>")
    );
    assert!(!page.contains("http-equiv=\"refresh\""), "what is over is not looked at again");
    let other = browser.look(&format!("/hosts/{}/sources/{}/preview/{}", fleet.host, fleet.repo, id)).await;
    assert_eq!(other.status, 404, "it is no preview of another group");
}
