use proptest::prelude::*;
use restic_manager_core::id::ScheduleId;
use restic_manager_core::model::{FinalState, JobSummary, LogLine, LogStream, Snapshot};
use restic_manager_core::restic::{OutcomeClass, SnapshotId};
use restic_manager_core::wire::{
    Decoded, JobFinished, JobStarted, LogBatch, ScheduleFire, SnapshotsReport, decode_agent, following,
};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn job(n: u8) -> JobId {
    JobId::mint(NOW, [n; 10])
}

fn started(n: u8) -> AgentMessage {
    AgentMessage::JobStarted(JobStarted { job_id: job(n), at: NOW, run: None })
}

fn finished(n: u8) -> AgentMessage {
    AgentMessage::JobFinished(Box::new(JobFinished {
        job_id: job(n),
        at: NOW,
        state: FinalState::Succeeded,
        class: OutcomeClass::Ok,
        exit_code: Some(0),
        message: "done".into(),
        hint: None,
        summary: JobSummary::default(),
        run: None,
    }))
}

fn log(n: u8, from: u64, text: &str) -> AgentMessage {
    let line = LogLine { n: from, at: NOW, stream: LogStream::Stdout, text: text.into() };
    AgentMessage::LogStream(LogBatch { job_id: job(n), lines: vec![line] })
}

fn fire(slot: i64) -> AgentMessage {
    let schedule_id = ScheduleId::mint(NOW, [1; 10]);
    AgentMessage::ScheduleFire(ScheduleFire { schedule_id, slot: Timestamp::from_millis(slot), missed: 0 })
}

fn open(folder: &Path) -> Spool {
    Spool::open(folder, DEFAULT_LIMIT, NOW).unwrap()
}

fn message(spool: &mut Spool, seq: u64) -> Option<AgentMessage> {
    let text = spool.read(seq).unwrap()?;
    let Ok(Decoded::Message(frame)) = decode_agent(&text) else { panic!("no frame: {text}") };
    assert_eq!(frame.seq, Some(seq));
    Some(frame.message)
}

fn all(spool: &mut Spool) -> Vec<(u64, AgentMessage)> {
    (spool.forgotten() + 1..=spool.last_seq()).filter_map(|seq| Some((seq, message(spool, seq)?))).collect()
}

#[test]
fn messages_are_kept_in_order_until_they_are_forgotten() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    for message in [started(1), log(1, 0, "a"), finished(1)] {
        spool.append(&message).unwrap();
    }
    assert_eq!(all(&mut spool), [(1, started(1)), (2, log(1, 0, "a")), (3, finished(1))]);
    assert_eq!(spool.spooled_jobs(), [job(1)]);
    spool.forget(2).unwrap();
    assert_eq!((spool.forgotten(), spool.waiting(), spool.spooled_jobs()), (2, 1, vec![job(1)]));
    spool.forget(3).unwrap();
    assert_eq!((spool.waiting(), spool.spooled_jobs()), (0, vec![]));
}

#[test]
fn a_restart_keeps_the_life_and_never_gives_a_number_twice() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    let id = spool.id();
    spool.append(&started(1)).unwrap();
    drop(spool);
    let mut again = open(temp.path());
    assert_eq!((again.id(), again.last_seq()), (id, 1));
    let seq = again.append(&finished(1)).unwrap();
    assert_eq!(seq, 2 + UNSYNCED);
    assert_eq!(all(&mut again), [(1, started(1)), (seq, finished(1))]);
    drop(again);
    assert_eq!(open(temp.path()).spooled_jobs(), [job(1)]);
}

#[test]
fn acknowledged_segments_leave_the_disk() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    let text = "x".repeat(50_000);
    for n in 0..60 {
        spool.append(&log(1, n, &text)).unwrap();
    }
    assert!(spool.segments.len() > 2);
    let last = spool.last_seq();
    spool.forget(last / 2).unwrap();
    assert_eq!(message(&mut spool, last).unwrap(), log(1, 59, &text));
    spool.forget(last).unwrap();
    assert_eq!((spool.segments.len(), spool.bytes()), (1, 0));
    assert_eq!(segment_files(temp.path()).unwrap().len(), 1);
    drop(spool);
    assert!(open(temp.path()).append(&started(2)).unwrap() > last, "numbers go on though everything is gone");
}

#[test]
fn a_spool_that_was_lost_begins_a_new_life() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    spool.append(&started(1)).unwrap();
    let id = spool.id();
    drop(spool);
    for (_, path) in segment_files(temp.path()).unwrap() {
        std::fs::remove_file(path).unwrap();
    }
    let mut again = open(temp.path());
    assert_ne!(again.id(), id);
    let renewed = again.id();
    again.begin_new_life(NOW).unwrap();
    assert_ne!(again.id(), renewed);
    drop(again);
    std::fs::write(temp.path().join("spool.json"), "{").unwrap();
    assert_ne!(open(temp.path()).id(), renewed);
}

#[test]
fn log_lines_give_way_by_named_gaps_and_ends_never_do() {
    let temp = tempfile::tempdir().unwrap();
    let limit = 3 << 20;
    let mut spool = Spool::open(temp.path(), limit, NOW).unwrap();
    let text = "x".repeat(20_000);
    let mut lines = 0;
    for round in 0..10 {
        spool.append(&started(round)).unwrap();
        for n in 0..100 {
            spool.append(&log(round, n, &text)).unwrap();
            lines += 1;
        }
        spool.append(&finished(round)).unwrap();
        assert!(spool.bytes() <= limit, "{} bytes", spool.bytes());
    }
    let kept = all(&mut spool);
    for round in 0..10 {
        assert!(kept.iter().any(|(_, message)| *message == started(round)));
        assert!(kept.iter().any(|(_, message)| *message == finished(round)));
    }
    // Every line is there or named in a gap, in order, and none twice.
    let mut seen = 0;
    for round in 0..10 {
        let mut next = 0;
        for (_, message) in kept.iter().filter(|(_, message)| message.job_id() == Some(job(round))) {
            if let Some(part) = lost_lines(message) {
                assert_eq!(part.from, next);
                next = part.to;
                seen += part.to - part.from;
            }
        }
    }
    assert_eq!(seen, lines);
    assert!(kept.iter().any(|(_, message)| matches!(message, AgentMessage::LogGap(_))));
    // A stretch of numbers without a message must never fill the link's window.
    let mut before = 0;
    for (seq, _) in &kept {
        assert!(seq - before < restic_manager_core::link::WINDOW / 2);
        before = *seq;
    }
}

#[test]
fn of_the_log_of_a_job_the_first_and_the_last_lines_give_way_last() {
    let temp = tempfile::tempdir().unwrap();
    let (limit, count) = (4 << 20, 6_000);
    let mut spool = Spool::open(temp.path(), limit, NOW).unwrap();
    let text = "x".repeat(700);
    for round in 0..3 {
        spool.append(&started(round)).unwrap();
        for n in 0..count {
            spool.append(&log(round, n, &text)).unwrap();
        }
        spool.append(&finished(round)).unwrap();
    }
    let kept = all(&mut spool);
    for round in 0..3 {
        let lines = kept.iter().filter_map(|(_, message)| match message {
            AgentMessage::LogStream(batch) if batch.job_id == job(round) => Some(batch.lines[0].n),
            _ => None,
        });
        let lines: Vec<u64> = lines.collect();
        for n in (0..100).chain(count - 99..count) {
            assert!(lines.contains(&n), "line {n} of job {round}");
        }
        assert!(lines.len() < count as usize || round == 2, "those between gave way");
    }
    // Where even these are too much, they go too, and the ends stay.
    let mut spool = Spool::open(temp.path(), 200 << 10, NOW).unwrap();
    spool.append(&started(9)).unwrap();
    assert!(spool.bytes() <= 200 << 10, "{} bytes", spool.bytes());
    let ends =
        all(&mut spool).into_iter().filter(|(_, message)| matches!(message, AgentMessage::JobFinished(_)));
    assert_eq!(ends.count(), 3);
}

fn report(n: u8, snapshots: u64) -> AgentMessage {
    AgentMessage::SnapshotsReport(SnapshotsReport {
        job_id: Some(job(n)),
        repo_id: RepoId::mint(NOW, [n % 2; 10]),
        listed_at: NOW,
        total: snapshots,
        snapshots: (0..snapshots).map(|_| snapshot()).collect(),
    })
}

fn snapshot() -> Snapshot {
    Snapshot {
        id: SnapshotId::new("ab".repeat(32)).unwrap(),
        time: NOW,
        hostname: "host".into(),
        username: None,
        tags: vec!["tag".into()],
        paths: vec!["/home".into()],
        size_bytes: None,
        files: None,
        added_bytes: None,
    }
}

#[test]
fn of_the_lists_of_snapshots_the_newest_stays() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(temp.path(), 2 << 20, NOW).unwrap();
    for n in 0..100 {
        if n == 50 {
            // Where the old ones lie is known after a restart too.
            drop(spool);
            spool = Spool::open(temp.path(), 2 << 20, NOW).unwrap();
        }
        for message in [started(n), report(n, 300), finished(n)] {
            spool.append(&message).unwrap();
        }
        assert!(spool.bytes() <= 2 << 20, "{} bytes", spool.bytes());
    }
    let kept: Vec<AgentMessage> = all(&mut spool).into_iter().map(|(_, message)| message).collect();
    for n in 0..100 {
        assert!(kept.contains(&started(n)) && kept.contains(&finished(n)), "job {n}");
    }
    assert!(
        kept.contains(&report(98, 300)) && kept.contains(&report(99, 300)) && !kept.contains(&report(0, 300))
    );
}

#[test]
fn fires_are_known_until_they_are_acknowledged_through_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    let slots = |spool: &Spool| -> Vec<i64> {
        spool.unacknowledged_fires().map(|(_, slot)| slot.as_millis()).collect()
    };
    let first = spool.append(&fire(5)).unwrap();
    assert_eq!(slots(&spool), [5]);
    let second = spool.append(&fire(9)).unwrap();
    assert_eq!(slots(&spool), [9], "the newest of the schedule");
    spool.forget(first).unwrap();
    drop(spool);
    let mut again = open(temp.path());
    assert_eq!(slots(&again), [9]);
    again.forget(second).unwrap();
    assert!(slots(&again).is_empty());
}

#[test]
fn a_spool_full_of_ends_takes_further_ends_and_turns_lines_into_gaps() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(temp.path(), 4_000, NOW).unwrap();
    for n in 0..30 {
        spool.append(&finished(n)).unwrap();
    }
    spool.append(&log(40, 0, "x")).unwrap();
    spool.append(&finished(40)).unwrap();
    let kept = all(&mut spool);
    assert_eq!(kept.len(), 32);
    assert!(matches!(&kept[30].1, AgentMessage::LogGap(LogGap { from: 0, to: 1, .. })));
}

#[test]
fn a_message_that_fits_in_no_frame_is_refused_and_the_rest_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    let mut huge = finished(1);
    if let AgentMessage::JobFinished(finished) = &mut huge {
        finished.message = "x".repeat(MAX_FRAME_BYTES);
    }
    assert!(matches!(spool.append(&huge), Err(SpoolError::TooLong { .. })));
    spool.append(&finished(1)).unwrap();
    assert_eq!(all(&mut spool).len(), 1);
}

#[test]
fn what_is_kept_fits_in_a_frame_with_the_number_before_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    let of_length = |length: usize| {
        let AgentMessage::JobFinished(mut end) = finished(1) else { unreachable!() };
        end.message = String::new();
        let bare = Frame::reliable(1, AgentMessage::JobFinished(end.clone())).to_text().len();
        end.message = "x".repeat(length - bare);
        AgentMessage::JobFinished(end)
    };
    assert!(matches!(spool.append(&of_length(MAX_FRAME_BYTES)), Err(SpoolError::TooLong { .. })));
    assert!(matches!(spool.append(&of_length(LARGEST_BYTES + 1)), Err(SpoolError::TooLong { .. })));
    let seq = spool.append(&of_length(LARGEST_BYTES)).unwrap();
    let sent = following(spool.read(seq).unwrap().unwrap(), Some(u64::MAX));
    assert_eq!(sent.len(), MAX_FRAME_BYTES);
    assert!(decode_agent(&sent).is_ok());
}

#[test]
fn lines_that_cannot_be_written_become_a_gap_as_soon_as_they_can() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    spool.append(&started(1)).unwrap();
    // A file opened for reading refuses every write, as a broken disk does.
    let broken = File::open(&spool.segments[0].path).unwrap();
    let good = std::mem::replace(&mut spool.active, broken);
    spool.append(&log(1, 0, "a")).unwrap();
    spool.append(&log(1, 1, "b")).unwrap();
    assert!(spool.append(&fire(7)).is_err(), "what must not be lost is an error");
    spool.active = good;
    spool.append(&log(1, 2, "c")).unwrap();
    let gap = AgentMessage::LogGap(LogGap { job_id: job(1), from: 0, to: 2 });
    let said: Vec<AgentMessage> = all(&mut spool).into_iter().map(|(_, message)| message).collect();
    assert_eq!(said, [started(1), gap, log(1, 2, "c")]);
}

#[test]
fn damage_in_the_middle_is_set_aside_and_its_neighbours_stay() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    for message in [started(1), log(1, 0, "unmistakable"), finished(1)] {
        spool.append(&message).unwrap();
    }
    let path = spool.segments[0].path.clone();
    drop(spool);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("unmistakable", "unmistakeable")).unwrap();
    let mut again = open(temp.path());
    assert_eq!(all(&mut again), [(1, started(1)), (3, finished(1))]);
    let aside = std::fs::read_to_string(path.with_extension("damaged")).unwrap();
    assert!(aside.contains("unmistakeable") && aside.lines().count() == 1);
}

#[derive(Debug, Clone)]
enum Step {
    Append(AgentMessage),
    Sync,
    Forget(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3_u8, 0..100_u64).prop_map(|(n, from)| Step::Append(log(n, from, "text"))),
        2 => (0..3_u8).prop_map(|n| Step::Append(started(n))),
        2 => (0..3_u8).prop_map(|n| Step::Append(finished(n))),
        1 => Just(Step::Sync),
        1 => (0..40_u64).prop_map(Step::Forget),
    ];
    proptest::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A crash takes any part of what was not synced, torn lines included; what was synced is there, in order, and a
    /// number that was ever given out never names another message.
    #[test]
    fn a_crash_at_any_byte_loses_only_what_was_not_synced(steps in steps(), cuts in proptest::collection::vec(any::<u16>(), 8)) {
        let temp = tempfile::tempdir().unwrap();
        let mut spool = open(temp.path());
        let mut written: Vec<(u64, AgentMessage)> = Vec::new();
        let mut forgotten = 0;
        let (mut safe, mut safe_bytes) = (0, 0);
        for step in steps {
            match step {
                Step::Append(message) => {
                    let seq = spool.append(&message).unwrap();
                    written.push((seq, message));
                }
                Step::Sync => spool.sync().unwrap(),
                Step::Forget(seq) => {
                    spool.forget(seq).unwrap();
                    forgotten = spool.forgotten();
                }
            }
            if !spool.is_dirty() {
                (safe, safe_bytes) = (spool.last_seq(), spool.bytes());
            }
        }
        let (path, id, next) = (spool.segments[0].path.clone(), spool.id(), spool.next_seq());
        drop(spool);
        let whole = std::fs::read(&path).unwrap();
        for cut in cuts {
            let length = safe_bytes + u64::from(cut) % (whole.len() as u64 - safe_bytes + 1);
            let copy = tempfile::tempdir().unwrap();
            std::fs::copy(temp.path().join("spool.json"), copy.path().join("spool.json")).unwrap();
            std::fs::write(copy.path().join(path.file_name().unwrap()), &whole[..length as usize]).unwrap();
            let mut again = open(copy.path());
            prop_assert_eq!(again.id(), id);
            prop_assert!(again.last_seq() >= safe);
            prop_assert!(again.next_seq() >= next, "number {} could come twice", again.next_seq());
            let found = all(&mut again);
            let kept: Vec<_> = written.iter().filter(|(seq, _)| *seq <= again.last_seq()).cloned().collect();
            prop_assert_eq!(&found, &kept);
            let seq = again.append(&fire(1)).unwrap();
            prop_assert_eq!(message(&mut again, seq), Some(fire(1)));
            prop_assert!(forgotten <= again.last_seq());
        }
    }
}

#[test]
fn it_says_beforehand_when_messages_will_leave_the_disk() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    let text = "x".repeat(90_000);
    for n in 0..40 {
        spool.append(&log(1, n, &text)).unwrap();
        let (seq, before) = (spool.last_seq() / 2, spool.bytes());
        let told = spool.would_delete(seq);
        spool.forget(seq).unwrap();
        assert_eq!(told, spool.bytes() < before, "at {n}");
    }
    let last = spool.last_seq();
    assert!(spool.would_delete(last));
    spool.forget(last).unwrap();
    assert!(!spool.would_delete(last));
}

#[test]
fn the_lines_of_a_job_are_counted_through_a_restart_until_its_end() {
    let temp = tempfile::tempdir().unwrap();
    let mut spool = open(temp.path());
    assert_eq!(spool.lines_of(job(1)), None);
    for message in [started(1), log(1, 0, "a"), log(1, 1, "b"), log(2, 7, "c")] {
        spool.append(&message).unwrap();
    }
    spool.sync().unwrap();
    drop(spool);
    let mut again = open(temp.path());
    assert_eq!((again.lines_of(job(1)), again.lines_of(job(2))), (Some(2), Some(8)));
    again.append(&finished(1)).unwrap();
    assert_eq!((again.lines_of(job(1)), again.lines_of(job(2))), (None, Some(8)));
}
