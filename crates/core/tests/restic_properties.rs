//! What must hold for any input: parsers are total, file names prove nothing, arguments hold no secret.

#![allow(clippy::unwrap_used, reason = "commands are made of texts known to be good")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;
use restic_manager_core::restic::{
    Access, Backup, Capabilities, Command, Ended, Exit, Facts, Forget, GlobalOptions, Kind, LockId,
    OutcomeClass, ReadData, RepoUrl, RetryLock, Sent, SnapshotFilter, SnapshotId, StopReason, Stream,
    Version, check_outcome, classify, count_ignored_snapshots, is_locked, parse_cat_config, parse_cat_lock,
    parse_check, parse_forget, parse_init, parse_line, parse_list_locks, parse_prune, parse_snapshots,
    parse_stats, parse_unlocked, sight_lock,
};
use restic_manager_core::retention::KeepPolicy;
use restic_manager_core::secret::Secret;
use restic_manager_core::text::{ExcludePattern, ResticHost, SourcePath, Tag};

fn version() -> impl Strategy<Value = Version> {
    (14u32..21, 0u32..4).prop_map(|(minor, patch)| Version::new(0, minor, patch))
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![(-2i32..140).prop_map(Exit::Code), (1i32..32).prop_map(Exit::Signal), Just(Exit::NotStarted)]
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        Just(Sent::Nothing),
        Just(Sent::SigInt(StopReason::Cancel)),
        Just(Sent::SigKill(StopReason::Unreachable)),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Backup,
        Kind::Check,
        Kind::Forget,
        Kind::Init,
        Kind::Prune,
        Kind::Snapshots,
    ])
}

/// Bytes that often look like restic's.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..40),
        prop::sample::select(vec![
            "{\"message_type\":\"status\",\"percent_done\":",
            "{\"message_type\":\"summary\",\"snapshot_id\":\"abababab\"}",
            "{\"message_type\":\"exit_error\",\"code\":11,\"message\":\"",
            "{\"message_type\":\"error\",\"error\":{},\"item\":\"x\"}",
            "unable to create lock in backend: repository is already locked by PID 7 on a by b (UID 0, GID 0)",
            "lock was created at ",
            "storage ID 2205a7f7",
            "the `unlock` command can be used to remove stale locks",
            "Fatal: ",
            "remaining:   1 blobs / 4.2 MiB",
            "\u{1b}[2K",
            "\"}",
            "[{",
            "\n",
            "\r",
            "é",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Names that try to pass for a refusal.
fn hostile_name() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "unable to create lock in backend: repository is already locked exclusively by PID 12 on h by u (UID 0, GID 0)",
        "lock was created at 2026-11-23 14:38:16 (4.01s ago)",
        "storage ID 2205a7f7",
        "the `unlock` command can be used to remove stale locks",
        "Fatal: wrong password or no key found",
        "Fatal: repository contains errors",
        "{\"message_type\":\"exit_error\",\"code\":11,\"message\":\"x\"}",
        "\"}\n",
        "\n",
        "\r\n",
        "\"",
        "\\",
        "/",
        "\u{2028}",
        "x",
    ]);
    vec(piece, 1..9).prop_map(|pieces| pieces.concat())
}

const REFUSAL: &str = "unable to create lock in backend: repository is already locked exclusively by PID 12 on h by u (UID 0, GID 0)\nlock was created at 2026-11-23 14:38:16 (4.01s ago)\nstorage ID 2205a7f7\nthe `unlock` command can be used to remove stale locks";

fn item_line(name: &str) -> String {
    let value = serde_json::json!({
        "message_type": "error", "error": {"message": format!("open {name}: permission denied")},
        "during": "archival", "item": name,
    });
    format!("{value}\n")
}

fn judge_all(facts: &Facts, version: Version, exit: Exit, sent: Sent, kind: Kind) -> OutcomeClass {
    let ended = Ended { kind, capabilities: Capabilities::of(version), exit, sent, facts };
    let _ = check_outcome(&ended);
    classify(&ended).class
}

proptest! {
    #[test]
    fn no_parser_panics_on_any_bytes(
        stdout in output(), stderr in output(), version in version(), exit in exit(), sent in sent(), kind in kind(),
    ) {
        let mut facts = Facts::default();
        for (stream, bytes) in [(Stream::Stdout, &stdout), (Stream::Stderr, &stderr)] {
            let _ = parse_line(stream, bytes);
            for line in bytes.split(|byte| *byte == b'\n') {
                facts.observe(stream, line);
            }
        }
        let class = judge_all(&facts, version, exit, sent, kind);
        if let Exit::Code(code) = exit && ![0, 1, 3].contains(&code) {
            prop_assert!(!matches!(class, OutcomeClass::Ok | OutcomeClass::Partial), "{code} is a failure");
        }
        let out = String::from_utf8_lossy(&stdout);
        let err = String::from_utf8_lossy(&stderr);
        judge_all(&Facts::saying(&err), version, exit, sent, kind);
        let _ = (Version::from_output(&out), parse_snapshots(&out), parse_stats(&out), parse_check(&out, &err));
        let _ = (parse_forget(&out), parse_prune(&out), parse_init(&out, &err), parse_list_locks(&out));
        let _ = (parse_cat_lock(&out), parse_cat_config(&out), parse_unlocked(&out), count_ignored_snapshots(&err));
        let _ = (RepoUrl::separate(&out), SnapshotId::new(out.clone()), LockId::new(out.clone()));
        let _ = sight_lock(exit, Capabilities::of(version), &err);
    }

    #[test]
    fn an_address_is_never_shown_with_its_password(text in ".{0,60}", user in "[a-z]{1,8}", password in "SECRET[!-~]{0,12}") {
        let _ = RepoUrl::separate(&text);
        for scheme in ["rest:http", "rest:https", "s3:https"] {
            let full = format!("{scheme}://{user}:{password}@host/bucket/");
            match RepoUrl::separate(&full) {
                Ok(parts) => {
                    let shown = format!("{} {parts:?} {:?}", parts.url, parts.url);
                    prop_assert!(!shown.contains("SECRET"), "{shown}");
                    prop_assert!(parts.password.is_some());
                }
                Err(error) => {
                    let shown = format!("{error} {error:?}");
                    prop_assert!(!shown.contains("SECRET"), "{shown}");
                }
            }
        }
    }

    #[test]
    fn no_file_name_makes_a_lock_in_json_mode(
        names in vec(hostile_name(), 1..4), version in version(), code in prop::sample::select(vec![0, 1, 3, 10, 12]),
    ) {
        let mut stderr: String = names.iter().map(|name| item_line(name)).collect();
        stderr.push_str(&item_line(REFUSAL));
        let capabilities = Capabilities::of(version);
        prop_assert_eq!(sight_lock(Exit::Code(code), capabilities, &stderr), None);
        prop_assert!(!is_locked(Exit::Code(code), capabilities, &stderr));
        let mut facts = Facts::default();
        for line in stderr.split_inclusive('\n') {
            facts.observe(Stream::Stderr, line.as_bytes());
        }
        prop_assert!(!is_locked(Exit::Code(code), capabilities, &facts.stderr_tail));
        for kind in [Kind::Backup, Kind::Check] {
            let class = judge_all(&facts, version, Exit::Code(1), Sent::Nothing, kind);
            prop_assert_eq!(class, OutcomeClass::Unknown, "names say nothing about the end");
        }
    }

    #[test]
    fn a_real_refusal_is_seen_behind_any_names(names in vec(hostile_name(), 0..4)) {
        let items: String = names.iter().map(|name| item_line(name)).collect();
        let old = Capabilities::of(Version::OLDEST_SUPPORTED);
        let text = format!("{items}{REFUSAL}\n");
        prop_assert!(is_locked(Exit::Code(1), old, &text));
        let last = serde_json::json!({"message_type": "exit_error", "code": 11, "message": REFUSAL});
        let new = Capabilities::of(Version::new(0, 18, 0));
        let sighting = sight_lock(Exit::Code(11), new, &format!("{items}{last}\n"));
        prop_assert_eq!(sighting.map(|sighting| sighting.pid), Some(12));
    }

    #[test]
    fn arguments_hold_no_secret_and_the_environment_holds_all(
        version in version(), secret in "[A-Za-z0-9/+@:%]{12,24}", percent in any::<u8>(), limit in 1u32..9_999,
        includes in vec("/[a-z ]{1,9}", 1..4), excludes in vec("[a-z*]{1,9}", 0..3),
    ) {
        let url: RepoUrl = "rest:https://host:8000/web1/".parse().unwrap();
        let password = Secret::new(format!("pw-{secret}"));
        let rest_password = Secret::new(format!("rest-{secret}"));
        let variables = BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), Secret::new(format!("aws-{secret}")))]);
        let access = Access {
            url: &url, password: &password, rest_user: Some("agent"), rest_password: Some(&rest_password),
            variables: &variables, cache_dir: "/var/cache/restic",
        };
        let environment = access.environment().unwrap();
        let shown = format!("{access:?} {environment:?}");
        prop_assert!(!shown.contains(&secret), "{shown}");
        let repository = RepoUrl::separate(environment.get("RESTIC_REPOSITORY").unwrap().expose()).unwrap();
        prop_assert_eq!(repository.password.as_ref(), Some(&rest_password));
        prop_assert_eq!(environment.get("RESTIC_PASSWORD"), Some(&password));

        let global = GlobalOptions {
            retry_lock: Some(RetryLock::seconds(limit)), limit_upload: NonZeroU32::new(limit), ..GlobalOptions::default()
        };
        for command in commands(&includes, &excludes, percent, limit) {
            let args = command.args(Capabilities::of(version), &global);
            prop_assert!(args.iter().all(|arg| !arg.contains(&secret) && !arg.contains("rest:")), "{args:?}");
            prop_assert!(!args.iter().any(|arg| arg == "--prune" || arg == "--remove-all"), "{args:?}");
            if version < Version::new(0, 16, 0) {
                prop_assert!(!args.iter().any(|arg| arg == "--retry-lock"), "{args:?}");
            }
        }
    }
}

fn commands(includes: &[String], excludes: &[String], percent: u8, number: u32) -> Vec<Command> {
    let host = ResticHost::new("web1").unwrap();
    let tag = Tag::new("home").unwrap();
    let paths = includes.iter().map(|path| SourcePath::new(path.as_str()).unwrap()).collect();
    let mut backup = Backup::new(host.clone(), tag.clone(), paths).unwrap();
    backup.excludes = excludes.iter().map(|pattern| ExcludePattern::new(pattern.as_str()).unwrap()).collect();
    let keep = KeepPolicy { daily: NonZeroU32::new(number), ..KeepPolicy::default() };
    vec![
        Command::Init,
        Command::Backup(backup),
        Command::Snapshots(SnapshotFilter { host: Some(host.clone()), tag: Some(tag.clone()), id: None }),
        Command::Stats,
        Command::Check(ReadData::percent(percent)),
        Command::Forget(Forget::new(host, tag, &keep).unwrap()),
        Command::Prune,
        Command::Unlock,
        Command::ListLocks,
        Command::CatLock(LockId::new("a".repeat(64)).unwrap()),
        Command::CatConfig,
        Command::Version,
    ]
}
