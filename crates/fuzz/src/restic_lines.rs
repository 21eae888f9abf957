//! Whatever restic prints, on either stream, from every supported release, with every end.

use restic_manager_core::restic::{
    Capabilities, Ended, Exit, Facts, Kind, Line, OutcomeClass, Sent, StopReason, Stream, Version,
    check_outcome, classify, count_ignored_snapshots, parse_check, parse_counter, parse_forget, parse_init,
    parse_line, parse_prune, parse_snapshots, parse_stats,
};

const VERSIONS: [Version; 3] = [Version::new(0, 14, 0), Version::new(0, 18, 0), Version::new(0, 19, 1)];
const KINDS: [Kind; 7] =
    [Kind::Backup, Kind::Forget, Kind::Prune, Kind::Check, Kind::Snapshots, Kind::Stats, Kind::Init];
const EXITS: [Exit; 8] = [
    Exit::Code(0),
    Exit::Code(1),
    Exit::Code(3),
    Exit::Code(11),
    Exit::Code(130),
    Exit::Code(77),
    Exit::Signal(9),
    Exit::NotStarted,
];

/// Input is output: the lines of one stream.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut understood = false;
    for stream in [Stream::Stdout, Stream::Stderr] {
        let mut facts = Facts::default();
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            let parsed = facts.observe(stream, line);
            assert_eq!(parsed, parse_line(stream, line), "the same line reads the same");
            understood |= !matches!(parsed, Line::Text(_));
            judge_line(stream, &parsed);
        }
        assert!(facts.stderr_tail.len() <= 160 * 1024, "memory grows with what restic says");
        ends(&facts);
    }
    whole(&String::from_utf8_lossy(data));
    understood
}

fn judge_line(stream: Stream, line: &Line) {
    match (line, stream) {
        (Line::Progress(progress), Stream::Stdout) => {
            assert!((0.0..=100.0).contains(&progress.percent), "{} %", progress.percent);
        }
        (Line::Summary(summary), Stream::Stdout) => {
            assert!(summary.seconds >= 0.0);
            assert!(!summary.dry_run || summary.evidence().is_none(), "a dry run proves nothing");
        }
        (Line::ItemError(_) | Line::Message(_) | Line::ExitError { .. }, Stream::Stderr) => {}
        (Line::Text(text), _) => {
            assert!(!text.ends_with(['\n', '\r']) && !text.starts_with("\u{1b}[2K"), "{text:?}");
        }
        (Line::Other, _) => {}
        (line, stream) => panic!("{line:?} is not said on {stream:?}"),
    }
}

fn ends(facts: &Facts) {
    for version in VERSIONS {
        let capabilities = Capabilities::of(version);
        for kind in KINDS {
            for exit in EXITS {
                let ended = Ended { kind, capabilities, exit, sent: Sent::Nothing, facts };
                judge_end(&ended);
                let stopped = Ended { sent: Sent::SigKill(StopReason::Cancel), ..ended };
                let class = classify(&stopped).class;
                let finished = matches!(class, OutcomeClass::Ok | OutcomeClass::Partial);
                assert!(
                    !finished || matches!(exit, Exit::Code(0 | 3)),
                    "a run that was killed and ended with {exit:?} is {class:?}"
                );
            }
        }
    }
}

fn judge_end(ended: &Ended<'_>) {
    let outcome = classify(ended);
    let snapshot = ended.facts.summary.as_ref().and_then(|summary| summary.evidence());
    match outcome.class {
        OutcomeClass::Ok => {
            // An init that finds a repository adopts it.
            let adopted = ended.kind == Kind::Init && outcome.message.contains("adopted");
            assert!(
                ended.exit == Exit::Code(0) || adopted,
                "success without exit code 0: {}",
                outcome.message
            );
            assert!(ended.kind != Kind::Backup || snapshot.is_some(), "success without a snapshot");
            assert_eq!(outcome.unreadable_items, 0, "success with items left out");
        }
        OutcomeClass::Partial => {
            assert!(matches!(ended.exit, Exit::Code(0 | 3)), "a part without an end: {:?}", ended.exit);
            assert!(ended.kind != Kind::Backup || snapshot.is_some(), "a part without a snapshot");
        }
        OutcomeClass::Cancelled => panic!("cancelled, though nobody sent anything"),
        OutcomeClass::ResticMissing => assert_eq!(ended.exit, Exit::NotStarted),
        OutcomeClass::Locked
        | OutcomeClass::Unreachable
        | OutcomeClass::NoRepository
        | OutcomeClass::WrongPassword
        | OutcomeClass::AppendOnly
        | OutcomeClass::NoSpace
        | OutcomeClass::SourceMissing
        | OutcomeClass::Killed
        | OutcomeClass::Unknown => {}
    }
    assert!(!outcome.message.is_empty(), "an end without a word");
    if ended.kind == Kind::Check {
        check_outcome(ended);
    }
}

/// What is read of an output as a whole.
fn whole(text: &str) {
    if let Ok(snapshots) = parse_snapshots(text) {
        assert!(snapshots.iter().all(|snapshot| snapshot.id.as_str().len() >= 8));
    }
    if let Ok(groups) = parse_forget(text) {
        let raw: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_default();
        let listed = |at: usize, name: &str| raw[at][name].as_array().map_or(0, Vec::len);
        for (at, group) in groups.iter().enumerate().filter(|_| raw.is_array()) {
            let found = (group.keep.len(), group.remove.len());
            assert_eq!(found, (listed(at, "keep"), listed(at, "remove")), "a snapshot was lost or made");
        }
    }
    let _ = (parse_stats(text), parse_prune(text), parse_check(text, text), parse_init(text, text));
    for line in text.lines() {
        if let Some(counter) = parse_counter(line) {
            assert!(!line.trim().is_empty(), "{counter:?} out of nothing");
        }
    }
    assert!(count_ignored_snapshots(text) <= text.lines().count() as u64);
}
