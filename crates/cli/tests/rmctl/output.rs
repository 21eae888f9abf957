//! What goes to stdout.

use super::server::{Server, ask};

const HOSTS: &str = include_str!("../answers/hosts.json");

#[test]
fn json_is_the_body_as_the_server_sent_it() {
    let body = "{ \"items\":[ {\"z\":1.50, \"a\":18446744073709551615} ],\n \"next_cursor\":null }";
    let server = Server::start().json("GET /api/hosts", 200, body);
    let done = ask(&server, &["host", "ls", "-o", "json"]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (0, format!("{body}\n").as_str(), "")
    );
    assert_eq!(server.asked()[0].headers["authorization"], "Bearer rmt_token");
}

#[test]
fn a_field_is_written_alone_and_a_missing_one_is_not_found() {
    let server = Server::start().json("GET /api/hosts", 200, HOSTS);
    let done = ask(&server, &["host", "ls", "--field", "items.0.name"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "web1\n"));
    let done = ask(&server, &["host", "ls", "--field", "items.0.nmae"]);
    assert_eq!((done.code, done.stdout.as_str()), (3, ""));
    assert!(done.stderr.contains("hint: there is: created_at, "), "{}", done.stderr);
}

#[test]
fn all_pages_are_one_page_in_which_every_item_is_as_it_was_sent() {
    let server = Server::start()
        .json("GET /api/hosts?limit=500", 200, r#"{"items":[{"a": 1.0}],"next_cursor":"c d"}"#)
        .json("GET /api/hosts?limit=500&cursor=c+d", 200, r#"{"items":[{"b":  2}],"next_cursor":null}"#);
    let done = ask(&server, &["host", "ls", "--all", "-o", "json"]);
    assert_eq!(
        done.stdout, "{\"items\":[{\"a\": 1.0},{\"b\":  2}],\"next_cursor\":null}\n",
        "{}",
        done.stderr
    );
}

#[test]
fn a_server_whose_pages_go_in_circles_is_not_followed_for_ever() {
    let circle = r#"{"items":[],"next_cursor":"x"}"#;
    let server = Server::start().json("GET /api/repos?limit=500", 200, circle).json(
        "GET /api/repos?limit=500&cursor=x",
        200,
        circle,
    );
    let done = ask(&server, &["repo", "ls", "--all"]);
    assert_eq!((done.code, server.lines().len()), (4, 2), "{}", done.stderr);
}

#[test]
fn a_table_says_on_stderr_that_there_is_more() {
    let more = HOSTS.replace("\"next_cursor\": null", "\"next_cursor\": \"abc\"");
    let server = Server::start().json("GET /api/hosts?q=w&tag=eu&limit=3", 200, &more);
    let done = ask(&server, &["host", "ls", "-q", "w", "--tag", "eu", "--limit", "3"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.starts_with("NAME "), "{}", done.stdout);
    assert!(!done.stdout.contains("--all") && !done.stdout.contains('\u{1b}'));
    assert!(done.stderr.contains("--all") && done.stderr.contains("--cursor abc"), "{}", done.stderr);
}

#[test]
fn names_are_looked_up_and_sent_as_ids() {
    let server = Server::start()
        .json("GET /api/hosts?q=web1&limit=500", 200, HOSTS)
        .json("GET /api/repos?q=s3&limit=500", 200, include_str!("../answers/repos.json"))
        .json(
            "GET /api/hosts/01900000-0000-7000-8000-000000000001/snapshots?repo_id=01900000-0000-7000-8000-000000000012",
            200,
            include_str!("../answers/snapshots.json"),
        );
    let done = ask(&server, &["snapshot", "ls", "web1", "--repo", "s3"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("abababab"), "{}", done.stdout);
}

#[test]
fn an_edit_sends_everything_with_the_change_in_it() {
    let group =
        serde_json::from_str::<serde_json::Value>(include_str!("../answers/source-groups.json")).unwrap();
    let group = group["items"][0].to_string();
    let path =
        "/api/hosts/01900000-0000-7000-8000-000000000001/source-groups/01900000-0000-7000-8000-000000000021";
    let server =
        Server::start().json(&format!("GET {path}"), 200, &group).json(&format!("PUT {path}"), 200, &group);
    let host = "01900000-0000-7000-8000-000000000001";
    let source = "01900000-0000-7000-8000-000000000021";
    let done = ask(&server, &["source", "edit", host, source, "--exclude", "*.iso", "--keep-daily", "9"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let sent: serde_json::Value = serde_json::from_str(&server.asked()[1].body).unwrap();
    let expected = serde_json::json!({
        "name": "home", "includes": ["/home", "/etc"], "excludes": ["*.iso"], "keep": {"daily": 9},
        "options": {"exclude_caches": true, "one_file_system": false}, "retry_max": 3, "retry_backoff_seconds": 60,
    });
    assert_eq!(sent, expected);
}

#[test]
fn a_log_is_written_as_it_is_and_as_objects() {
    let id = "01900000-0000-7000-8000-000000000101";
    let server = Server::start()
        .raw(&format!("GET /api/jobs/{id}/log.txt"), 200, "content-type: text/plain\r\n", "a\u{1b}[2J\nb\n")
        .raw(
            &format!("GET /api/jobs/{id}/log.ndjson"),
            200,
            "content-type: application/x-ndjson\r\n",
            "{\"n\":0}\n",
        );
    assert_eq!(ask(&server, &["job", "log", id]).stdout, "a\u{1b}[2J\nb\n");
    assert_eq!(ask(&server, &["job", "log", id, "-o", "json"]).stdout, "{\"n\":0}\n");
    assert_eq!(ask(&server, &["job", "log", id, "--format", "ndjson"]).stdout, "{\"n\":0}\n");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let server = Server::start().json("GET /api/hosts", 200, HOSTS);
    let mut child = super::server::rmctl()
        .env("RM_SERVER", server.url())
        .env("RM_TOKEN", "x")
        .args(["host", "ls", "-o", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn a_name_is_found_on_whatever_page_of_a_hosts_lists_it_stands() {
    let host = "01900000-0000-7000-8000-000000000001";
    let first = r#"{"items":[{"id":"a","name":"other"}],"next_cursor":"p2"}"#;
    let mut server = Server::start();
    for (list, answers) in [
        ("source-groups", include_str!("../answers/source-groups.json")),
        ("schedules", include_str!("../answers/schedules.json")),
    ] {
        let page: serde_json::Value = serde_json::from_str(answers).unwrap();
        let one = &page["items"][0];
        let path = format!("GET /api/hosts/{host}/{list}");
        server = server
            .json(&format!("{path}?limit=500"), 200, first)
            .json(&format!("{path}?limit=500&cursor=p2"), 200, answers)
            .json(&format!("{path}/{}", one["id"].as_str().unwrap()), 200, &one.to_string());
    }
    let name = |answers: &str| {
        let page: serde_json::Value = serde_json::from_str(answers).unwrap();
        page["items"][0]["name"].as_str().unwrap().to_owned()
    };
    let source = name(include_str!("../answers/source-groups.json"));
    let schedule = name(include_str!("../answers/schedules.json"));
    for arguments in [["source", "show", host, &source], ["schedule", "show", host, &schedule]] {
        let done = ask(&server, &[&arguments[..], &["--field", "name"]].concat());
        assert_eq!((done.code, done.stdout.trim_end()), (0, arguments[3]), "{}", done.stderr);
    }
}

#[test]
fn the_lists_of_a_host_are_paged_like_all_others() {
    let host = "01900000-0000-7000-8000-000000000001";
    for (words, list) in [
        (["source", "ls"], "source-groups"),
        (["schedule", "ls"], "schedules"),
        (["host", "attachments"], "attachments"),
    ] {
        let path = format!("GET /api/hosts/{host}/{list}");
        let server = Server::start()
            .json(&format!("{path}?limit=1&cursor=p2"), 200, r#"{"items":[],"next_cursor":"p3"}"#)
            .json(&format!("{path}?limit=500"), 200, r#"{"items":[{"a":1}],"next_cursor":"p2"}"#)
            .json(&format!("{path}?limit=500&cursor=p2"), 200, r#"{"items":[{"b":2}],"next_cursor":null}"#);
        let page = |more: &[&str]| ask(&server, &[&words[..], &[host, "-o", "json"], more].concat());
        let one = page(&["--limit", "1", "--cursor", "p2"]);
        assert_eq!(one.stdout, "{\"items\":[],\"next_cursor\":\"p3\"}\n", "{}", one.stderr);
        let all = page(&["--all"]);
        assert_eq!(all.stdout, "{\"items\":[{\"a\":1},{\"b\":2}],\"next_cursor\":null}\n", "{}", all.stderr);
    }
}

#[test]
fn a_host_without_a_snapshot_is_told_what_it_can_do() {
    let host = "01900000-0000-7000-8000-000000000001";
    let nothing = r#"{"items":[],"next_cursor":null}"#;
    for (attachments, said) in [
        (nothing, format!("the host has no repository; rmctl creds set {host} gives it one\n")),
        (include_str!("../answers/attachments.json"), format!("rmctl run {host} SOURCE makes one\n")),
    ] {
        let server = Server::start().json(&format!("GET /api/hosts/{host}/snapshots"), 200, nothing).json(
            &format!("GET /api/hosts/{host}/attachments?limit=1"),
            200,
            attachments,
        );
        let done = ask(&server, &["snapshot", "ls", host]);
        assert_eq!(done.stdout, format!("No snapshots to show: {said}"), "{}", done.stderr);
        let json = ask(&server, &["snapshot", "ls", host, "-o", "json"]);
        assert_eq!(json.stdout, format!("{nothing}\n"));
        assert_eq!(server.lines().len(), 3, "nothing is looked up for a program");
    }
}

#[test]
fn the_audit_log_is_searched_by_name_and_says_what_matched_nothing() {
    let nothing = r#"{"items":[],"next_cursor":null}"#;
    let host = "01900000-0000-7000-8000-000000000001";
    let server = Server::start()
        .json("GET /api/hosts?q=web1&limit=500", 200, HOSTS)
        .json("GET /api/repos?q=web1&limit=500", 200, nothing)
        .json(&format!("GET /api/audit?subject_id={host}&action=nonsense"), 200, nothing)
        .json("GET /api/audit?action=nonsense", 200, nothing)
        .json("GET /api/hosts?q=ada&limit=500", 200, nothing)
        .json("GET /api/repos?q=ada&limit=500", 200, nothing)
        .json("GET /api/audit?subject_id=ada", 200, include_str!("../answers/audit.json"));
    let both = ask(&server, &["audit", "--subject", "web1", "--action", "nonsense"]);
    assert_eq!(
        both.stdout, "Nothing to show: no entry matches --subject web1 and --action nonsense\n",
        "{}",
        both.stderr
    );
    let other = ask(&server, &["audit", "--subject", "ada"]);
    assert!(other.stdout.contains("host.renamed"), "{}{}", other.stdout, other.stderr);
    let one = ask(&server, &["audit", "--action", "nonsense"]);
    assert_eq!((one.code, one.stdout.as_str()), (0, "Nothing to show: no entry matches --action nonsense\n"));
}

#[test]
fn a_token_for_a_name_that_is_taken_comes_with_a_warning() {
    let token = r#"{"token":"rme_x","expires_at":1795000000000,"command":"enrol","host_name":null}"#;
    let server = || {
        Server::start()
            .json("GET /api/hosts?q=WEB1&limit=500", 200, HOSTS)
            .json("GET /api/hosts?q=web&limit=500", 200, HOSTS)
            .json("POST /api/enrollment-tokens", 201, token)
    };
    let taken = ask(&server(), &["host", "enrol-token", "--host-name", "WEB1", "--field", "token"]);
    assert_eq!((taken.code, taken.stdout.as_str()), (0, "rme_x\n"), "{}", taken.stderr);
    assert!(taken.stderr.starts_with("warning: there is a host `web1` already"), "{}", taken.stderr);
    assert!(taken.stderr.contains("`WEB1 (2)`") && taken.stderr.contains("rmctl host delete 'web1'"));
    let free = ask(&server(), &["host", "enroll-token", "--host-name", "web", "--field", "token"]);
    assert_eq!((free.code, free.stderr.as_str()), (0, ""));
}
