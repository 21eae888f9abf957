//! Following a job.

use std::process::Stdio;

use super::server::{End, Server, ask, rmctl, wait_for};

const HOST: &str = "01900000-0000-7000-8000-000000000001";
const GROUP: &str = "01900000-0000-7000-8000-000000000021";
const JOB: &str = "01900000-0000-7000-8000-000000000101";
const OVER: &str = r#"{"type":"end"}"#;

/// One of the recorded jobs, in the order of `answers/jobs.json`.
fn job(number: usize) -> String {
    let page: serde_json::Value = serde_json::from_str(include_str!("../answers/jobs.json")).unwrap();
    page["items"][number].to_string()
}

fn stands(number: usize) -> String {
    format!(r#"{{"type":"job","job":{}}}"#, job(number))
}

fn lines(range: std::ops::Range<u64>) -> String {
    let line = |n| format!(r#"{{"n":{n},"at":0,"stream":"stdout","text":"line {n}"}}"#);
    format!(r#"{{"type":"log","lines":[{}]}}"#, range.map(line).collect::<Vec<_>>().join(","))
}

#[test]
fn the_log_is_data_and_goes_on_after_a_lost_connection() {
    let progress = r#"{"type":"progress","progress":{"percent":50.0,"files_done":1,"files_total":2,"bytes_done":1,"bytes_total":2,"seconds_remaining":null,"current_files":[],"error_count":0}}"#;
    let server =
        Server::start().stream(End::Break, &[&stands(3), &lines(0..2), progress, &lines(2..4)]).stream(
            End::Close,
            &[&stands(3), &lines(3..5), r#"{"type":"gap","from":5,"to":8}"#, &lines(8..9), &stands(0), OVER],
        );
    let done = ask(&server, &["job", "log", "-f", JOB]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.stdout, "line 0\nline 1\nline 2\nline 3\nline 4\nline 8\n");
    assert!(done.stderr.contains("connection was lost"), "{}", done.stderr);
    assert!(done.stderr.contains("3 lines of the log are missing"), "{}", done.stderr);
    assert!(done.stderr.contains("backup of home on web1 to offsite succeeded"), "{}", done.stderr);
    let asked = server.asked();
    assert_eq!(
        server.lines(),
        [format!("GET /api/jobs/{JOB}/stream?from=0"), format!("GET /api/jobs/{JOB}/stream?from=4")]
    );
    assert_eq!(asked[0].headers["authorization"], "Bearer rmt_token");
}

#[test]
fn a_followed_log_comes_as_objects_too() {
    let server = Server::start().stream(End::Close, &[&stands(3), &lines(0..1), &stands(0), OVER]);
    let done = ask(&server, &["job", "log", "-f", JOB, "-o", "json"]);
    assert_eq!(
        done.stdout, "{\"n\":0,\"at\":0,\"stream\":\"stdout\",\"text\":\"line 0\"}\n",
        "{}",
        done.stderr
    );
}

#[test]
fn a_job_that_fails_is_6_with_its_reason_and_hint() {
    let server = Server::start()
        .json(&format!("GET /api/jobs/{JOB}"), 200, &job(2))
        .stream(End::Close, &[&stands(2), OVER]);
    let done = ask(&server, &["job", "wait", JOB, "--field", "class"]);
    assert_eq!((done.code, done.stdout.as_str()), (6, "wrong_password\n"), "{}", done.stderr);
    assert!(
        done.stderr.contains("error: the backup job failed: the repository's password is wrong"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("hint: set it again: rmctl creds set web1; read its log"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_followed_run_answers_with_the_jobs_as_they_ended() {
    let path = format!("/api/hosts/{HOST}/source-groups/{GROUP}/run");
    let started = format!(r#"{{"jobs":[{{"job_id":"{JOB}","state":"queued","existing":false}}]}}"#);
    let server = Server::start()
        .json(&format!("POST {path}"), 202, &started)
        .json(&format!("GET /api/jobs/{JOB}"), 200, &job(0))
        .stream(End::Close, &[&stands(4), &stands(3), &lines(0..1), &stands(0), OVER]);
    let done = ask(&server, &["run", HOST, GROUP, "--follow", "-o", "json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.stdout, format!("{{\"jobs\":[{}]}}\n", job(0)));
    assert!(done.stderr.contains("to offsite waits: the host is busy with another job"), "{}", done.stderr);
}

#[test]
fn a_run_that_is_not_followed_names_its_jobs() {
    let repo = "01900000-0000-7000-8000-000000000011";
    let path = format!("/api/hosts/{HOST}/source-groups/{GROUP}/run?repo_id={repo}");
    let started = format!(
        r#"{{"jobs":[{{"job_id":"{JOB}","state":"queued","existing":true,"hold":{{"reason":"host_offline"}}}}]}}"#
    );
    let server = Server::start().json(&format!("POST {path}"), 202, &started);
    let done = ask(&server, &["run", HOST, GROUP, "--repo", repo]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stdout.contains(JOB) && done.stdout.contains("the host's agent is not connected"),
        "{}",
        done.stdout
    );
}

#[test]
fn a_stream_that_is_refused_is_the_servers_refusal() {
    let stream = format!("GET /api/jobs/{JOB}/stream?from=0");
    let job = format!("GET /api/jobs/{JOB}");
    let body = r#"{"code":"not_found","message":"no job has this id"}"#;
    // The refusal is the same whether its body comes with the head of the answer, later, or never.
    for refused in [body, ""] {
        let server = Server::start().json(&stream, 404, refused).json(&job, 404, body);
        let done = ask(&server, &["job", "wait", JOB]);
        assert_eq!(done.code, 3, "{}", done.stderr);
        assert!(done.stderr.contains("no job has this id"), "{}", done.stderr);
    }
    // Where the job is there and only the stream is not, something between eats WebSockets.
    let server = Server::start().raw(&stream, 404, "", "<html>").json(&job, 200, "{}");
    assert_eq!(ask(&server, &["job", "wait", JOB]).code, 5);
    let server = Server::start().raw(&stream, 200, "", "<html>");
    assert_eq!(ask(&server, &["job", "wait", JOB]).code, 5);
}

#[test]
fn ctrl_c_ends_the_following_and_not_the_job() {
    let server = Server::start().stream(End::Stay, &[&stands(3), &lines(0..1)]);
    let mut child = rmctl()
        .env("RM_SERVER", server.url())
        .env("RM_TOKEN", "x")
        .args(["job", "log", "-f", JOB])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(child.stdout.as_mut().unwrap(), "line 0");
    let interrupted =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.starts_with("backup of home") && !said.contains("error: "), "{said}");
    assert!(said.contains("the job goes on") && said.contains(&format!("rmctl job cancel {JOB}")), "{said}");
    assert_eq!(server.lines().len(), 1, "nothing was cancelled");
}

#[test]
fn a_cancelled_job_is_said_to_stop_and_not_to_be_over() {
    let line = format!("POST /api/jobs/{JOB}/cancel");
    let body = format!(r#"{{"job_id":"{JOB}","state":"running","existing":true}}"#);
    let server = Server::start().json(&line, 202, &body);
    let done = ask(&server, &["job", "cancel", JOB]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{}", done.stderr);
    assert!(done.stderr.contains("asked to stop and still runs"), "{}", done.stderr);
    assert_eq!(ask(&server, &["job", "cancel", JOB, "--field", "state"]).stdout, "running\n");
    let body = r#"{"code":"job_over","message":"the job is over"}"#;
    let server = Server::start().json(&line, 409, body);
    assert_eq!(ask(&server, &["job", "cancel", JOB]).code, 4);
}
