//! Secrets reach the server and nothing else.

use super::server::{Server, done, rmctl};

const HOST: &str = "01900000-0000-7000-8000-000000000001";

fn attachment() -> String {
    let page: serde_json::Value = serde_json::from_str(include_str!("../answers/attachments.json")).unwrap();
    page["items"][0].to_string()
}

#[test]
fn credentials_are_read_from_files_and_shown_nowhere() {
    let server = Server::start().json(&format!("PUT /api/hosts/{HOST}/repo-credentials"), 200, &attachment());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let password = file("password", "planted-password\n");
    let rest = file("rest", "planted-rest");
    let key = format!("AWS_KEY=file:{}", file("key", "planted-key\r\n"));
    let arguments = [
        "creds",
        "set",
        HOST,
        "--url",
        "rest:https://x.example/",
        "--repo-name",
        "offsite",
        "--password-file",
        &password,
        "--rest-user",
        "web1",
        "--rest-password-file",
        &rest,
        "--env",
        &key,
    ];
    let done = done(rmctl().env("RM_SERVER", server.url()).env("RM_TOKEN", "planted-token").args(arguments));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(!format!("{}{}", done.stdout, done.stderr).contains("planted"), "{done:?}");
    let sent: serde_json::Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    let expected = serde_json::json!({"repo_name": "offsite", "credential": {
        "url": "rest:https://x.example/", "password": "planted-password", "rest_user": "web1",
        "rest_password": "planted-rest", "env": {"AWS_KEY": "planted-key"},
    }});
    assert_eq!(sent, expected);
}

#[test]
fn a_password_is_changed_from_files_and_shown_nowhere() {
    let server = Server::start().json("POST /api/account/password", 204, "");
    let folder = tempfile::tempdir().unwrap();
    let [path, typed] = ["current", "new"].map(|name| folder.path().join(name));
    std::fs::write(&path, "planted-current\n").unwrap();
    std::fs::write(&typed, "planted-new\n").unwrap();
    let arguments = ["passwd", "--current-password-file", path.to_str().unwrap(), "--password-file", "-"];
    let mut command = rmctl();
    command.env("RM_SERVER", server.url()).env("RM_TOKEN", "planted-token").args(arguments);
    let changed = done(command.stdin(std::fs::File::open(typed).unwrap()));
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    assert!(changed.stderr.contains("the password is changed"), "{}", changed.stderr);
    assert!(!format!("{}{}", changed.stdout, changed.stderr).contains("planted"), "{changed:?}");
    let sent: serde_json::Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    assert_eq!(sent, serde_json::json!({"current": "planted-current", "new": "planted-new"}));
    let blind = done(rmctl().env("RM_SERVER", server.url()).env("RM_TOKEN", "x").arg("passwd"));
    assert_eq!(blind.code, 2, "{}", blind.stderr);
    assert!(blind.stderr.contains("--current-password-file"), "{}", blind.stderr);
    assert_eq!(server.lines().len(), 1, "nothing is sent without both");
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let server = Server::start();
    for arguments in [
        &["creds", "set", HOST, "--url", "/r", "--env", "KEY=planted"][..],
        &["creds", "set", HOST, "--url", "rest:https://web1:planted@x.example/"],
        &["status", "--server", "https://ada:planted@x.example"],
        &["login", "--server", "https://ada:planted@x.example"],
    ] {
        let done = done(rmctl().env("RM_SERVER", server.url()).env("RM_TOKEN", "x").args(arguments));
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert!(!format!("{}{}", done.stdout, done.stderr).contains("planted"), "{done:?}");
        assert!(done.stderr.contains("hint: "), "{}", done.stderr);
    }
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[test]
fn a_file_that_is_not_there_is_named_and_nothing_is_sent() {
    let server = Server::start();
    let arguments = ["creds", "set", HOST, "--url", "/r", "--password-file", "/nonexistent/pw"];
    let done = done(rmctl().env("RM_SERVER", server.url()).env("RM_TOKEN", "x").args(arguments));
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(
        done.stderr.contains("/nonexistent/pw") && done.stderr.contains("hint: check the path"),
        "{}",
        done.stderr
    );
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[test]
fn an_attachment_that_is_there_keeps_its_credential() {
    let repo = "01900000-0000-7000-8000-000000000011";
    let path = format!("/api/hosts/{HOST}/attachments/{repo}");
    let server = Server::start().json(&format!("GET {path}"), 200, &attachment()).json(
        &format!("PUT {path}"),
        200,
        &attachment(),
    );
    let arguments = ["host", "attach", HOST, repo, "--append-only", "yes"];
    let done = done(rmctl().env("RM_SERVER", server.url()).env("RM_TOKEN", "x").args(arguments));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(server.asked()[1].body, r#"{"role":"primary","append_only":"yes"}"#);
}
