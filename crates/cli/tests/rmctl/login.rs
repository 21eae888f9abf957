//! Logging in and out, and what is kept of it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use super::server::{Done, Server, done, rmctl};

const SESSION: &str = r#"{"user_id":"01900000-0000-7000-8000-000000000081","username":"ada","csrf_token":"csrf-secret","expires_at":1795000000000}"#;
const TOKEN: &str = r#"{"token":"rmt_made","info":{"id":"01900000-0000-7000-8000-000000000051","name":"rmctl","username":"ada","created_at":1,"expires_at":2,"last_used_at":null,"revoked_at":null}}"#;
const COOKIE: &str = "content-type: application/json\r\nset-cookie: other=1\r\nset-cookie: rm_session=cookie-secret; HttpOnly; Path=/\r\n";

fn server() -> Server {
    Server::start()
        .raw("POST /api/bootstrap", 201, COOKIE, SESSION)
        .raw("POST /api/auth/login", 200, COOKIE, SESSION)
        .json("POST /api/tokens", 201, TOKEN)
        .raw("POST /api/auth/logout", 204, "", "")
        .raw("DELETE /api/tokens/01900000-0000-7000-8000-000000000051", 204, "", "")
        .json("GET /api/status", 200, include_str!("../answers/status.json"))
}

fn run(folder: &Path, stdin: &str, arguments: &[&str]) -> Done {
    let mut command = rmctl();
    command.env("RMCTL_CONFIG_DIR", folder).args(arguments).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that refuses early does not read it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn assert_silent_about_secrets(done: &Done) {
    let said = format!("{}{}", done.stdout, done.stderr);
    for secret in ["correct horse", "csrf-secret", "cookie-secret", "rmt_made", "boot-secret"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_login_makes_a_token_of_its_own_and_a_logout_revokes_it() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let login = [
        "login",
        "--server",
        &server.url(),
        "--username",
        "ada",
        "--password-file",
        "-",
        "--context",
        "home",
    ];
    let said = run(folder.path(), "correct horse battery\n", &login);
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{}", said.stderr);
    assert_silent_about_secrets(&said);

    let asked = server.asked();
    assert_eq!(server.lines(), ["POST /api/auth/login", "POST /api/tokens", "POST /api/auth/logout"]);
    assert_eq!(asked[0].body, r#"{"username":"ada","password":"correct horse battery"}"#);
    for request in &asked {
        assert_eq!(request.headers["origin"], server.url());
        assert!(!request.headers.contains_key("authorization"));
    }
    for request in &asked[1..] {
        assert_eq!(request.headers["cookie"], "rm_session=cookie-secret");
        assert_eq!(request.headers["x-csrf-token"], "csrf-secret");
    }

    let file = folder.path().join("contexts.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("correct horse"));
    assert_eq!(run(folder.path(), "", &["status", "--field", "hosts"]).stdout, "3\n");
    assert_eq!(server.asked()[3].headers["authorization"], "Bearer rmt_made");
    let contexts = run(folder.path(), "", &["context", "ls", "-o", "json"]);
    assert_silent_about_secrets(&contexts);
    assert!(contexts.stdout.contains(r#""name":"home""#) && contexts.stdout.contains(r#""current":true"#));

    let said = run(folder.path(), "", &["logout"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(server.lines()[4], "DELETE /api/tokens/01900000-0000-7000-8000-000000000051");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("rmt_made"));
    assert_eq!(run(folder.path(), "", &["status"]).code, 2);
}

#[test]
fn a_token_that_cannot_be_kept_is_revoked_again() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    // There is nothing to read behind it, and nothing can be made there, not even by root.
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink("/nonexistent/folder", &dangling).unwrap();
    let login = ["login", "--server", &server.url(), "--username", "ada", "--password-file", "-"];
    let said = run(&dangling, "correct horse battery\n", &login);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert_eq!(server.lines()[3..], ["DELETE /api/tokens/01900000-0000-7000-8000-000000000051"]);
    assert_silent_about_secrets(&said);
}

#[test]
fn a_wrong_password_stores_nothing() {
    let body = r#"{"code":"wrong_login","message":"the name or the password is wrong"}"#;
    let server = Server::start().json("POST /api/auth/login", 401, body);
    let folder = tempfile::tempdir().unwrap();
    let login = ["login", "--server", &server.url(), "--username", "ada", "--password-file", "-"];
    let said = run(folder.path(), "correct horse battery", &login);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert_silent_about_secrets(&said);
    assert!(!folder.path().join("contexts.toml").exists());
}

#[test]
fn a_token_from_a_file_is_tried_before_it_is_stored() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "rmt_given\n").unwrap();
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).unwrap();
    let login = ["login", "--server", &server.url(), "--token-file", token.to_str().unwrap()];
    let said = run(folder.path(), "", &login);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("warning: ") && said.stderr.contains("chmod 600"), "{}", said.stderr);
    assert_eq!(server.asked()[0].headers["authorization"], "Bearer rmt_given");
    let refusing = Server::start().json("GET /api/status", 401, r#"{"code":"x","message":"unknown token"}"#);
    let login =
        ["login", "--server", &refusing.url(), "--token-file", token.to_str().unwrap(), "--context", "bad"];
    assert_eq!(run(folder.path(), "", &login).code, 4);
    assert!(!std::fs::read_to_string(folder.path().join("contexts.toml")).unwrap().contains("bad"));
}

#[test]
fn bootstrap_makes_the_first_administrator_and_logs_in() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("bootstrap");
    std::fs::write(&token, "boot-secret\n").unwrap();
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    let file = token.to_str().unwrap();
    let arguments = [
        "bootstrap",
        "--server",
        &server.url(),
        "--token-file",
        file,
        "--username",
        "ada",
        "--password-file",
        "-",
    ];
    let said = run(folder.path(), "correct horse battery\n", &arguments);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_silent_about_secrets(&said);
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /api/bootstrap");
    assert_eq!(
        asked[0].body,
        r#"{"token":"boot-secret","username":"ada","password":"correct horse battery"}"#
    );
    assert_eq!(server.lines(), ["POST /api/bootstrap", "POST /api/tokens", "POST /api/auth/logout"]);
    assert_eq!(run(folder.path(), "", &["status", "--field", "hosts"]).stdout, "3\n");
}

#[test]
fn standard_input_cannot_be_two_secrets() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    let arguments =
        ["bootstrap", "--server", &url, "--token-file", "-", "--username", "ada", "--password-file", "-"];
    let said = run(folder.path(), "x\n", &arguments);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[test]
fn contexts_are_switched_and_forgotten() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        let login = [
            "login",
            "--server",
            &server.url(),
            "--username",
            "ada",
            "--password-file",
            "-",
            "--context",
            name,
        ];
        assert_eq!(run(folder.path(), "correct horse battery\n", &login).code, 0);
    }
    assert_eq!(run(folder.path(), "", &["context", "ls", "--field", "items.1.current"]).stdout, "true\n");
    assert_eq!(run(folder.path(), "", &["context", "use", "one"]).code, 0);
    assert_eq!(run(folder.path(), "", &["context", "ls", "--field", "items.0.current"]).stdout, "true\n");
    let forgotten = run(folder.path(), "", &["context", "rm", "one"]);
    let revoke = "rmctl token revoke 01900000-0000-7000-8000-000000000051";
    assert!(forgotten.code == 0 && forgotten.stderr.contains(revoke), "{}", forgotten.stderr);
    assert_eq!(run(folder.path(), "", &["context", "use", "one"]).code, 3);
}

#[test]
fn a_logout_ends_the_login_for_the_server_that_is_named() {
    let (home, office) = (server(), server());
    let folder = tempfile::tempdir().unwrap();
    for (server, name) in [(&home, "home"), (&office, "office"), (&office, "other")] {
        let url = server.url();
        let login =
            ["login", "--server", &url, "--username", "ada", "--password-file", "-", "--context", name];
        assert_eq!(run(folder.path(), "correct horse battery\n", &login).code, 0);
    }
    let names = || run(folder.path(), "", &["context", "ls", "--field", "items"]).stdout;
    let revoked = |server: &Server| server.lines().iter().filter(|line| line.starts_with("DELETE")).count();
    assert_eq!(run(folder.path(), "", &["context", "use", "home"]).code, 0);

    let nowhere = run(folder.path(), "", &["logout", "--server", "https://x.example"]);
    assert_eq!(nowhere.code, 2, "{}", nowhere.stderr);
    assert!(
        nowhere.stderr.contains("there is no login for https://x.example: nothing"),
        "{}",
        nowhere.stderr
    );
    let wrong = run(folder.path(), "", &["logout", "--server", &home.url(), "--context", "office"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    let two = run(folder.path(), "", &["logout", "--server", &office.url()]);
    assert_eq!(two.code, 2, "{}", two.stderr);
    assert!(two.stderr.contains("hint: name one with --context: office, other"), "{}", two.stderr);
    assert_eq!((revoked(&home), revoked(&office)), (0, 0));

    let named = ["logout", "--server", &office.url(), "--context", "other"];
    assert_eq!(run(folder.path(), "", &named).code, 0);
    let by_environment = done(
        rmctl()
            .env("RMCTL_CONFIG_DIR", folder.path())
            .env("RM_SERVER", format!("{}/", office.url()))
            .arg("logout"),
    );
    assert_eq!(by_environment.code, 0, "{}", by_environment.stderr);
    assert!(by_environment.stderr.contains(&office.url()), "{}", by_environment.stderr);
    assert_eq!((revoked(&home), revoked(&office)), (0, 2));
    assert!(names().contains("\"home\"") && !names().contains("office"), "{}", names());
}

#[test]
fn a_damaged_file_is_neither_used_nor_replaced() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contexts.toml");
    std::fs::write(&file, "[contexts\n").unwrap();
    let login = ["login", "--server", &server.url(), "--username", "ada", "--password-file", "-"];
    let said = run(folder.path(), "correct horse battery\n", &login);
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("hint: mend the file"), "{}", said.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[contexts\n");
    assert_eq!(server.lines(), Vec::<String>::new(), "no token is made that could not be kept");
    let env = done(rmctl().env("RMCTL_CONFIG_DIR", folder.path()).args(["context", "ls"]));
    assert_eq!(env.code, 1);
}
