//! The logs of jobs.

use std::sync::Arc;

use restic_manager_core::id::JobId;
use restic_manager_core::model::{FinalState, JobEvent, JobKind, LogLine, LogStream};

use super::fixture::{Agent, at, dispatched, finished, line, mint, tied};
use crate::{Applied, Effect, LOG_CAP_BYTES, LogSlice, Store};

/// A host with a job that runs, and its agent.
async fn running(store: &Arc<dyn Store>, name: &str) -> (JobId, Agent) {
    let (host, repo) = tied(store, name).await;
    let id = dispatched(store, JobKind::Check, &host, &repo).await;
    let mut agent = Agent::of(store, &host);
    agent.starts(id).await;
    (id, agent)
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<LogLine> {
    numbers.map(|n| line(n, &format!("line {n}"))).collect()
}

async fn says(agent: &mut Agent, job_id: JobId, lines: Vec<LogLine>) {
    assert_eq!(agent.says(Effect::Log { job_id, lines }).await, Applied::Done);
}

/// All lines, read slice by slice.
async fn read(store: &Arc<dyn Store>, id: JobId, max_lines: u32) -> Vec<LogLine> {
    let mut read: Vec<LogLine> = Vec::new();
    loop {
        let from = read.last().map_or(0, |line| line.n + 1);
        let slice = store.log(id, from, max_lines).await.unwrap();
        assert!(!slice.more || !slice.lines.is_empty(), "where there is more, there is a line");
        assert!(slice.lines.iter().all(|line| line.n >= from), "a slice begins where it was asked to");
        read.extend(slice.lines);
        if !slice.more {
            return read;
        }
    }
}

/// Lines come back as they were said, in order.
pub async fn lines_come_back_as_they_were_said(store: &Arc<dyn Store>) {
    let (id, mut agent) = running(store, "web").await;
    let said = vec![
        LogLine { n: 0, at: at(30), stream: LogStream::Stdout, text: String::new() },
        LogLine {
            n: 1,
            at: at(29),
            stream: LogStream::Stderr,
            text: "\u{fffd} \" \\ \t 🦀 \u{0}".to_owned(),
        },
        LogLine { n: 2, at: at(31), stream: LogStream::Agent, text: "x".repeat(100_000) },
    ];
    says(&mut agent, id, said[..1].to_vec()).await;
    says(&mut agent, id, said[1..].to_vec()).await;
    says(&mut agent, id, Vec::new()).await;
    assert_eq!(read(store, id, 1_000).await, said);
    assert_eq!(store.log(mint(JobId::mint), 0, 10).await.unwrap(), LogSlice::default());
}

/// A log is read from any number on, in slices that say whether more follows.
pub async fn a_log_is_read_from_any_number_on(store: &Arc<dyn Store>) {
    let (id, mut agent) = running(store, "web").await;
    for numbers in [0..7, 7..100, 100..250] {
        says(&mut agent, id, lines(numbers)).await;
    }
    for max_lines in [0, 1, 10, 1_000] {
        assert_eq!(read(store, id, max_lines).await, lines(0..250), "{max_lines}");
    }
    let slice = store.log(id, 101, 1_000).await.unwrap();
    assert_eq!(slice, LogSlice { lines: lines(101..250), more: false });
    assert_eq!(store.log(id, 250, 10).await.unwrap(), LogSlice::default());
}

/// Lines that are known of are repeats, also within a message that brings new ones.
pub async fn known_lines_are_repeats(store: &Arc<dyn Store>) {
    let (id, mut agent) = running(store, "web").await;
    says(&mut agent, id, lines(0..3)).await;
    let other_words = (0..5).map(|n| line(n, &format!("again {n}"))).collect();
    says(&mut agent, id, other_words).await;
    let mut expected = lines(0..3);
    expected.extend([line(3, "again 3"), line(4, "again 4")]);
    assert_eq!(read(store, id, 100).await, expected);
    let descending = vec![line(6, "six"), line(5, "too late")];
    says(&mut agent, id, descending).await;
    expected.push(line(6, "six"));
    assert_eq!(read(store, id, 100).await, expected);
}

/// Lines that the agent gave up are left out, and the log goes on behind them.
pub async fn a_log_goes_on_behind_a_gap(store: &Arc<dyn Store>) {
    let (id, mut agent) = running(store, "web").await;
    says(&mut agent, id, lines(0..3)).await;
    assert_eq!(agent.says(Effect::LogGap { job_id: id, from: 3, to: 10 }).await, Applied::Done);
    says(&mut agent, id, lines(8..12)).await;
    assert_eq!(agent.says(Effect::LogGap { job_id: id, from: 0, to: 2 }).await, Applied::Done);
    says(&mut agent, id, lines(9..13)).await;
    let expected = [lines(0..3), lines(10..13)].concat();
    assert_eq!(read(store, id, 2).await, expected);
    assert_eq!(store.log(id, 5, 100).await.unwrap().lines, lines(10..13));
}

/// A gap may come before any line.
pub async fn a_log_may_begin_with_a_gap(store: &Arc<dyn Store>) {
    let (id, mut agent) = running(store, "web").await;
    assert_eq!(agent.says(Effect::LogGap { job_id: id, from: 0, to: 4 }).await, Applied::Done);
    assert_eq!(store.log(id, 0, 10).await.unwrap(), LogSlice::default());
    says(&mut agent, id, lines(3..6)).await;
    assert_eq!(read(store, id, 10).await, lines(4..6));
}

/// Lines that come after the end of their job are kept.
pub async fn late_lines_are_kept(store: &Arc<dyn Store>) {
    let (id, mut agent) = running(store, "web").await;
    agent.finishes(id, FinalState::Failed).await;
    says(&mut agent, id, lines(0..2)).await;
    assert_eq!(read(store, id, 10).await, lines(0..2));
}

/// Logs of two jobs do not mix.
pub async fn every_job_has_its_own_log(store: &Arc<dyn Store>) {
    let (one, mut web) = running(store, "web").await;
    let (two, mut db) = running(store, "db").await;
    says(&mut web, one, lines(0..2)).await;
    says(&mut db, two, lines(0..5)).await;
    assert_eq!(read(store, one, 10).await, lines(0..2));
    assert_eq!(read(store, two, 10).await, lines(0..5));
}

/// A log that does not fit keeps its head and its tail; one that does is kept whole.
pub async fn a_log_keeps_its_head_and_its_tail(store: &Arc<dyn Store>) {
    const LINE_BYTES: usize = 256 * 1024;
    let (id, mut agent) = running(store, "web").await;
    let fitting = (LOG_CAP_BYTES / LINE_BYTES * 3 / 4) as u64;
    let all = (LOG_CAP_BYTES / LINE_BYTES * 5 / 2) as u64;
    let big = |n: u64| line(n, &format!("{n:010}").repeat(LINE_BYTES / 10));
    for n in 0..fitting {
        says(&mut agent, id, vec![big(n)]).await;
    }
    let kept: Vec<u64> = read(store, id, 20).await.iter().map(|line| line.n).collect();
    assert_eq!(kept, (0..fitting).collect::<Vec<_>>());
    for n in (fitting..all).step_by(4) {
        says(&mut agent, id, (n..all.min(n + 4)).map(big).collect()).await;
    }
    let lines = read(store, id, 20).await;
    let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
    assert!(bytes <= LOG_CAP_BYTES, "{bytes}");
    assert!(bytes >= LOG_CAP_BYTES / 2, "{bytes}: a cap is no reason to throw half of it away");
    let numbers: Vec<u64> = lines.iter().map(|line| line.n).collect();
    let holes: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!((numbers[0], numbers[numbers.len() - 1]), (0, all - 1));
    assert_eq!(holes.len(), 1, "one middle is given up: {holes:?}");
    let quarter = fitting / 3;
    assert!(
        holes[0][0] >= quarter && all - holes[0][1] >= quarter,
        "head and tail are both worth the name: {holes:?}"
    );
    assert!(lines.iter().all(|line| *line == big(line.n)));
    says(&mut agent, id, vec![big(all / 2)]).await;
    assert_eq!(read(store, id, 20).await.len(), lines.len(), "what was given up is still known of");
}

/// Logs of jobs whose end the server learned before an instant are forgotten; the jobs stay.
pub async fn old_logs_are_forgotten(store: &Arc<dyn Store>) {
    let (ended, mut web) = running(store, "web").await;
    let (goes_on, mut db) = running(store, "db").await;
    let (silent, mut mail) = running(store, "mail").await;
    says(&mut web, ended, lines(0..3)).await;
    says(&mut db, goes_on, lines(0..3)).await;
    web.finishes(ended, FinalState::Succeeded).await;
    mail.finishes(silent, FinalState::Succeeded).await;
    assert_eq!(store.forget_logs(at(60)).await.unwrap(), 0, "it was told at that instant, not before");
    assert_eq!(read(store, ended, 10).await.len(), 3);
    assert_eq!(store.forget_logs(at(61)).await.unwrap(), 1, "one job had lines to lose");
    assert_eq!(store.log(ended, 0, 10).await.unwrap(), LogSlice::default());
    assert_eq!(read(store, goes_on, 10).await.len(), 3);
    assert!(store.job(ended).await.unwrap().is_some());
    assert_eq!(store.forget_logs(at(61)).await.unwrap(), 0);
}

/// A log ages by the server's clock, however wrong the agent's is, and also where the server ended the job.
pub async fn a_log_ages_by_the_servers_clock(store: &Arc<dyn Store>) {
    let mut ids = Vec::new();
    for (name, clock) in [("slow", at(-1_000_000_000)), ("fast", at(1_000_000_000))] {
        let (id, mut agent) = running(store, name).await;
        says(&mut agent, id, lines(0..3)).await;
        let mut end = finished(id, FinalState::Failed);
        if let Effect::Finished { at, .. } = &mut end {
            *at = clock;
        }
        assert_eq!(agent.says(end).await, Applied::Done);
        ids.push(id);
    }
    let (lost, mut agent) = running(store, "lost").await;
    says(&mut agent, lost, lines(0..3)).await;
    store.move_job(lost, JobEvent::Lose, "nobody knows", at(60), None).await.unwrap();
    ids.push(lost);
    assert_eq!(store.forget_logs(at(60)).await.unwrap(), 0);
    for id in &ids {
        assert_eq!(read(store, *id, 10).await.len(), 3);
    }
    assert_eq!(store.forget_logs(at(61)).await.unwrap(), 3);
}
