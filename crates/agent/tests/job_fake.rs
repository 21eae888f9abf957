//! Whole jobs with a restic whose every word the test chooses: what no real one does on demand.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod job_lab;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use job_lab::{Job, Lab, PASSWORD, VARIABLE, eventually, lines, supervise_if_asked};
use restic_manager_agent::job::{JobTimes, Supervisor, read_stored_job};
use restic_manager_agent::process::supervise_main;
use restic_manager_agent::restic::ResticProblem;
use restic_manager_core::id::GroupId;
use restic_manager_core::model::{FinalState, LogLine, LogStream};
use restic_manager_core::restic::OutcomeClass;
use restic_manager_core::text::{ResticHost, Tag};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{AgentMessage, ForgetGroupSpec, ForgetMode, ForgetSpec, JobSpec};

/// What a successful backup says last.
const SUMMARY: &str = r#"echo '{"message_type":"summary","files_new":2,"total_files_processed":2,"snapshot_id":"abababababababababababababababababababababababababababababababab"}'"#;

#[test]
fn supervise_never_starts_what_was_given_up() {
    supervise_if_asked();
    let temp = tempfile::tempdir().unwrap();
    let spec = serde_json::json!({"program": "/bin/touch", "args": [temp.path().join("touched")]});
    std::fs::write(temp.path().join("spec.json"), spec.to_string()).unwrap();
    std::fs::write(temp.path().join("void"), "").unwrap();
    // As a program of its own: it changes the signals of the process it runs in.
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("supervise")
        .arg(temp.path())
        .status()
        .unwrap();
    assert!(!status.success());
    assert!(!temp.path().join("touched").exists());
    assert_eq!(supervise_main(&temp.path().join("nothing")), std::process::ExitCode::FAILURE);
}

#[tokio::test]
async fn a_folder_serves_one_job_and_what_another_one_said_in_it_counts_for_none() {
    for supervisor in [job_lab::this_program(), Supervisor::None] {
        let mut lab = Lab::fake(SUMMARY);
        lab.supervisor = supervisor;
        let spec = lab.backup_of(&["source"]);
        let first = lab.order(spec.clone());
        assert_eq!(lab.run_order(first.clone()).await.finished().state, FinalState::Succeeded);
        let mut second = lab.order(spec);
        let backups = || lab.calls().iter().filter(|call| call.contains("backup")).count();
        assert_eq!(backups(), 1);
        second.dir.clone_from(&first.dir);
        let told = Job::start(second.clone(), lab.times).told_to_the_end().await;
        let finished = told.finished();
        assert_eq!((finished.state, finished.summary.snapshot_id.as_ref()), (FinalState::Failed, None));
        let why = format!("the folder {} belongs to job {}", first.dir.display(), first.command.job_id);
        assert!(finished.message == why && finished.hint.is_some(), "{}", finished.message);
        let told = Job::resume(second, None, lab.times).told_to_the_end().await;
        assert_eq!((told.finished().state, &told.finished().message), (FinalState::Failed, &why));
        // The same job once more is no new run either.
        let told = Job::start(first.clone(), lab.times).told_to_the_end().await;
        assert!(told.finished().message.contains("belongs to an earlier process"), "{:?}", told.finished());
        assert_eq!(backups(), 1, "nothing was started");
        let told = Job::resume(first, None, lab.times).told_to_the_end().await;
        assert_eq!(told.finished().state, FinalState::Succeeded, "its own end can still be read");
    }
}

#[tokio::test]
async fn a_supervisor_that_does_not_know_its_call_is_named() {
    let mut lab = Lab::fake(SUMMARY);
    lab.supervisor = Supervisor::Program("/bin/true".into());
    let spec = lab.backup_of(&["source"]);
    let told = lab.run(spec).await;
    let message = &told.finished().message;
    assert!(message.contains("/bin/true ended without supervising anything"), "{message}");
}

#[tokio::test]
async fn every_line_reaches_the_log_in_order_and_status_lines_do_not() {
    let script = format!(
        r#"
    i=0
    while [ $i -lt 3000 ]; do
      echo "out $i"
      echo "err $i" >&2
      echo '{{"message_type":"status","percent_done":0.5,"files_done":'$i'}}'
      i=$((i+1))
    done
    head -c 3000000 /dev/zero | tr '\0' x
    echo
    printf 'bad \377 byte\n'
    {SUMMARY}
    printf 'no line end' >&2
    "#
    );
    let mut lab = Lab::fake(&script);
    let spec = lab.backup_of(&["source"]);
    let told = lab.run(spec).await;
    assert_eq!(told.finished().state, FinalState::Succeeded, "{:?}", told.finished());

    let numbered = |stream: LogStream, word: &str| -> Vec<usize> {
        let text = told.text_of(stream);
        text.lines().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect()
    };
    assert_eq!(numbered(LogStream::Stdout, "out "), (0..3000).collect::<Vec<_>>());
    assert_eq!(numbered(LogStream::Stderr, "err "), (0..3000).collect::<Vec<_>>());
    let stdout = told.text_of(LogStream::Stdout);
    assert!(!stdout.contains("\"status\""));
    let long = stdout.lines().find(|line| line.starts_with("xxx")).unwrap();
    assert!(long.len() < 70_000 && long.ends_with(" more bytes]"), "{}", &long[long.len() - 60..]);
    assert!(stdout.contains("bad \u{fffd} byte\n"));
    assert!(told.text_of(LogStream::Stderr).ends_with("no line end\n"));
    // One at once, and one a second after that.
    let seconds = told.finished().summary.seconds.unwrap();
    let progress = told.progress();
    assert!(
        !progress.is_empty() && progress.len() as f64 <= 2.0 + seconds,
        "{} in {seconds} s",
        progress.len()
    );
}

#[tokio::test]
async fn a_secret_that_restic_prints_is_masked_and_is_in_no_argument() {
    let script = format!(
        r#"
    echo "args $*"
    echo "the password is $RESTIC_PASSWORD" >&2
    echo "{{\"message_type\":\"status\",\"current_files\":[\"/$AWS_SECRET_ACCESS_KEY\"]}}"
    echo "http://someone:else@example/" >&2
    {SUMMARY}
    echo "Fatal: no $RESTIC_PASSWORD $AWS_SECRET_ACCESS_KEY" >&2
    exit 1
    "#
    );
    let mut lab = Lab::fake(&script);
    let spec = lab.backup_of(&["source"]);
    let told = lab.run(spec).await;
    told.check_secrets();
    assert_eq!(told.finished().class, OutcomeClass::Unknown);
    assert_eq!(told.finished().message, "restic failed with exit code 1: no *** ***");
    let stderr = told.text_of(LogStream::Stderr);
    assert!(stderr.contains("the password is ***\n") && stderr.contains("http://someone:***@example/\n"));
    assert_eq!(told.progress()[0].progress.current_files, ["/***"]);
    // What restic wrote lies there as it was: for the agent's user alone.
    let mode = |name: &str| std::fs::metadata(lab.job_dir().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("."), mode("stdout"), mode("stderr")], [0o700, 0o600, 0o600]);
    for name in ["job.json", "spec.json", "child.json", "exit.json", "log.checkpoints", "supervisor.log"] {
        let text = std::fs::read_to_string(lab.job_dir().join(name)).unwrap();
        assert!(!text.contains(PASSWORD) && !text.contains(VARIABLE), "{name}");
    }
}

#[tokio::test]
async fn an_end_that_proves_nothing_is_a_failure() {
    for (script, state, class) in [
        ("exit 0", FinalState::Failed, OutcomeClass::Unknown),
        ("exit 77", FinalState::Failed, OutcomeClass::Unknown),
        ("kill -TERM $$", FinalState::Failed, OutcomeClass::Killed),
    ] {
        let mut lab = Lab::fake(script);
        let spec = lab.backup_of(&["source"]);
        let told = lab.run(spec).await;
        assert_eq!((told.finished().state, told.finished().class), (state, class), "{script}");
        assert_eq!(told.finished().summary.snapshot_id, None);
    }
}

#[tokio::test]
async fn a_repository_that_does_not_answer_is_given_up_and_told_as_unreachable() {
    let script = r#"
    trap 'echo "signal interrupt received, cleaning up" >&2; exit 130' INT
    while :; do
      echo 'Load(<index/1>) returned error, retrying after 1.2s: dial tcp 127.0.0.1:9: connect: connection refused' >&2
      sleep 0.02
    done
    "#;
    let mut lab = Lab::fake(script);
    lab.times = JobTimes { first_contact: Duration::from_millis(300), ..lab.times };
    let spec = lab.backup_of(&["source"]);
    let told = lab.run(spec).await;
    let finished = told.finished();
    assert_eq!(
        (finished.state, finished.class),
        (FinalState::Failed, OutcomeClass::Unreachable),
        "{finished:?}"
    );
    assert_eq!(finished.exit_code, Some(130));
}

#[tokio::test]
async fn a_question_without_an_answer_ends_at_its_deadline() {
    let mut lab = Lab::fake(SUMMARY);
    let script = std::fs::read_to_string(lab.restic.path.clone()).unwrap();
    let hanging = script
        .replace("  snapshots) echo '[]';;", "  snapshots) trap '' INT; while :; do sleep 0.02; done;;");
    job_lab::executable(&lab.restic.path, &hanging);
    lab.times =
        JobTimes { query: Duration::from_millis(300), query_grace: Duration::from_millis(100), ..lab.times };
    let spec = lab.backup_of(&["source"]);
    let told = lab.run(spec).await;
    // The backup is what it is; only the list is missing.
    assert_eq!(told.finished().state, FinalState::Succeeded, "{:?}", told.finished());
    assert!(told.snapshots().is_none() && told.stats().is_some());
    assert!(told.text_of(LogStream::Agent).contains("the snapshots could not be listed: "));
}

#[tokio::test]
async fn who_ignores_the_request_to_stop_is_killed_after_the_grace() {
    for supervisor in [job_lab::this_program(), Supervisor::None] {
        let mut lab =
            Lab::fake("trap '' INT; echo '{\"message_type\":\"status\"}'; while :; do sleep 0.02; done");
        lab.supervisor = supervisor;
        lab.times = JobTimes { grace: Duration::from_millis(200), ..lab.times };
        let spec = lab.backup_of(&["source"]);
        let order = lab.order(spec);
        let mut job = Job::start(order, lab.times);
        job.until(|message| matches!(message, AgentMessage::JobProgress(_))).await;
        job.cancel.cancel();
        let told = job.told_to_the_end().await;
        told.check();
        let finished = told.finished();
        assert_eq!((finished.state, finished.class), (FinalState::Cancelled, OutcomeClass::Cancelled));
        assert_eq!(finished.exit_code, None);
        assert_eq!(lab.calls(), ["cat", "backup", "list"], "no lock is left, so none is removed");
    }
}

#[tokio::test]
async fn a_job_that_was_cancelled_before_its_start_starts_nothing() {
    let mut lab = Lab::fake("exit 0");
    let spec = lab.backup_of(&["source"]);
    let order = lab.order(spec);
    let mut job = Job::start(order, lab.times);
    job.cancel.cancel();
    let told = job.told_to_the_end().await;
    told.check();
    assert_eq!(told.finished().state, FinalState::Cancelled, "{:?}", told.finished());
    assert!(!lab.calls().contains(&"backup".to_owned()));
}

#[tokio::test]
async fn a_job_without_restic_or_without_room_still_ends_with_its_reason() {
    let mut lab = Lab::fake("exit 0");
    let mut order = lab.order(JobSpec::Stats);
    order.restic = Err(ResticProblem::NotFound);
    let told = lab.run_order(order).await;
    assert_eq!(told.finished().class, OutcomeClass::ResticMissing);
    assert!(told.finished().message.contains("not installed") && told.finished().hint.is_some());

    let mut order = lab.order(JobSpec::Stats);
    std::fs::write(lab.path("file"), "").unwrap();
    order.dir = lab.path("file/below");
    let told = lab.run_order(order).await;
    assert_eq!(told.finished().state, FinalState::Failed);
    assert!(told.finished().message.contains("cannot be written"), "{}", told.finished().message);

    let mut order = lab.order(JobSpec::Stats);
    order.credential.url = "relative/path".into();
    let told = lab.run_order(order).await;
    assert!(told.finished().message.contains("relative"), "{}", told.finished().message);

    let spec = lab.backup_of(&["source"]);
    lab.supervisor = Supervisor::Program(lab.path("no-such-program"));
    let told = lab.run(spec.clone()).await;
    assert!(told.finished().message.contains("supervisor"), "{}", told.finished().message);

    lab.supervisor = job_lab::this_program();
    // Known at the first question, gone at the start.
    std::fs::write(lab.path("state/x"), "").unwrap();
    std::fs::remove_file(&lab.restic.path).unwrap();
    let told = lab.run(spec).await;
    assert_eq!(told.finished().class, OutcomeClass::ResticMissing, "{:?}", told.finished());
}

#[tokio::test]
async fn what_can_be_said_while_nobody_listens_does_not_stop_the_job() {
    let mut lab = Lab::fake(&format!("{SUMMARY}; echo done > \"$RESTIC_CACHE_DIR/done\""));
    let spec = lab.backup_of(&["source"]);
    let order = lab.order(spec);
    let mut job = Job::start(order, lab.times);
    job.messages.close();
    let told = job.told_to_the_end().await;
    assert_eq!(told.finished().state, FinalState::Succeeded);
    assert!(lab.path("cache/done").exists());
}

const LONG: &str = r#"
    echo "out 0"; echo "err 0" >&2
    echo '{"message_type":"status"}'
    while [ ! -e "$RESTIC_CACHE_DIR/go" ]; do sleep 0.02; done
    i=1
    while [ $i -lt 200 ]; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); done
"#;

/// Starts a long backup, lets the agent die in the middle of it, and returns what the agent had stored by then.
async fn orphaned(lab: &mut Lab) -> Vec<AgentMessage> {
    let spec = lab.backup_of(&["source"]);
    let order = lab.order(spec);
    let mut job = Job::start(order, lab.times);
    job.until(|message| matches!(message, AgentMessage::JobProgress(_))).await;
    let stored =
        |message: &AgentMessage| lines(std::slice::from_ref(message)).iter().any(|line| line.text == "err 0");
    job.until(stored).await;
    job.die().await
}

fn supervisor_pid(lab: &Lab) -> rustix::process::Pid {
    let child = std::fs::read(lab.job_dir().join("child.json")).unwrap();
    let child: serde_json::Value = serde_json::from_slice(&child).unwrap();
    let pid = i32::try_from(child["supervisor_pid"].as_i64().unwrap()).unwrap();
    rustix::process::Pid::from_raw(pid).unwrap()
}

fn go(lab: &Lab) {
    std::fs::write(lab.path("cache/go"), "").unwrap();
}

fn order_again(lab: &mut Lab) -> restic_manager_agent::job::JobOrder {
    let stored = read_stored_job(&lab.job_dir()).unwrap();
    let mut order = lab.order(stored.command.spec.clone());
    order.command = stored.command;
    order.dir = order.dir.with_file_name("1");
    order
}

#[tokio::test]
async fn a_job_goes_on_without_its_agent_and_the_next_one_tells_the_rest_exactly() {
    for ended_meanwhile in [true, false] {
        let mut lab = Lab::fake(&format!("{LONG}\n{SUMMARY}"));
        let first = orphaned(&mut lab).await;
        // What is aimed at the agent does not end the supervisor.
        for signal in
            [rustix::process::Signal::HUP, rustix::process::Signal::INT, rustix::process::Signal::TERM]
        {
            rustix::process::kill_process(supervisor_pid(&lab), signal).unwrap();
        }
        let dir = lab.job_dir();
        if ended_meanwhile {
            go(&lab);
            eventually("the end is written down", || dir.join("exit.json").exists()).await;
        }
        let stored = lines(&first).len() as u64;
        let order = order_again(&mut lab);
        let mut job = Job::resume(order, Some(stored), lab.times);
        go(&lab);
        let told = job.told_to_the_end().await;
        told.check_order();
        assert_eq!(told.finished().state, FinalState::Succeeded, "{:?}", told.finished());
        assert_eq!(told.finished().exit_code, Some(0));

        let all: Vec<_> = lines(&first).into_iter().chain(told.lines()).collect();
        for (expected, line) in all.iter().enumerate() {
            assert_eq!(line.n, expected as u64);
        }
        for word in ["out ", "err "] {
            let numbers: Vec<usize> =
                all.iter().filter_map(|line| line.text.strip_prefix(word)?.parse().ok()).collect();
            assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "{word}");
        }
        assert_eq!(lab.calls().iter().filter(|call| *call == "backup").count(), 1);
    }
}

#[tokio::test]
async fn without_a_supervisor_the_last_word_of_restic_or_the_repository_must_tell() {
    let spoke = format!("{LONG}\n{SUMMARY}");
    for (script, state, class) in [
        (spoke.as_str(), FinalState::Succeeded, OutcomeClass::Ok),
        (LONG, FinalState::Failed, OutcomeClass::Killed),
    ] {
        let mut lab = Lab::fake(script);
        orphaned(&mut lab).await;
        rustix::process::kill_process(supervisor_pid(&lab), rustix::process::Signal::KILL).unwrap();
        let order = order_again(&mut lab);
        let mut job = Job::resume(order, None, lab.times);
        job.until(|message| matches!(message, AgentMessage::JobProgress(_))).await;
        go(&lab);
        let told = job.told_to_the_end().await;
        told.check();
        assert_eq!((told.finished().state, told.finished().class), (state, class), "{:?}", told.finished());
        assert_eq!(told.finished().exit_code, None);
        assert_eq!(lab.calls().iter().filter(|call| *call == "backup").count(), 1);
    }
}

#[tokio::test]
async fn a_request_to_stop_is_remembered_by_the_next_agent() {
    let script = format!("trap 'sleep 0.3; exit 1' INT\n{LONG}");
    let mut lab = Lab::fake(&script);
    let spec = lab.backup_of(&["source"]);
    let order = lab.order(spec);
    let mut job = Job::start(order, lab.times);
    job.until(|message| matches!(message, AgentMessage::JobProgress(_))).await;
    job.cancel.cancel();
    let dir = lab.job_dir();
    eventually("the signal is written down", || dir.join("stop.json").exists()).await;
    job.die().await;
    let order = order_again(&mut lab);
    let told = Job::resume(order, None, lab.times).told_to_the_end().await;
    told.check();
    assert_eq!(told.finished().state, FinalState::Cancelled, "{:?}", told.finished());
    assert_eq!(told.finished().exit_code, Some(1));
}

/// One snapshot that goes, by each call; the one of the second group waits for the test.
const FORGET: &str = r#"  forget)
    echo "[0:00] 100.00%  1 / 1 files deleted"
    case "$*" in *"--tag two"*)
      while [ ! -e "$RESTIC_CACHE_DIR/go" ]; do sleep 0.02; done
    esac
    echo '[{"keep":null,"remove":[{"time":"2026-01-01T00:00:00Z","id":"abababababababababababababababababababababababababababababababab","short_id":"abababab"}]}]'
  ;;
  snapshots)"#;

#[tokio::test]
async fn a_forget_whose_agent_died_in_its_second_group_tells_what_became_of_each() {
    let mut lab = Lab::fake("exit 0");
    let script = std::fs::read_to_string(&lab.restic.path).unwrap();
    job_lab::executable(&lab.restic.path, &script.replacen("  snapshots)", FORGET, 1));
    let group = |tag: &str| ForgetGroupSpec {
        group_id: GroupId::mint(Timestamp::from_millis(1), [1; 10]),
        restic_host: ResticHost::new(job_lab::HOST).unwrap(),
        tag: Tag::new(tag).unwrap(),
        keep: serde_json::from_str(r#"{"last":1}"#).unwrap(),
    };
    let groups = vec![group("one"), group("two"), group("three")];
    let order = lab.order(JobSpec::Forget(ForgetSpec { groups, mode: ForgetMode::Apply }));
    let mut job = Job::start(order, lab.times);
    let begun = |message: &AgentMessage| {
        lines(std::slice::from_ref(message)).iter().any(|line| line.text.contains("--tag two --group-by"))
    };
    job.until(begun).await;
    let second = lab.job_dir().join("2/child.json");
    eventually("the second one runs", || second.exists()).await;
    let first = job.die().await;

    let order = order_again(&mut lab);
    let mut job = Job::resume(order, Some(lines(&first).len() as u64), lab.times);
    go(&lab);
    let told = job.told_to_the_end().await;
    told.check_order();
    let all: Vec<_> = lines(&first).into_iter().chain(told.lines()).collect();
    for (expected, line) in all.iter().enumerate() {
        assert_eq!(line.n, expected as u64);
    }
    let ended = |line: &&&LogLine| line.text.starts_with("restic ended with exit code 0");
    assert_eq!(all.iter().filter(ended).count(), 2, "each end is told once");
    let finished = told.finished();
    assert_eq!((finished.state, finished.class), (FinalState::Failed, OutcomeClass::Killed), "{finished:?}");
    let results: Vec<_> = finished
        .summary
        .forget
        .iter()
        .map(|result| (result.tag.as_str(), result.class, result.planned, result.removed))
        .collect();
    let ok = OutcomeClass::Ok;
    assert_eq!(results, [("one", ok, 1, 1), ("two", ok, 1, 1), ("three", OutcomeClass::Killed, 0, 0)]);
    assert_eq!(lab.calls().iter().filter(|call| *call == "forget").count(), 2, "no third one is begun");
    assert!(told.stats().is_some() && told.snapshots().is_some());
}

#[tokio::test]
async fn a_job_whose_agent_died_before_the_start_is_told_and_never_started() {
    let mut lab = Lab::fake("exit 0");
    let spec = lab.backup_of(&["source"]);
    let order = lab.order(spec);
    std::fs::create_dir_all(&order.dir).unwrap();
    let told = Job::resume(order, None, lab.times).told_to_the_end().await;
    told.check();
    assert_eq!((told.finished().state, told.finished().class), (FinalState::Failed, OutcomeClass::Killed));
    assert!(lab.job_dir().join("void").exists(), "a supervisor that comes late finds it");
    assert!(lab.calls().is_empty());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_repository_is_asked_without_room_on_the_disk_when_restics_last_word_is_lost() {
    let mut lab = Lab::fake("exit 0");
    let script = lab.path("fake-restic");
    let (source, outputs) = (lab.path("source"), lab.path("outputs"));
    let asked = format!(
        r#"snapshots)
    links=$(readlink /proc/$$/fd/1 /proc/$$/fd/2)
    echo "$links" >> '{}'
    echo '[{{"id":"{}","short_id":"cdcdcdcd","time":"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'","hostname":"lab-host","username":"root","tags":["lab-tag"],"paths":["{}"]}}]';;"#,
        outputs.display(),
        "cd".repeat(32),
        source.display(),
    );
    let text = std::fs::read_to_string(&script).unwrap();
    job_lab::executable(&script, &text.replace("snapshots) echo '[]';;", &asked));
    let spec = lab.backup_of(&["source"]);
    let told = lab.run(spec).await;
    let finished = told.finished();
    assert_eq!(finished.summary.snapshot_id, Some("cd".repeat(32)), "{finished:?}");
    assert!(finished.message.contains("last word on it is lost"), "{finished:?}");
    let outputs = std::fs::read_to_string(outputs).unwrap();
    assert!(outputs.lines().count() >= 2, "{outputs}");
    assert!(outputs.lines().all(|output| output.starts_with("/memfd:answer")), "{outputs}");
}
