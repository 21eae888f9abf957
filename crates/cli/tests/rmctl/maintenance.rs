//! Maintenance by hand, by setting, and its credential.

use super::server::{Done, End, Server, ask, done, rmctl};

const HOST: &str = "01900000-0000-7000-8000-000000000001";
const REPO: &str = "01900000-0000-7000-8000-000000000011";
const LOCKED: &str = "01900000-0000-7000-8000-000000000012";
const GROUP: &str = "01900000-0000-7000-8000-000000000021";
const JOB: &str = "01900000-0000-7000-8000-000000000101";
const OVER: &str = r#"{"type":"end"}"#;
const SETTINGS: &str = include_str!("../answers/maintenance.json");
const ADMIN: &str = include_str!("../answers/admin-credential.json");

fn item(page: &str, number: usize) -> String {
    let page: serde_json::Value = serde_json::from_str(page).unwrap();
    page["items"][number].to_string()
}

/// One of the recorded jobs, in the order of `answers/jobs.json`.
fn job(number: usize) -> String {
    item(include_str!("../answers/jobs.json"), number)
}

fn repo(number: usize) -> String {
    item(include_str!("../answers/repos.json"), number)
}

fn stands(job: &str) -> String {
    format!(r#"{{"type":"job","job":{}}}"#, job.replace('\n', " "))
}

fn accepted(more: &str) -> String {
    format!(r#"{{"job_id":"{JOB}","state":"queued","existing":false{more}}}"#)
}

#[track_caller]
fn refused(done: &Done, code: i32, message: &str, hint: &str) {
    assert_eq!((done.code, done.stdout.as_str()), (code, ""), "{}", done.stderr);
    assert!(done.stderr.contains(&format!("error: {message}")), "{}", done.stderr);
    assert!(done.stderr.contains(&format!("hint: {hint}")), "{}", done.stderr);
}

#[test]
fn each_kind_is_asked_for_at_its_own_place() {
    for (arguments, line) in [
        (&["repo", "forget", "offsite"][..], "forget"),
        (&["repo", "prune", "offsite"], "prune"),
        (&["repo", "check", "offsite"], "check"),
        (&["repo", "check", "offsite", "--subset", "0"], "check?subset=0"),
        (&["repo", "unlock", "offsite"], "unlock"),
        (&["repo", "stats", "offsite"], "stats"),
    ] {
        let line = format!("POST /api/repos/{REPO}/{line}");
        let body = accepted("");
        let server = Server::start()
            .json("GET /api/repos?q=offsite&limit=500", 200, include_str!("../answers/repos.json"))
            .json(&line, 202, &body);
        let done = ask(&server, &[arguments, &["-o", "json"]].concat());
        assert_eq!((done.code, done.stdout), (0, format!("{body}\n")), "{}", done.stderr);
        let asked = server.asked();
        assert_eq!((asked[1].line.as_str(), asked[1].body.as_str()), (line.as_str(), ""));
    }
}

#[test]
fn a_job_that_is_over_is_asked_for_again_by_its_id() {
    let line = format!("POST /api/jobs/{JOB}/rerun");
    let server = Server::start().json(&line, 202, &accepted(""));
    let done = ask(&server, &["job", "rerun", JOB]);
    assert_eq!(done.stdout.lines().nth(1).unwrap(), format!("{JOB}  queued"), "{}", done.stderr);
    assert_eq!(server.lines(), [line]);
}

#[test]
fn a_runner_is_chosen_by_its_host_or_by_nobody() {
    let path = format!("/api/repos/{REPO}");
    let attachment = serde_json::from_str::<serde_json::Value>(&repo(0)).unwrap()["attachments"][0].clone();
    let id = |field: &str| attachment[field].as_str().unwrap().to_owned();
    let by_id = format!(r#"{{"runner":"{}"}}"#, id("id"));
    let nobody = r#"{"runner":null}"#;
    for (who, body) in [(id("host_id"), by_id.as_str()), (id("id"), &by_id), ("--auto".to_owned(), nobody)] {
        let server = Server::start().json(&format!("GET {path}"), 200, &repo(0)).json(
            &format!("PATCH {path}"),
            200,
            &repo(0),
        );
        let done = ask(&server, &["repo", "runner", REPO, &who]);
        assert_eq!(done.code, 0, "{who}: {}", done.stderr);
        let asked = server.asked();
        let patch = asked.last().unwrap();
        assert_eq!((patch.line.as_str(), patch.body.as_str()), (&*format!("PATCH {path}"), body), "{who}");
    }
    let server = Server::start().json(&format!("GET {path}"), 200, &repo(0));
    let done = ask(&server, &["repo", "runner", REPO, JOB]);
    refused(&done, 3, &format!("host `{JOB}` is not attached to repository `"), "attach it");
    let done = ask(&Server::start(), &["repo", "runner", REPO]);
    assert!(done.code == 2 && done.stderr.contains("<HOST|--auto>"), "{}", done.stderr);
}

#[test]
fn what_was_asked_for_says_how_it_stands_and_what_helps() {
    let more = r#","subset_pct":5,"hold":{"reason":"foreign_lock"}"#;
    let body = accepted(more).replace("false", "true");
    let server = Server::start().json(&format!("POST /api/repos/{REPO}/check"), 202, &body);
    let done = ask(&server, &["repo", "check", REPO]);
    assert_eq!(
        done.stdout.lines().nth(1).unwrap(),
        format!(
            "{JOB}  queued  was there already, reads 5 % of the data, the repository is locked by a process that is \
             not ours; see who holds it, then `rmctl repo unlock`"
        ),
        "{}",
        done.stderr
    );
}

#[test]
fn a_refused_start_is_4_in_the_servers_words() {
    let server = Server::start()
        .json(
            &format!("POST /api/repos/{REPO}/prune"),
            409,
            r#"{"code":"admin_creds_required","message":"`offsite` has no admin credential","hint":"rmctl creds set --kind admin --repo offsite"}"#,
        )
        .json(
            &format!("POST /api/repos/{REPO}/forget"),
            503,
            r#"{"code":"host_offline","message":"web1 is offline","hint":"start its agent"}"#,
        );
    let hint = "rmctl creds set --kind admin --repo offsite";
    refused(&ask(&server, &["repo", "prune", REPO, "--follow"]), 4, "`offsite` has no admin", hint);
    refused(&ask(&server, &["repo", "forget", REPO]), 4, "web1 is offline", "start its agent");
}

#[test]
fn a_followed_check_that_finds_damage_is_6_and_shows_what_it_found() {
    let server = || {
        Server::start()
            .json(&format!("POST /api/repos/{REPO}/check"), 202, &accepted(""))
            .json(&format!("GET /api/jobs/{JOB}"), 200, &job(6))
            .stream(
                End::Close,
                &[
                    r#"{"type":"log","lines":[{"n":0,"at":0,"stream":"stderr","text":"pack is damaged"}]}"#,
                    &stands(&job(6)),
                    OVER,
                ],
            )
    };
    let done = ask(&server(), &["repo", "check", REPO, "-f"]);
    assert_eq!(done.code, 6, "{}", done.stderr);
    assert!(done.stdout.starts_with("pack is damaged\n"), "{}", done.stdout);
    assert!(done.stdout.contains("Result        errors found, 5 % of the data read\n"), "{}", done.stdout);
    assert!(
        done.stderr.contains("check of offsite on web1 failed: the check found damage"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("error: the check job failed"), "{}", done.stderr);
    let done = ask(&server(), &["repo", "check", REPO, "-f", "-o", "json"]);
    assert_eq!((done.code, done.stdout), (6, format!("{}\n", job(6))));
}

#[test]
fn removing_every_lock_takes_the_name_and_says_what_it_means() {
    let server = || {
        Server::start().json(&format!("GET /api/repos/{LOCKED}"), 200, &repo(1)).json(
            &format!("POST /api/repos/{LOCKED}/unlock"),
            202,
            &accepted(""),
        )
    };
    let all = ["repo", "unlock", LOCKED, "--remove-all"];
    let quiet = server();
    let unasked = ask(&quiet, &all);
    refused(&unasked, 2, "this removes every lock of `s3`", "say --confirm-name NAME");
    assert!(
        unasked.stderr.contains("warning: --remove-all takes every lock of `s3` away"),
        "{}",
        unasked.stderr
    );
    assert!(unasked.stderr.contains("exclusive, by root@db1, process 4711"), "{}", unasked.stderr);
    let wrong = ask(&quiet, &[&all[..], &["--confirm-name", "S3"]].concat());
    refused(
        &wrong,
        2,
        "`S3` is not the name of this repository: no lock is removed",
        "give its name exactly",
    );
    assert!(quiet.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", quiet.lines());
    let server = server();
    let named = ask(&server, &[&all[..], &["--confirm-name", "s3"]].concat());
    assert_eq!(named.code, 0, "{}", named.stderr);
    assert!(named.stderr.contains("warning: --remove-all"), "{}", named.stderr);
    assert_eq!(server.asked()[1].body, r#"{"remove_all":"s3"}"#);
}

#[test]
fn a_preview_is_followed_and_is_the_only_data() {
    let view = include_str!("../answers/preview.json");
    let path = format!("/api/hosts/{HOST}/source-groups/{GROUP}/forget-preview?repo_id={REPO}");
    let server = |view: &str| {
        Server::start()
            .json(&format!("POST {path}"), 202, &accepted(""))
            .json(&format!("GET /api/jobs/{JOB}"), 200, view)
            .stream(
                End::Close,
                &[
                    r#"{"type":"log","lines":[{"n":0,"at":0,"stream":"stdout","text":"noise"}]}"#,
                    &stands(view),
                    OVER,
                ],
            )
    };
    let arguments = ["source", "preview", HOST, GROUP, "--repo", REPO];
    let done = ask(&server(view), &arguments);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.starts_with("2 snapshots of `web1` with the tag `home` would go, 2 would stay.\n"));
    assert!(!done.stdout.contains("noise"), "{}", done.stdout);
    let done = ask(&server(view), &[&arguments[..], &["--output", "json"]].concat());
    assert_eq!((done.code, done.stdout.as_str()), (0, view));
    let failed = job(2).replace("\"summary\":null", "\"summary\":{}");
    let done = ask(&server(&failed), &arguments);
    refused(&done, 6, "the backup job failed", "set it again");
}

#[test]
fn settings_are_read_changed_and_written_whole() {
    let path = format!("/api/repos/{REPO}/maintenance");
    let server = Server::start().json(&format!("GET {path}"), 200, SETTINGS).json(
        &format!("PUT {path}"),
        200,
        SETTINGS,
    );
    let done = ask(&server, &["maintenance", "show", REPO]);
    assert!(done.stdout.starts_with("Forget            0 3 * * *\n"), "{}{}", done.stdout, done.stderr);
    let done = ask(
        &server,
        &[
            "maintenance",
            "set",
            REPO,
            "--forget",
            "off",
            "--check",
            "30 2 * * 6",
            "--timezone",
            "utc",
            "--check-subset",
            "10",
            "--spread",
            "0",
            "--auto-unlock",
            "off",
            "--keep-admin-credential",
            "off",
        ],
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    let sent: serde_json::Value = serde_json::from_str(&server.asked()[2].body).unwrap();
    let expected = serde_json::json!({
        "policy": {
            "forget": {"enabled": false, "cron": "0 3 * * *"},
            "prune": {"enabled": true, "cron": "0 4 * * 0"},
            "check": {"enabled": true, "cron": "30 2 * * 6"},
            "timezone": "UTC", "check_subset_pct": 10, "spread_minutes": 0,
        },
        "auto_unlock": false, "keep_admin_credential": false,
    });
    assert_eq!(sent, expected);
}

#[test]
fn a_wrong_setting_is_named_and_nothing_is_sent() {
    let server = Server::start();
    for (arguments, said) in [
        (&["maintenance", "set", REPO][..], "--forget"),
        (&["maintenance", "set", REPO, "--prune", "99 * * * *"], "minute: `99` is out of range"),
        (&["maintenance", "set", REPO, "--check-subset", "101"], "0..=100"),
        (&["maintenance", "set", REPO, "--spread", "721"], "0..=720"),
        (&["maintenance", "set", REPO, "--auto-unlock", "maybe"], "possible values: on, off"),
        (&["maintenance", "set", REPO, "--timezone", "Berlin"], "Europe/Berlin"),
        (&["repo", "check", REPO, "--subset", "abc"], "invalid digit"),
        (&["repo", "check", REPO, "--subset=-5"], "0..=100"),
        (&["repo", "unlock", REPO, "--confirm-name", "offsite"], "--remove-all"),
        (&["repo", "history", REPO, "--days", "0"], "1..=3660"),
        (&["creds", "set", "--kind", "admin"], "HOST"),
        (&["creds", "set", HOST, "--kind", "admin", "--repo", REPO], "cannot be used with"),
        (&["creds", "set", "--repo", REPO, "--url", "/r"], "hint: name the host in place of --repo"),
        (&["creds", "set", HOST, "--kind", "admin", "--repo-name", "x"], "hint: leave it out"),
        (&["creds", "delete", HOST, "--kind", "repo", "--yes"], "hint: end that: rmctl host detach"),
        (&["creds", "show", "--repo", REPO, "--kind", "repo"], "different on each host"),
    ] {
        let done = ask(&server, arguments);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{arguments:?} {}", done.stderr);
        assert!(done.stderr.contains(said), "{arguments:?} {}", done.stderr);
    }
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[test]
fn the_admin_credential_is_set_by_repository_or_host_and_shown_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "planted-password\n").unwrap();
    for (target, path) in [
        (&["--repo", REPO][..], format!("/api/repos/{REPO}/admin-credentials")),
        (&[HOST], format!("/api/hosts/{HOST}/admin-credentials")),
    ] {
        let server =
            Server::start().json(&format!("PUT {path}"), 200, ADMIN).json(&format!("GET {path}"), 200, ADMIN);
        let credential = ["--kind", "admin", "--url", "/srv/r", "--password-file", file.to_str().unwrap()];
        let done = ask(&server, &[&["creds", "set"], target, &credential[..]].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(!format!("{done:?}").contains("planted"), "{done:?}");
        assert_eq!(server.asked()[0].body, r#"{"url":"/srv/r","password":"planted-password"}"#);
        let shown = ask(&server, &[&["creds", "show"], target, &["--kind", "admin"][..]].concat());
        assert!(shown.stdout.contains("Received by  web1\n"), "{}{}", shown.stdout, shown.stderr);
    }
}

#[test]
fn the_credentials_of_a_host_are_shown_from_all_pages() {
    let path = format!("GET /api/hosts/{HOST}/attachments?limit=500");
    let attachments = include_str!("../answers/attachments.json");
    let server = Server::start()
        .json(&path, 200, &attachments.replace("\"next_cursor\": null", "\"next_cursor\": \"p2\""))
        .json(&format!("{path}&cursor=p2"), 200, attachments);
    let done = ask(&server, &["creds", "show", HOST]);
    assert_eq!((done.code, done.stdout.lines().count()), (0, 7), "{}{}", done.stdout, done.stderr);
    let done = ask(&server, &["creds", "show", HOST, "--kind", "repo"]);
    assert!(!done.stdout.contains("admin"), "{}", done.stdout);
}

#[test]
fn the_admin_credential_is_deleted_after_a_word_for_it() {
    let path = format!("/api/repos/{REPO}");
    let server = Server::start().json(&format!("GET {path}"), 200, &repo(0)).raw(
        &format!("DELETE {path}/admin-credentials"),
        204,
        "",
        "",
    );
    let arguments = ["creds", "delete", "--repo", REPO, "--kind", "admin"];
    let unasked = ask(&server, &arguments);
    refused(&unasked, 2, "this deletes the admin credential of the repository `offsite`", "say --yes");
    assert_eq!(server.lines(), [format!("GET {path}")]);
    let done = ask(&server, &[&arguments[..], &["--yes"]].concat());
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{}", done.stderr);
    assert!(done.stderr.contains("the repository `offsite` has no admin credential"), "{}", done.stderr);
}

#[test]
fn the_hold_after_a_bad_check_is_overridden_after_a_word_for_it() {
    let path = format!("/api/repos/{REPO}");
    let why = include_str!("../answers/why.json");
    let server = Server::start()
        .json(&format!("GET {path}"), 200, &repo(0))
        .json(&format!("GET {path}/why"), 200, why)
        .json(&format!("POST {path}/check-override"), 202, why);
    let unasked = ask(&server, &["repo", "override-check", REPO]);
    refused(&unasked, 2, "this lets prune run on `offsite` although a check found errors", "say --yes");
    assert_eq!(server.lines(), [format!("GET {path}"), format!("GET {path}/why")]);
    let done = ask(&server, &["repo", "override-check", REPO, "--yes"]);
    assert!(done.code == 0 && done.stdout.starts_with("Done by  web1\n"), "{}", done.stderr);
    assert_eq!(done.stderr, "no check holds prune on `offsite` until one finds errors again\n");
}

#[test]
fn a_hold_that_is_not_there_is_not_overridden_and_nobody_is_asked() {
    let path = format!("/api/repos/{REPO}");
    let why = include_str!("../answers/why.json").replace(r#"{"reason": "check_errors"}"#, "null");
    let server = Server::start().json(&format!("GET {path}"), 200, &repo(0)).json(
        &format!("GET {path}/why"),
        200,
        &why,
    );
    for arguments in [&["repo", "override-check", REPO][..], &["repo", "override-check", REPO, "--yes"]] {
        let done = ask(&server, arguments);
        assert!(done.code == 0 && done.stdout.starts_with("Done by  web1\n"), "{}", done.stderr);
        assert_eq!(done.stderr, "no check holds prune on `offsite`: nothing is changed\n");
    }
    assert!(server.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", server.lines());
}

#[test]
fn reasons_and_history_are_shown_as_the_server_tells_them() {
    let history = include_str!("../answers/stats-history.json");
    let server = Server::start()
        .json(&format!("GET /api/repos/{REPO}/why"), 200, include_str!("../answers/why.json"))
        .json(&format!("GET /api/repos/{REPO}/stats-history?days=30"), 200, history);
    let why = ask(&server, &["repo", "why", REPO]);
    assert!(why.stdout.contains("the last check found errors in the repository; repair"), "{}", why.stderr);
    let done = ask(&server, &["repo", "history", REPO, "--days", "30", "-o", "json"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, history), "{}", done.stderr);
}

#[test]
fn a_token_that_enrols_agents_is_told_from_one_for_rmctl() {
    let server = Server::start();
    let done = done(rmctl().env("RM_SERVER", server.url()).env("RM_TOKEN", "rme_planted").arg("status"));
    refused(&done, 2, "the token in RM_TOKEN enrols an agent", "API tokens begin with rmt_");
    assert!(
        done.stderr.contains("RM_ENROLLMENT_TOKEN") && !done.stderr.contains("planted"),
        "{}",
        done.stderr
    );
    assert_eq!(server.lines(), Vec::<String>::new());
}
