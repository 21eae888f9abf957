//! The snapshots of a host as a page.

use restic_manager_core::id::RepoId;
use restic_manager_core::model::Snapshot;
use restic_manager_core::restic::SnapshotId;
use restic_manager_core::time::{HOUR, MINUTE};
use restic_manager_store::Effect;

use super::views::{Fleet, part};
use super::*;
use crate::app::ListQuery;

impl Fleet<'_> {
    /// The agent lists so many snapshots an hour apart, every third of them with a tag of nobody's.
    async fn lists(&mut self, repo_id: RepoId, count: u8) {
        let now = self.house.clock.now();
        let snapshot = |n: u8| Snapshot {
            id: SnapshotId::new(format!("{n:02x}").repeat(32)).unwrap(),
            time: now - MINUTE - i64::from(n) * HOUR,
            hostname: "web1".to_owned(),
            username: Some("root".to_owned()),
            tags: vec![if n % 3 == 2 { "by <hand>".to_owned() } else { "home".to_owned() }],
            paths: vec!["/home".to_owned(), "/etc/<b>".to_owned()],
            size_bytes: n.is_multiple_of(2).then_some(5 << 30),
            files: n.is_multiple_of(2).then_some(12_345),
            added_bytes: n.is_multiple_of(2).then_some(3 << 20),
        };
        let snapshots = (0..count).map(snapshot).collect();
        self.says(Effect::Snapshots { repo_id, listed_at: now, total: count.into(), snapshots }).await;
    }
}

#[tokio::test]
async fn the_snapshots_of_a_host_are_listed_narrowed_and_paged() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    fleet.lists(fleet.repo, 60).await;
    let path = format!("/hosts/{}/snapshots", fleet.host);
    let page = browser.look(&path).await.html;
    let row = page.match_indices("<tr><td>").map(|(at, _)| &page[at..]).nth(2).unwrap();
    insta::assert_snapshot!("snapshots_rows", {
        let first = browser.steady(&page, "<tr><td>", "</tr>");
        format!("{first}\n{}", browser.steady(row, "<tr><td>", "</tr>"))
    });
    let bar = browser.steady(&page, "<section aria-labelledby=\"snapshots\"", "</div>");
    assert!(bar.contains("60 snapshots in web1, listed <time"), "{bar}");
    let rows = |html: &str| html.matches("<tr><td>").count();
    assert_eq!(rows(&page), 50);
    let next = part(part(&page, r#"<nav class="pager""#, "</nav>"), "href=\"", "\" rel");
    let next = next.trim_start_matches("href=\"").trim_end_matches("\" rel").replace("&#38;", "&");
    let second = browser.look(&next).await.html;
    assert_eq!(rows(&second), 10);
    assert!(second.contains("First page"), "{second}");

    let groups = house.state.app.groups(fleet.host, &ListQuery::default()).await.unwrap().items;
    let id = groups[0].id;
    let of_group = browser.look(&format!("{path}?group_id={id}&repo_id={}", fleet.repo)).await.html;
    assert_eq!(rows(&of_group), 40, "{of_group}");
    assert!(!of_group.contains("by &#60;hand&#62;"));
    assert!(of_group.contains(&format!(r#"<option value="{id}" selected>web1"#)), "{of_group}");
    let none = browser.look(&format!("{path}?repo_id={}", fleet.host)).await.html;
    assert!(none.contains("No snapshot like that is known") && none.contains("Show all"), "{none}");
    assert_eq!(browser.look(&format!("{path}?repo_id=nonsense")).await.status, 404);
    let overview = browser.look(&format!("/hosts/{}", fleet.host)).await.html;
    assert!(overview.contains(&format!(r#"<a href="{path}">All snapshots of web1</a>"#)), "{overview}");
}

#[tokio::test]
async fn a_host_without_snapshots_says_the_next_step() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let (app, caller) = (&house.state.app, &fleet.caller);
    let host = fleet.host;
    let empty = async || {
        let page = browser.look(&format!("/hosts/{host}/snapshots")).await.html;
        part(&page, r#"<div class="empty">"#, "</div>").to_owned()
    };
    assert!(empty().await.contains(&format!("/hosts/{host}/sources\">Back up now")), "{}", empty().await);
    let schedule = app.schedules(host, &ListQuery::default()).await.unwrap().items.remove(0).schedule;
    app.delete_schedule(caller, host, schedule.id).await.unwrap();
    assert!(empty().await.contains("/schedules/new\">Make a schedule"), "{}", empty().await);
    app.delete_group(caller, host, schedule.group_ids[0]).await.unwrap();
    assert!(empty().await.contains("/sources/new\">Make a source group"), "{}", empty().await);
    app.delete_attachment(caller, host, fleet.repo).await.unwrap();
    assert!(empty().await.contains("/repo\">Connect a repository"), "{}", empty().await);
}
