//! Every way to fail: its exit code, a message and a hint on stderr, nothing on stdout.

use super::server::{Done, Server, ask, done, rmctl};

const HOST: &str = "01900000-0000-7000-8000-000000000001";

#[track_caller]
fn refused(done: &Done, code: i32, message: &str, hint: &str) {
    assert_eq!((done.code, done.stdout.as_str()), (code, ""), "{}", done.stderr);
    assert!(done.stderr.contains(&format!("error: {message}")), "{}", done.stderr);
    assert!(done.stderr.contains(&format!("hint: {hint}")), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 2, "{}", done.stderr);
}

#[test]
fn an_unknown_name_is_3_and_names_what_was_meant() {
    let server = Server::start()
        .json("GET /api/hosts?q=wbe1&limit=500", 200, r#"{"items":[],"next_cursor":null}"#)
        .json("GET /api/hosts?limit=500", 200, include_str!("../answers/hosts.json"));
    let done = ask(&server, &["host", "show", "wbe1"]);
    refused(&done, 3, "there is no host `wbe1`", "did you mean `web1`? All of them: rmctl host ls");
}

#[test]
fn an_ambiguous_name_is_3_and_names_the_ids() {
    let both = r#"{"items":[{"id":"a","name":"web"},{"id":"b","name":"web"}],"next_cursor":null}"#;
    let server = Server::start().json("GET /api/hosts?q=web&limit=500", 200, both);
    refused(
        &ask(&server, &["host", "show", "web"]),
        3,
        "`web` names 2 of the hosts",
        "use one of the ids: a, b",
    );
}

#[test]
fn what_the_server_does_not_know_is_3_with_the_servers_words() {
    let body = r#"{"code":"not_found","message":"no host has this id","hint":"it may be deleted"}"#;
    let server = Server::start().json(&format!("GET /api/hosts/{HOST}"), 404, body);
    refused(&ask(&server, &["host", "show", HOST]), 3, "no host has this id", "it may be deleted");
}

#[test]
fn a_refusal_is_4_and_has_a_hint_even_if_the_server_gives_none() {
    let path = format!("/api/hosts/{HOST}");
    let server = Server::start()
        .json(&format!("GET {path}"), 200, &host())
        .json(&format!("DELETE {path}"), 409, r#"{"code":"in_use","message":"2 jobs are not over"}"#)
        .json("GET /api/repos", 401, r#"{"code":"unauthorized","message":"the token is unknown"}"#)
        .json("GET /api/status", 503, r#"{"code":"busy","message":"the database is busy"}"#);
    let done = ask(&server, &["host", "delete", HOST, "--yes"]);
    refused(&done, 4, "2 jobs are not over", "see what stands in the way");
    refused(&ask(&server, &["repo", "ls"]), 4, "the token is unknown", "log in again");
    refused(&ask(&server, &["status"]), 4, "the database is busy", "look into the server's log");
}

fn host() -> String {
    let hosts: serde_json::Value = serde_json::from_str(include_str!("../answers/hosts.json")).unwrap();
    hosts["items"][0].to_string()
}

#[test]
fn a_server_that_is_not_there_is_5() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let done = done(rmctl().env("RM_TOKEN", "x").args(["status", "--server", &format!("http://{closed}")]));
    refused(
        &done,
        5,
        &format!("http://{closed} cannot be reached"),
        "check the port, and that the server runs",
    );
}

#[test]
fn a_server_that_is_no_restic_manager_is_5_and_said_so() {
    for (status, kind, body) in [
        (200, "text/html", "<html>"),
        (404, "text/html", "nope"),
        (502, "text/plain", ""),
        (403, "application/json", "[]"),
    ] {
        let server =
            Server::start().raw("GET /api/status", status, &format!("content-type: {kind}\r\n"), body);
        let done = ask(&server, &["status"]);
        refused(
            &done,
            5,
            &format!("{} answers, but not as a restic-manager does", server.url()),
            "check the address",
        );
        assert!(done.stderr.contains(&format!("HTTP {status}")), "{}", done.stderr);
    }
    let server = Server::start().raw("GET /api/status", 308, "location: https://other.example/\r\n", "");
    let done = ask(&server, &["status"]);
    refused(&done, 5, &format!("{} sends every request on", server.url()), "log in there: rmctl login");
}

#[test]
fn an_answer_of_another_version_is_4_and_json_still_shows_it() {
    let server = Server::start().json("GET /api/status", 200, r#"{"hosts":"many"}"#);
    refused(&ask(&server, &["status"]), 4, "the server's answer is not understood", "rmctl and the server");
    assert_eq!(ask(&server, &["status", "-o", "json"]).stdout, "{\"hosts\":\"many\"}\n");
}

#[test]
fn nothing_is_sent_when_the_command_line_is_wrong() {
    let server = Server::start();
    for (arguments, said) in [
        (&["host"][..], "Usage: rmctl host"),
        (&["host", "ls", "-o", "xml"], "possible values: table, json"),
        (&["host", "ls", "--limit", "0"], "1..=500"),
        (&["job", "show", "web1"], "is not an id"),
        (&["job", "ls", "--state", "done"], "possible values: queued"),
        (
            &["schedule", "create", "h", "n", "--source", "s", "--cron", "99 * * * *"],
            "minute: `99` is out of range",
        ),
        (
            &["schedule", "create", "h", "n", "--source", "s", "--cron", "0 0 * * *", "--timezone", "Berlin"],
            "Europe/Berlin",
        ),
        (&["source", "create", "h", "n", "--include", "srv"], "`srv` is relative"),
        (&["source", "edit", "h", "n", "--keep-daily", "x"], "give a whole number from 1 on"),
        (&["source", "edit", "h", "n", "--keep-last", "0"], "give a whole number from 1 on"),
        (&["source", "create", "h", "n"], "hint: name a folder"),
        (&["source", "create", "h", "n", "--include", "/x", "--tag", "a,b"], "the tag holds ','"),
        (&["host", "rename", "h", "a\nb"], "line break"),
        (&["creds", "set", HOST, "--url", "/r"], "hint: name a file with --password-file"),
    ] {
        let done = ask(&server, arguments);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{arguments:?} {}", done.stderr);
        assert!(done.stderr.contains(said), "{arguments:?} {}", done.stderr);
    }
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[test]
fn a_deletion_without_a_terminal_wants_a_yes() {
    let server = Server::start().json(&format!("GET /api/hosts/{HOST}"), 200, &host());
    let done = ask(&server, &["host", "delete", HOST]);
    refused(
        &done,
        2,
        "this deletes the host `web1`, and there is no terminal to confirm it on",
        "say --yes to do it without being asked",
    );
    assert_eq!(server.lines(), [format!("GET /api/hosts/{HOST}")]);
}

#[test]
fn without_a_server_or_a_login_it_is_said_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| done(rmctl().env("RMCTL_CONFIG_DIR", folder.path()).args(arguments));
    refused(
        &run(&["status"]),
        2,
        "it is not known which server to ask",
        "log in first: rmctl login --server URL",
    );
    let far = ["status", "--server", "https://x.example"];
    refused(
        &run(&far),
        2,
        "https://x.example is not known here",
        "log in: rmctl login --server https://x.example",
    );
    refused(&run(&["status", "--context", "x"]), 2, "there is no context `x`", "there are none yet");
    refused(&run(&["logout"]), 2, "no login is in use", "name one with --context");
    refused(&run(&["logout", "--context", "x"]), 2, "there is no context `x`", "there are none yet");
    let plain = done(rmctl().env("RM_TOKEN", "x").args(["status", "--server", "http://192.0.2.1"]));
    refused(&plain, 2, "plain http to 192.0.2.1", "use https://");
}

#[test]
fn an_announced_host_that_does_not_wait_is_3() {
    let nobody = r#"{"items":[],"next_cursor":null}"#;
    let server = Server::start().json("GET /api/pending-hosts?limit=500", 200, nobody);
    let pending: serde_json::Value =
        serde_json::from_str(include_str!("../answers/pending-hosts.json")).unwrap();
    let fingerprint = pending["items"][0]["fingerprint"].as_str().unwrap();
    for arguments in
        [&["host", "approve", "nope", "--fingerprint", fingerprint][..], &["host", "reject", "nope"]]
    {
        let done = ask(&server, arguments);
        refused(&done, 3, "no announced host waits under `nope`", "see who waits: rmctl host pending");
    }
}

#[test]
fn an_approval_without_a_terminal_says_what_is_needed() {
    let server = Server::start().json(
        "GET /api/pending-hosts?limit=500",
        200,
        include_str!("../answers/pending-hosts.json"),
    );
    let pending: serde_json::Value =
        serde_json::from_str(include_str!("../answers/pending-hosts.json")).unwrap();
    let alone = &pending["items"][0];
    let name = alone["name"].as_str().unwrap();
    let message = format!(
        "the fingerprint that the agent of `{name}` (announced from {}) shows on its machine is needed, and there is \
         no terminal to ask on",
        alone["address"].as_str().unwrap()
    );
    refused(&ask(&server, &["host", "approve", name]), 2, &message, "give it with --fingerprint");
}
