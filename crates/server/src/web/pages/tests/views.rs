//! What the pages show of a fleet.

use restic_manager_core::api::{
    EnrollRequest, EnrollmentTokenRequest, PrimaryCredentialWrite, ScheduleWrite,
};
use restic_manager_core::api::{HostPatch, SourceGroupWrite};
use restic_manager_core::id::{HostId, JobId, RepoId, SpoolId};
use restic_manager_core::model::{CheckStatus, LockOwner};
use restic_manager_core::model::{
    FinalState, JobKind, JobSummary, LogLine, LogStream, RepoStats, SeenLock, StatsKind,
};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::text::LoginName;
use restic_manager_core::time::{HOUR, MINUTE};
use restic_manager_store::{Applied, DispatchIntent, DispatchOutcome, Effect, Enqueued, NumberedEffect};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::log_tail::{LogTail, log_tail};
use super::*;
use crate::app::Caller;

/// A name that would be a script, end an attribute, and not be ASCII.
pub(super) const EVIL: &str = "\"><script>alert(1)</script>'🦀";

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Browser<'_> {
    /// A part of a page without what says nothing to a reader: ids, and the token of the session.
    pub(super) fn steady(&self, html: &str, from: &str, to: &str) -> String {
        let text = part(html, from, to).replace(&self.csrf, "[csrf]");
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let id = rest.get(..36).filter(|text| text.parse::<HostId>().is_ok());
            let taken = id.map_or(first.len_utf8(), str::len);
            out.push_str(if id.is_some() { "[id]" } else { &rest[..taken] });
            rest = &rest[taken..];
        }
        out
    }
}

/// A host with a repository, a source group, a schedule, and whatever jobs it is given.
pub(super) struct Fleet<'a> {
    pub(super) house: &'a House,
    pub(super) caller: Caller,
    pub(super) host: HostId,
    pub(super) repo: RepoId,
    group_path: String,
    pub(super) spool: SpoolId,
    seq: u64,
}

impl<'a> Fleet<'a> {
    pub(super) async fn new(house: &'a House, name: &str) -> Self {
        let app = &house.state.app;
        let admin = LoginName::new("admin").unwrap();
        let user = app.store().user_by_name(&admin).await.unwrap().unwrap();
        let caller = Caller { user_id: user.id, username: user.name };
        let wanted: EnrollmentTokenRequest = read(json!({"host_name": name}));
        let token = app.create_enrollment_token(&caller, wanted, ORIGIN).await.unwrap().token;
        let enrolled = app
            .enroll(EnrollRequest {
                token,
                machine_id: "m".to_owned(),
                os_hostname: "web1".to_owned(),
                agent_version: "0.1.0".to_owned(),
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
            })
            .await
            .unwrap();
        let host = enrolled.host_id;
        let tags: HostPatch = read(json!({"tags": ["prod"]}));
        app.change_host(&caller, host, tags).await.unwrap();
        let credential: PrimaryCredentialWrite = read(json!({
            "repo_name": name,
            "credential": {"url": "rest:https://u:hunter2@backup.example.net/web1/", "password": "s3cret"},
        }));
        let attached = app.put_primary_credential(&caller, host, credential).await.unwrap();
        let group: SourceGroupWrite = read(json!({
            "name": name, "tag": "home", "includes": ["/home", "/etc/<b>"], "excludes": ["*.tmp"],
            "keep": {"daily": 7, "weekly": 4},
        }));
        let group = app.create_group(&caller, host, group).await.unwrap();
        let schedule: ScheduleWrite = read(json!({
            "name": name, "cron": "0 3 * * *", "timezone": "Europe/Berlin", "group_ids": [group.id],
        }));
        app.create_schedule(&caller, host, schedule).await.unwrap();
        let spool = SpoolId::mint(house.clock.now(), [1; 10]);
        let group_path = format!("/hosts/{host}/groups/{}/run", group.id);
        Self { house, caller, host, repo: attached.attachment.repo_id, group_path, spool, seq: 0 }
    }

    /// A job that waits.
    async fn queued(&self, kind: JobKind) -> JobId {
        let app = &self.house.state.app;
        let job = app.engine().new_job(kind, self.host, self.repo, self.caller.actor());
        let audit = app.audit_of(&self.caller, "job.asked", ("job", job.id.to_string()), []);
        match app.store().enqueue(job, audit).await.unwrap() {
            Enqueued::Created(job) => job.id,
            other => panic!("{other:?}"),
        }
    }

    /// A job that runs since a minute.
    pub(super) async fn running(&mut self, kind: JobKind) -> JobId {
        let id = self.queued(kind).await;
        self.starts(id).await;
        id
    }

    /// A job that waits begins, a minute ago.
    pub(super) async fn starts(&mut self, id: JobId) {
        let store = self.house.state.app.store();
        let now = self.house.clock.now();
        let view = store.admission_view().await.unwrap();
        let queued = view.queued.iter().find(|queued| queued.job.id == id).unwrap();
        let intent = DispatchIntent {
            job_id: id,
            host_revision: queued.host_revision,
            repo_revision: queued.repo_revision,
        };
        let outcome = store.dispatch(&[intent], now).await.unwrap();
        assert!(matches!(outcome.as_slice(), [DispatchOutcome::Dispatched(_)]), "{outcome:?}");
        self.says(Effect::Started { job_id: id, at: now, adopt: None }).await;
        self.house.clock.advance(MINUTE);
    }

    /// A job that ended.
    pub(super) async fn ended(
        &mut self,
        kind: JobKind,
        state: FinalState,
        message: &str,
        summary: JobSummary,
    ) -> JobId {
        let job_id = self.running(kind).await;
        let class = match state {
            FinalState::Succeeded => OutcomeClass::Ok,
            FinalState::Warning => OutcomeClass::Partial,
            FinalState::Failed => OutcomeClass::Unreachable,
            FinalState::Cancelled => OutcomeClass::Cancelled,
        };
        let (at, message) = (self.house.clock.now(), message.to_owned());
        let hint = (state == FinalState::Failed).then(|| "look at `web1`".to_owned());
        let summary = Box::new(summary);
        self.says(Effect::Finished {
            job_id,
            at,
            state,
            class,
            exit_code: Some(1),
            message,
            hint,
            summary,
            adopt: None,
        })
        .await;
        job_id
    }

    /// The number of the agent's next message.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub(super) async fn says(&mut self, effect: Effect) {
        let effects = vec![NumberedEffect { seq: self.next_seq(), effect }];
        let now = self.house.clock.now();
        let applied = self.house.state.app.store().apply(self.host, self.spool, effects, now).await.unwrap();
        assert_eq!(applied, [Applied::Done]);
    }
}

pub(super) fn line(n: u64, stream: LogStream, text: &str) -> LogLine {
    LogLine { n, at: Timestamp::from_millis(1_795_000_000_000), stream, text: text.to_owned() }
}

/// An exclusive lock of a host that nobody here knows, an hour old.
pub(super) fn foreign_lock(now: Timestamp) -> SeenLock {
    SeenLock {
        id: "a".repeat(64),
        hostname: "db7".to_owned(),
        username: "root".to_owned(),
        pid: 77,
        exclusive: true,
        time: now - HOUR,
        owner: LockOwner::Unknown,
    }
}

/// The part of a page from one text to the end of another.
pub(super) fn part<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    let start = html.find(from).unwrap_or_else(|| panic!("no {from} in {html}"));
    let end = html[start..].find(to).unwrap_or_else(|| panic!("no {to} behind {from}"));
    &html[start..start + end + to.len()]
}

#[tokio::test]
async fn an_empty_fleet_says_the_next_step() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = browser.look("/").await.html;
    assert!(fleet.contains("No hosts yet") && fleet.contains("rmctl host enroll-token"));
    assert!(fleet.contains(r#"action="/hosts/new""#));
    let made = browser.send("/hosts/new", &[]).await;
    assert_eq!(made.status, 201);
    assert!(made.html.contains("restic-manager-agent enrol --server http://127.0.0.1:8080 --token rme_"));
    assert!(!browser.look("/hosts/new").await.html.contains("rme_"), "it is shown once");
    let wrong = browser.send("/hosts/new", &[("host_name", &"x".repeat(101))]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.html.contains("at most 100") && wrong.html.contains(&"x".repeat(101)));
    for (path, said) in [("/repos", "No repositories yet"), ("/jobs", "No jobs yet")] {
        assert!(browser.look(path).await.html.contains(said), "{path}");
    }
}

#[tokio::test]
async fn whatever_a_thing_is_called_it_is_harmless_on_every_page() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, EVIL).await;
    let failed = fleet.ended(JobKind::Stats, FinalState::Failed, EVIL, JobSummary::default()).await;
    let running = fleet.running(JobKind::Stats).await;
    fleet.says(Effect::Log { job_id: running, lines: vec![line(0, LogStream::Stderr, EVIL)] }).await;
    browser.send("/settings/tokens", &[("name", EVIL)]).await;
    let (host, repo) = (fleet.host, fleet.repo);
    let paths = [
        "/".to_owned(),
        format!("/hosts/{host}"),
        "/repos".to_owned(),
        format!("/repos/{repo}"),
        "/jobs".to_owned(),
        format!("/jobs?host_id={host}&repo_id={repo}"),
        format!("/jobs/{failed}"),
        format!("/jobs/{running}"),
        format!("/jobs/{running}/cancel"),
        "/audit".to_owned(),
        "/settings".to_owned(),
    ];
    for path in paths {
        let answer = browser.look(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.html);
        assert!(!answer.html.contains("<script>"), "{path}: {}", answer.html);
        assert!(
            answer.html.contains("&#62;&#60;script&#62;alert(1)&#60;/script&#62;"),
            "{path}: {}",
            answer.html
        );
        assert!(answer.html.contains('🦀'), "{path}");
        assert!(!answer.html.contains("hunter2") && !answer.html.contains("s3cret"), "{path}");
    }
    let typed = form_urlencoded::Serializer::new(String::new()).append_pair("q", EVIL).finish();
    let filtered = browser.look(&format!("/?{typed}")).await;
    assert!(!filtered.html.contains("<script>") && filtered.html.contains("&#34;&#62;&#60;script"));
}

#[tokio::test]
async fn the_fleet_answers_what_is_wrong_and_filters_by_address() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    fleet
        .ended(JobKind::Backup, FinalState::Failed, "the storage does not answer", JobSummary::default())
        .await;
    let page = browser.look("/").await.html;
    insta::assert_snapshot!("fleet_tiles", browser.steady(&page, r#"<div class="tiles">"#, "</section>"));
    insta::assert_snapshot!(
        "fleet_wrongs",
        browser.steady(&page, r#"<div class="panel wrongs">"#, "</section>")
    );
    insta::assert_snapshot!(
        "fleet_hosts",
        browser.steady(&page, r#"<table class="cards fleet">"#, "</table>")
    );
    for (query, found) in [
        ("q=EB", true),
        ("q=db", false),
        ("tag=prod", true),
        ("tag=dev", false),
        ("state=offline", false),
        ("state=", true),
        ("q=&tag=&state=", true),
    ] {
        let page = browser.look(&format!("/?{query}")).await.html;
        assert_eq!(page.contains(r#"class="name" href="/hosts/"#), found, "{query}");
        assert_eq!(page.contains("No host like that"), !found, "{query}");
    }
    let wrong = browser.look("/?tag=a,b").await.html;
    assert!(wrong.contains("The tag holds") && wrong.contains(r#"value="a,b""#));
}

#[tokio::test]
async fn a_host_shows_its_plan_and_runs_it_only_when_it_is_there() {
    let house = House::new();
    let browser = house.browser().await;
    let fleet = Fleet::new(&house, "web1").await;
    let page = browser.look(&format!("/hosts/{}", fleet.host)).await.html;
    insta::assert_snapshot!(
        "host_plan",
        browser.steady(&page, r#"<div class="pair">"#, "</section>\n</div>")
    );
    insta::assert_snapshot!(
        "host_attachments",
        browser.steady(&page, r#"<section aria-labelledby="attachments">"#, "</section>")
    );
    let refused = browser.send(&fleet.group_path, &[]).await;
    assert_eq!((refused.status, refused.header("content-type")), (503, "text/html; charset=utf-8"));
    assert!(refused.html.contains("<code>web1</code> is not connected"), "{}", refused.html);
}

#[tokio::test]
async fn a_job_that_is_not_over_loads_itself_again_and_can_be_cancelled() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let id = fleet.running(JobKind::Backup).await;
    let page = browser.look(&format!("/jobs/{id}")).await.html;
    assert!(page.contains(r#"<noscript><meta http-equiv="refresh" content="3"></noscript>"#));
    assert!(page.contains("running for 1 min"));
    let still = browser.look(&format!("/jobs/{id}?live=off")).await.html;
    assert!(!still.contains("http-equiv=\"refresh\"") && still.contains("Update by itself"));
    let asked = browser.look(&format!("/jobs/{id}/cancel")).await.html;
    assert!(asked.contains("Cancel this job?") && asked.contains("restic is told to stop"));
    let cancelled = browser.send(&format!("/jobs/{id}/cancel"), &[]).await;
    assert_eq!((cancelled.status, cancelled.to), (303, Some(format!("/jobs/{id}"))));
    assert!(browser.look(&format!("/jobs/{id}")).await.html.contains("It is being stopped"));
}

#[tokio::test]
async fn a_job_that_is_over_says_what_it_did_and_stands_still() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let summary = JobSummary {
        snapshot_id: Some("4f1e2d3c".repeat(8)),
        files_new: Some(1204),
        bytes_added: Some(3 << 20),
        missing_paths: vec!["/srv/gone".to_owned()],
        seconds: Some(61.5),
        ..JobSummary::default()
    };
    let id = fleet.ended(JobKind::Backup, FinalState::Warning, "1 path was not there", summary).await;
    let lines = vec![
        line(0, LogStream::Agent, "restic backup"),
        line(1, LogStream::Stdout, "opened"),
        line(2, LogStream::Stderr, "<missing>"),
    ];
    fleet.says(Effect::Log { job_id: id, lines }).await;
    fleet.says(Effect::LogGap { job_id: id, from: 3, to: 10 }).await;
    fleet.says(Effect::Log { job_id: id, lines: vec![line(10, LogStream::Stdout, "done")] }).await;
    let page = browser.look(&format!("/jobs/{id}")).await.html;
    assert!(!page.contains("http-equiv=\"refresh\"") && !page.contains("/cancel"));
    insta::assert_snapshot!(
        "job_over",
        browser.steady(&page, r#"<section class="panel" aria-label="Course">"#, "</main>")
    );
    let over = browser.send(&format!("/jobs/{id}/cancel"), &[]).await;
    assert_eq!(over.status, 409);
    assert!(over.html.contains("is over"), "{}", over.html);
    assert_eq!(browser.look(&format!("/jobs/{id}/cancel")).await.to, Some(format!("/jobs/{id}")));
}

#[tokio::test]
async fn the_tail_of_a_log_is_its_last_lines() {
    let house = House::new();
    house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let job_id = fleet.running(JobKind::Backup).await;
    let app = Arc::clone(&house.state.app);
    assert_eq!(log_tail(&app, job_id, 5).await.unwrap(), LogTail::default());
    for upto in [1, 2, 5, 6, 700, 3000, 5000] {
        let known = app.job_log(job_id, 0, u32::MAX).await.unwrap().lines.len() as u64;
        let lines = (known..upto).map(|n| line(n, LogStream::Stdout, &format!("line {n}"))).collect();
        fleet.says(Effect::Log { job_id, lines }).await;
        let tail = log_tail(&app, job_id, 5).await.unwrap();
        let numbers: Vec<u64> = tail.lines.iter().map(|line| line.n).collect();
        assert_eq!(numbers, (upto.saturating_sub(5)..upto).collect::<Vec<_>>(), "of {upto}");
        assert_eq!(tail.cut, upto > 5, "of {upto}");
    }
}

#[tokio::test]
async fn jobs_are_filtered_by_address_and_paged() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let waiting = browser.look("/jobs").await.html.matches(r#"class="name""#).count();
    for _ in 0..51 {
        fleet.ended(JobKind::Check, FinalState::Succeeded, "", JobSummary::default()).await;
    }
    fleet
        .ended(JobKind::Backup, FinalState::Failed, "the storage does not answer", JobSummary::default())
        .await;
    let rows = |html: &str| html.matches(r#"<td class="lead"><a class="name" href="/jobs/"#).count();
    let first = browser.look("/jobs").await.html;
    assert_eq!(rows(&first), 50);
    let next = part(&first, "/jobs?cursor=", "\"").trim_end_matches('"');
    let second = browser.look(next).await.html;
    assert_eq!(rows(&second), 2 + waiting);
    assert!(second.contains(r#"<a href="/jobs">First page</a>"#) && !second.contains("Next page"));
    let filtered = browser.look(&format!("/jobs?state=failed&kind=backup&host_id={}", fleet.host)).await.html;
    assert_eq!(rows(&filtered), 1);
    insta::assert_snapshot!("jobs_row", browser.steady(&filtered, "<tbody>", "</tbody>"));
    assert!(filtered.contains(r#"<option value="failed" selected>"#));
    let none = browser.look("/jobs?state=warning").await.html;
    assert!(none.contains("No job like that"));
}

#[tokio::test]
async fn a_repository_shows_what_is_known_of_its_health() {
    let house = House::new();
    let browser = house.browser().await;
    let mut fleet = Fleet::new(&house, "web1").await;
    let now = house.clock.now();
    let lock = foreign_lock(now);
    let stats = RepoStats {
        total_size_bytes: Some(5 << 30),
        size_kind: Some(StatsKind::ReferencedData),
        snapshot_count: Some(12),
        measured_at: Some(now),
        last_check: Some(CheckStatus::ErrorsFound),
        last_check_at: Some(now - DAY),
        last_check_subset_pct: Some(5),
        locks: Some(vec![lock]),
        locks_seen_at: Some(now),
        ..RepoStats::default()
    };
    fleet.says(Effect::Stats { repo_id: fleet.repo, restic_id: None, stats }).await;
    let page = browser.look(&format!("/repos/{}", fleet.repo)).await.html;
    insta::assert_snapshot!(
        "repo_health",
        browser.steady(&page, r#"<section class="note warn""#, "</div></section>")
    );
    let list = browser.look("/repos").await.html;
    insta::assert_snapshot!("repos_row", browser.steady(&list, "<tbody>", "</tbody>"));
    let refused = browser.send(&format!("/repos/{}/stats", fleet.repo), &[]).await;
    assert_eq!(refused.status, 503);
}

#[tokio::test]
async fn a_token_is_shown_once_and_can_be_revoked() {
    let house = House::new();
    let browser = house.browser().await;
    let made = browser.send("/settings/tokens", &[("name", "script"), ("expires_in_days", "30")]).await;
    assert_eq!(made.status, 201);
    assert!(made.html.contains("rmt_"));
    let cases = [
        ("script", "30", 409, "another API token named"),
        ("", "30", 422, "The name is empty"),
        ("other", "many", 422, "whole number"),
        ("other", "0", 422, "0 is not between 1 and 3650"),
    ];
    for (name, days, status, said) in cases {
        let answer = browser.send("/settings/tokens", &[("name", name), ("expires_in_days", days)]).await;
        assert_eq!(answer.status, status, "{said}");
        assert!(answer.html.contains(said) && answer.html.contains(r#"aria-invalid="true""#), "{said}");
        assert!(answer.html.contains(&format!(r#"name="name" value="{name}""#)), "{said}");
        assert!(answer.html.contains(&format!(r#"value="{days}""#)), "{said}");
    }
    let listed = browser.look("/settings").await.html;
    assert!(!listed.contains("rmt_") || !listed.contains("shown this once"));
    let path = part(&listed, "/settings/tokens/", "/revoke").to_owned();
    let typo = browser.send(&path, &[("typed", "scrip")]).await;
    let asked = part(&typo.html, r#"<details class="ask" open>"#, "</details>");
    assert!(typo.status == 422 && asked.contains("the name is “script”"), "{}", typo.html);
    assert!(browser.look("/settings").await.html.contains(&path), "it is still good");
    let host = Fleet::new(&house, "web1").await.host;
    let stranger = path.replace(path.rsplit('/').nth(1).unwrap(), &host.to_string());
    assert_eq!(browser.send(&stranger, &[("typed", "script")]).await.status, 404);
    let revoked = browser.send(&path, &[("typed", "script")]).await;
    assert_eq!((revoked.status, revoked.to.as_deref()), (303, Some("/settings")));
    let listed = browser.look("/settings").await.html;
    assert!(listed.contains("revoked") && !listed.contains("/revoke\""));
}

#[tokio::test]
async fn the_audit_log_names_who_did_what() {
    let house = House::new();
    let browser = house.browser().await;
    Fleet::new(&house, "web1").await;
    let page = browser.look("/audit?action=host.changed").await.html;
    insta::assert_snapshot!("audit_row", browser.steady(&page, "<tbody>", "</tbody>"));
    assert!(browser.look("/audit?actor=nobody").await.html.contains("Nothing like that"));
}
