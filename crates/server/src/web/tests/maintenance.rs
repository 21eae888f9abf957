//! Maintenance over HTTP: the doors, their refusals, and the three forms of an answer.

use restic_manager_core::id::{HostId, JobId, RepoId};
use restic_manager_core::model::{JobKind, UnlockScope};
use restic_manager_store::JobFilter;
use tokio::sync::mpsc;

use super::*;
use crate::engine::{Outgoing, SessionHandle};

/// A house with a host that has a primary repository and a source group.
struct Fleet {
    house: House,
    browser: Browser,
    token: String,
    host_id: HostId,
    repo_id: RepoId,
    group_id: String,
    outgoing: Option<mpsc::Receiver<Outgoing>>,
}

impl Fleet {
    async fn new() -> Self {
        let house = House::new();
        let browser = house.admin().await;
        let made = house.answer(browser.write("POST", "/api/tokens").json(&json!({"name": "script"}))).await;
        let token = body::<Value>(&made)["token"].as_str().unwrap().to_owned();
        let made = house.answer(bearer(post("/api/enrollment-tokens"), &token).json(&json!({}))).await;
        let enroll = json!({
            "token": body::<Value>(&made)["token"], "machine_id": "m", "os_hostname": "web1",
            "agent_version": "0.1.0", "os": "linux", "arch": "x86_64",
        });
        let host: Value = body(&house.answer(post("/api/agents/enroll").json(&enroll)).await);
        let host_id: HostId = host["host_id"].as_str().unwrap().parse().unwrap();
        let credential =
            json!({"repo_name": "vault", "credential": {"url": "/srv/repo", "password": "everyday"}});
        let path = format!("/api/hosts/{host_id}/repo-credentials");
        let put: Value = body(&house.answer(bearer(ask("PUT", &path), &token).json(&credential)).await);
        let repo_id: RepoId = put["repo_id"].as_str().unwrap().parse().unwrap();
        let group = json!({"name": "Home", "includes": ["/srv"], "keep": {"daily": 7}});
        let path = format!("/api/hosts/{host_id}/source-groups");
        let made: Value = body(&house.answer(bearer(post(&path), &token).json(&group)).await);
        let group_id = made["id"].as_str().unwrap().to_owned();
        Self { house, browser, token, host_id, repo_id, group_id, outgoing: None }
    }

    /// The same with its agent connected.
    async fn online() -> Self {
        let mut fleet = Self::new().await;
        let (outgoing, messages) = mpsc::channel(64);
        let (closing, _) = mpsc::unbounded_channel();
        let sessions = &fleet.house.state.connections.sessions;
        sessions.insert(fleet.host_id, SessionHandle::new(1, outgoing, closing));
        fleet.outgoing = Some(messages);
        fleet
    }

    /// Fills in the ids.
    fn path(&self, path: &str) -> String {
        path.replace("REPO", &self.repo_id.to_string())
            .replace("HOST", &self.host_id.to_string())
            .replace("GROUP", &self.group_id)
    }

    async fn call(&self, method: &str, path: &str) -> Response<Bytes> {
        self.house.answer(bearer(ask(method, &self.path(path)), &self.token)).await
    }

    async fn send(&self, method: &str, path: &str, content: &Value) -> Response<Bytes> {
        self.house.answer(bearer(ask(method, &self.path(path)), &self.token).json(content)).await
    }

    async fn set_admin(&self) {
        let admin = json!({"url": "/srv/repo", "password": "planted-password"});
        assert_eq!(self.send("PUT", "/api/repos/REPO/admin-credentials", &admin).await.status(), 200);
    }

    async fn jobs(&self) -> usize {
        let store = self.house.state.app.store();
        let page = restic_manager_store::PageRequest::first(100);
        let rows = store.jobs(&JobFilter::default(), page).await.unwrap().items;
        rows.iter().filter(|row| row.job.kind != JobKind::Init).count()
    }

    async fn job(&self, accepted: &Value) -> restic_manager_core::model::Job {
        let id: JobId = accepted["job_id"].as_str().unwrap().parse().unwrap();
        self.house.state.app.store().job(id).await.unwrap().unwrap().job
    }
}

const DOORS: [&str; 9] = [
    "/api/repos/REPO/forget",
    "/api/repos/REPO/prune",
    "/api/repos/REPO/check",
    "/api/repos/REPO/unlock",
    "/api/hosts/HOST/repo/forget",
    "/api/hosts/HOST/repo/prune",
    "/api/hosts/HOST/repo/check",
    "/api/hosts/HOST/repo/unlock",
    "/api/hosts/HOST/source-groups/GROUP/forget-preview",
];

#[tokio::test]
async fn every_door_starts_a_job_and_pressing_twice_gives_the_same() {
    let fleet = Fleet::online().await;
    fleet.set_admin().await;
    let mut ids = std::collections::BTreeSet::new();
    for door in DOORS {
        let first = fleet.call("POST", door).await;
        assert_eq!(first.status(), 202, "{door}: {:?}", first.body());
        let again: Value = body(&fleet.call("POST", door).await);
        let first: Value = body(&first);
        assert_eq!((&first["job_id"], &again["existing"]), (&again["job_id"], &json!(true)), "{door}");
        ids.insert(first["job_id"].to_string());
    }
    assert_eq!(ids.len(), 5, "a host's doors lead to its primary repository");
    assert_eq!(fleet.jobs().await, 5);
}

#[tokio::test]
async fn nobody_is_asked_while_the_runner_is_away() {
    let fleet = Fleet::new().await;
    fleet.set_admin().await;
    for door in DOORS {
        let answer = fleet.call("POST", door).await;
        assert_eq!(refused(&answer), (503, "host_offline".to_owned()), "{door}");
        let error: ErrorBody = body(&answer);
        assert!(error.message.contains("`web1`") && error.hint.is_some(), "{error:?}");
    }
    assert_eq!(fleet.jobs().await, 0);
}

#[tokio::test]
async fn each_refusal_has_its_code_and_leaves_no_job() {
    let fleet = Fleet::online().await;
    let cases: [(&str, Value, u16, &str); 6] = [
        ("/api/repos/REPO/prune", json!({}), 409, "admin_creds_required"),
        ("/api/hosts/HOST/repo/prune", json!({}), 409, "admin_creds_required"),
        ("/api/repos/REPO/unlock", json!({"remove_all": "Vault"}), 422, "name_not_confirmed"),
        ("/api/repos/REPO/unlock", json!({"all": true}), 422, "invalid"),
        ("/api/repos/HOST/prune", json!({}), 404, "not_found"),
        ("/api/hosts/HOST/source-groups/HOST/forget-preview", json!({}), 404, "not_found"),
    ];
    for (door, content, status, code) in cases {
        let answer = fleet.send("POST", door, &content).await;
        assert_eq!(refused(&answer), (status, code.to_owned()), "{door}");
    }
    let attachment = json!({"role": "primary", "append_only": "yes"});
    let put = fleet.send("PUT", "/api/hosts/HOST/attachments/REPO", &attachment).await;
    assert_eq!(put.status(), 200, "{:?}", put.body());
    let forget = fleet.call("POST", "/api/repos/REPO/forget").await;
    assert_eq!(refused(&forget), (409, "admin_creds_required".to_owned()));
    fleet.set_admin().await;
    let bare = json!({"name": "Home", "includes": ["/srv"]});
    let put = fleet.send("PUT", "/api/hosts/HOST/source-groups/GROUP", &bare).await;
    assert_eq!(put.status(), 200, "{:?}", put.body());
    for door in ["/api/repos/REPO/forget", "/api/hosts/HOST/source-groups/GROUP/forget-preview"] {
        let answer = fleet.call("POST", door).await;
        assert_eq!(refused(&answer), (409, "no_policies".to_owned()), "{door}");
    }
    let made: Value = body(&fleet.send("POST", "/api/repos", &json!({"name": "orphan"})).await);
    let orphan = format!("/api/repos/{}", made["id"].as_str().unwrap());
    for door in ["forget", "prune", "check", "unlock"] {
        let answer = fleet.call("POST", &format!("{orphan}/{door}")).await;
        assert_eq!(refused(&answer), (409, "no_runner".to_owned()), "{door}");
    }
    let admin = json!({"url": "/srv/repo", "password": "x"});
    let door = format!("{orphan}/admin-credentials");
    assert_eq!(refused(&fleet.call("GET", &door).await), (409, "no_runner".to_owned()));
    assert_eq!(refused(&fleet.send("PUT", &door, &admin).await), (409, "no_runner".to_owned()));
    assert_eq!(refused(&fleet.call("DELETE", &door).await), (409, "no_runner".to_owned()));
    assert_eq!(fleet.jobs().await, 0);
}

#[tokio::test]
async fn an_answer_has_the_form_its_sender_goes_on_with() {
    let fleet = Fleet::online().await;
    let path = fleet.path("/api/repos/REPO/check");
    let program: Value = body(&fleet.call("POST", "/api/repos/REPO/check").await);
    let page = format!("/jobs/{}", program["job_id"].as_str().unwrap());

    let htmx = fleet.browser.write("POST", &path).header("hx-request", "true");
    let answer = fleet.house.answer(htmx).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["hx-redirect"].to_str().unwrap()), (202, &*page));

    let form = |content: String| {
        post(&path)
            .header("cookie", &fleet.browser.cookie)
            .header("origin", ORIGIN)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(content)
    };
    let answer = fleet.house.answer(form(format!("csrf_token={}&subset=7", fleet.browser.csrf))).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (303, &*page));
    assert!(answer.body().is_empty());
    for content in ["", "subset=7", "csrf_token=", "csrf_token=guess"] {
        let answer = fleet.house.answer(form(content.to_owned())).await;
        assert_eq!(refused(&answer), (403, "csrf_token_wrong".to_owned()), "{content:?}");
    }
    let foreign = post(&path)
        .header("cookie", &fleet.browser.cookie)
        .header("origin", "https://evil.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("csrf_token={}", fleet.browser.csrf));
    assert_eq!(refused(&fleet.house.answer(foreign).await), (403, "cross_site".to_owned()));
}

#[tokio::test]
async fn how_much_a_check_reads_is_clamped_and_garbage_falls_back_to_the_setting() {
    for (query, wanted) in [
        ("", 5),
        ("?subset=", 5),
        ("?subset=abc", 5),
        ("?subset=-5", 0),
        ("?subset=0", 0),
        ("?subset=37", 37),
        ("?subset=250", 100),
    ] {
        let fleet = Fleet::online().await;
        let answer = fleet.call("POST", &format!("/api/repos/REPO/check{query}")).await;
        let accepted: Value = body(&answer);
        assert_eq!((answer.status().as_u16(), &accepted["subset_pct"]), (202, &json!(wanted)), "{query}");
        assert_eq!(fleet.job(&accepted).await.intent.subset_pct, Some(wanted), "{query}");
    }
}

#[tokio::test]
async fn an_unlock_takes_stale_locks_unless_the_name_is_typed() {
    for (content, wanted) in [
        (None, UnlockScope::Stale),
        (Some(json!({})), UnlockScope::Stale),
        (Some(json!({"remove_all": "vault"})), UnlockScope::All),
    ] {
        let fleet = Fleet::online().await;
        let answer = match &content {
            None => fleet.call("POST", "/api/repos/REPO/unlock").await,
            Some(content) => fleet.send("POST", "/api/repos/REPO/unlock", content).await,
        };
        assert_eq!(answer.status(), 202, "{:?}", answer.body());
        assert_eq!(fleet.job(&body(&answer)).await.intent.unlock, Some(wanted));
    }
    let fleet = Fleet::online().await;
    let form = |name: &str| {
        post(&fleet.path("/api/repos/REPO/unlock"))
            .header("cookie", &fleet.browser.cookie)
            .header("origin", ORIGIN)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(format!("remove_all={name}&csrf_token={}", fleet.browser.csrf))
    };
    assert_eq!(refused(&fleet.house.answer(form("other")).await), (422, "name_not_confirmed".to_owned()));
    assert_eq!(fleet.house.answer(form("vault")).await.status(), 303);
}

#[tokio::test]
async fn settings_are_standard_until_they_are_set_and_refuse_nonsense_by_name() {
    let fleet = Fleet::new().await;
    let mut settings: Value = body(&fleet.call("GET", "/api/repos/REPO/maintenance").await);
    assert_eq!(settings["policy"]["prune"], json!({"enabled": true, "cron": "0 4 * * 0"}));
    assert_eq!((&settings["policy"]["timezone"], &settings["auto_unlock"]), (&json!("UTC"), &json!(true)));
    settings["policy"]["check_subset_pct"] = json!(20);
    settings["keep_admin_credential"] = json!(false);
    let put = fleet.send("PUT", "/api/hosts/HOST/repo-maintenance", &settings).await;
    assert_eq!((put.status().as_u16(), body::<Value>(&put)), (200, settings.clone()));
    assert_eq!(body::<Value>(&fleet.call("GET", "/api/repos/REPO/maintenance").await), settings);
    settings["policy"]["check_subset_pct"] = json!(101);
    let put = fleet.send("PUT", "/api/repos/REPO/maintenance", &settings).await;
    assert_eq!(refused(&put).0, 422);
    assert!(body::<ErrorBody>(&put).message.contains("check_subset_pct"), "{:?}", put.body());
    settings["policy"]["check_subset_pct"] = json!(5);
    settings["policy"]["prune"]["cron"] = json!("0 0 30 2 *");
    let put = fleet.send("PUT", "/api/repos/REPO/maintenance", &settings).await;
    assert_eq!(refused(&put).0, 422, "{:?}", put.body());
    assert!(body::<ErrorBody>(&put).message.contains("prune"), "{:?}", put.body());
}

#[tokio::test]
async fn why_says_what_holds_each_kind() {
    let fleet = Fleet::new().await;
    fleet.house.clock.advance(8 * DAY);
    let why: Value = body(&fleet.call("GET", "/api/repos/REPO/why").await);
    assert_eq!(why["runner"], "web1");
    let kinds: Vec<&str> =
        why["kinds"].as_array().unwrap().iter().map(|k| k["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["forget", "prune", "check"]);
    assert_eq!(why["kinds"][1]["hold"]["reason"], "host_offline");
    assert!(why["kinds"][1]["sentence"].as_str().unwrap().contains("not connected"));
    let lifted = fleet.call("POST", "/api/repos/REPO/check-override").await;
    assert_eq!(lifted.status(), 200, "there is nothing to lift");
    let history: Value = body(&fleet.call("GET", "/api/repos/REPO/stats-history?days=30").await);
    assert_eq!(history, json!({"items": [], "next_cursor": null}));
    for days in ["0", "3661", "many"] {
        let answer = fleet.call("GET", &format!("/api/repos/REPO/stats-history?days={days}")).await;
        assert_eq!(refused(&answer).0, 422, "{days}");
    }
}

#[tokio::test]
async fn the_admin_credential_is_the_runners_and_a_blank_write_changes_nothing() {
    let mut fleet = Fleet::online().await;
    for door in ["/api/repos/REPO/admin-credentials", "/api/hosts/HOST/admin-credentials"] {
        assert_eq!(refused(&fleet.call("GET", door).await), (404, "not_found".to_owned()));
        assert_eq!(fleet.call("DELETE", door).await.status(), 204);
        let blank = json!({"url": "", "password": "", "rest_user": "", "env": {}});
        let nothing = fleet.send("PUT", door, &blank).await;
        assert_eq!(
            (nothing.status().as_u16(), nothing.headers()["x-unchanged"].as_bytes()),
            (204, &b"true"[..])
        );
        let admin = json!({"url": "rest:http://a:planted@127.0.0.1:8000/", "password": "planted"});
        let put = fleet.send("PUT", door, &admin).await;
        assert_eq!(put.status(), 200, "{:?}", put.body());
        assert!(!put.headers().contains_key("x-unchanged"));
        let view: Value = body(&put);
        assert_eq!((&view["host_name"], &view["kept_on_host"]), (&json!("web1"), &json!(true)));
        assert!(!view.to_string().contains("planted"), "{view}");
        assert_eq!(body::<Value>(&fleet.call("GET", door).await), view);
        let unchanged = fleet.send("PUT", door, &blank).await;
        assert_eq!((unchanged.status().as_u16(), body::<Value>(&unchanged)), (200, view));
        assert_eq!(unchanged.headers()["x-unchanged"], "true");
        let half = json!({"url": "rest:http://127.0.0.1:8000/", "password": ""});
        assert_eq!(refused(&fleet.send("PUT", door, &half).await).0, 422, "all of it or nothing");
        for _ in 0..2 {
            assert_eq!(fleet.call("DELETE", door).await.status(), 204);
        }
    }
    let mut pushed = 0;
    let outgoing = fleet.outgoing.as_mut().unwrap();
    while let Ok(Outgoing::Message(message)) = outgoing.try_recv() {
        let restic_manager_core::wire::ServerMessage::ConfigUpdate(update) = *message else { continue };
        assert_eq!(update.kind, restic_manager_core::model::CredentialKind::Admin);
        pushed += 1;
    }
    assert_eq!(pushed, 4, "twice set, twice revoked");
}
