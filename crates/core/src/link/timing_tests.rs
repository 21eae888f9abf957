//! When each end does what, to the millisecond, and what it does with what it hears.

use super::*;
use crate::id::JobId;
use crate::link::pair_tests::{hello, message, welcome};
use crate::restic::Progress;
use crate::time::Timestamp;
use crate::wire::{
    Ack, AgentMessage, CommandCancel, Decoded, Frame, FrameError, Heartbeat, JobProgress, ServerMessage,
    Welcome,
};

/// Long after the beginning of time, so that a sum and a difference are not the same.
const T: i64 = 5_000_000;

fn greeting() -> AgentLink {
    let mut link = AgentLink::new(0, 0, T);
    assert_eq!(link.poll(), Some(AgentAction::Connect));
    link.connected(T);
    assert_eq!(link.poll(), Some(AgentAction::SendHello));
    link
}

fn live_with(welcome: Welcome) -> AgentLink {
    let mut link = greeting();
    link.received(ServerMessage::Welcome(welcome), T);
    assert!(matches!(link.poll(), Some(AgentAction::Deliver(ServerMessage::Welcome(_)))));
    link
}

fn live() -> AgentLink {
    live_with(welcome(7, 0))
}

/// Lets time pass as a shell does, until the link closes; answers when that was, and how many heartbeats were sent.
fn closes_at(link: &mut AgentLink) -> (i64, u32) {
    let mut beats = 0;
    loop {
        let at = link.timeout().expect("a session always waits for something");
        link.handle_timeout(at - 1);
        assert_eq!(link.poll(), None, "nothing is done a millisecond early");
        link.handle_timeout(at);
        match link.poll() {
            Some(AgentAction::SendHeartbeat) => beats += 1,
            Some(AgentAction::Close) => return (at, beats),
            other => panic!("{other:?}"),
        }
    }
}

fn cancel() -> ServerMessage {
    ServerMessage::CommandCancel(CommandCancel { job_id: JobId::mint(Timestamp::default(), [0; 10]) })
}

#[test]
fn an_agent_connects_when_its_pause_is_over_and_not_before() {
    let mut link = AgentLink::new(0, 0, T);
    assert_eq!(link.poll(), Some(AgentAction::Connect));
    link.disconnected(DownCause::Network, 1_000, T);
    assert_eq!((link.timeout(), link.state()), (Some(T + 1_000), LinkState::Waiting { until: T + 1_000 }));
    link.handle_timeout(T + 999);
    assert_eq!(link.poll(), None);
    link.handle_timeout(T + 1_000);
    assert_eq!(link.poll(), Some(AgentAction::Connect));
    assert_eq!(link.timeout(), None, "the shell says what becomes of a connection");
}

#[test]
fn a_welcome_that_does_not_come_is_waited_for_ten_seconds() {
    let mut link = greeting();
    assert_eq!((link.timeout(), link.epoch()), (Some(T + HELLO_TIMEOUT), None));
    link.handle_timeout(T + HELLO_TIMEOUT - 1);
    assert_eq!(link.poll(), None);
    link.handle_timeout(T + HELLO_TIMEOUT);
    assert_eq!(link.poll(), Some(AgentAction::Close));
    link.handle_timeout(T + 2 * HELLO_TIMEOUT);
    assert_eq!(link.poll(), None, "it asks once to be closed");
}

#[test]
fn a_session_beats_as_often_as_the_server_said_within_reason() {
    let mut link = live();
    assert_eq!((link.epoch(), link.timeout()), (Some(7), Some(T + HEARTBEAT_EVERY)));
    assert_eq!(closes_at(&mut link), (T + SILENCE_TIMEOUT, 2));
    for (wanted, kept) in [(0, 1_000), (i64::MIN, 1_000), (12_345, 12_345), (i64::MAX, SILENCE_TIMEOUT / 2)] {
        let mut link = live_with(Welcome { heartbeat_every: wanted, ..welcome(7, 0) });
        assert_eq!(link.timeout(), Some(T + kept));
        link.handle_timeout(T + kept);
        assert_eq!(link.poll(), Some(AgentAction::SendHeartbeat));
        assert_eq!(link.timeout(), Some((T + 2 * kept).min(T + SILENCE_TIMEOUT)));
    }
}

#[test]
fn whatever_the_server_says_is_a_sign_of_life() {
    let heard = T + 20_000;
    let mut link = live();
    link.received(ServerMessage::Ack(Ack { seq: 0, rejected: Vec::new() }), heard);
    assert_eq!(link.poll(), None, "an acknowledgement of nothing is nobody else's business");
    assert_eq!(closes_at(&mut link).0, heard + SILENCE_TIMEOUT);
    let mut link = live();
    link.received(cancel(), heard);
    assert_eq!(link.poll(), Some(AgentAction::Deliver(cancel())));
    assert_eq!(closes_at(&mut link).0, heard + SILENCE_TIMEOUT);
}

/// The numbers that are sent, until there is nothing more to do.
fn sent(link: &mut AgentLink) -> Vec<u64> {
    let mut sent = Vec::new();
    while let Some(action) = link.poll() {
        if let AgentAction::SendSpooled(seq) = action {
            sent.push(seq);
        }
    }
    sent
}

#[test]
fn a_session_that_ends_sends_nothing_more() {
    let mut link = live();
    link.spooled(2);
    link.handle_timeout(T + SILENCE_TIMEOUT);
    assert_eq!((link.poll(), link.poll()), (Some(AgentAction::Close), None));
}

#[test]
fn only_a_number_that_is_under_way_makes_room_in_the_window() {
    let mut link = live();
    link.spooled(3 * WINDOW);
    assert_eq!(sent(&mut link), (1..=WINDOW).collect::<Vec<u64>>());
    link.passed_over(0);
    link.passed_over(WINDOW + 1);
    assert!(sent(&mut link).is_empty(), "acknowledged before, or not sent");
    link.passed_over(5);
    assert_eq!(sent(&mut link), [WINDOW + 1]);
    link.received(ServerMessage::Ack(Ack { seq: 5, rejected: Vec::new() }), T);
    assert_eq!(sent(&mut link), (WINDOW + 2..=WINDOW + 5).collect::<Vec<u64>>());
}

#[test]
fn what_was_rejected_is_told_to_whoever_keeps_the_spool() {
    let mut link = live();
    link.spooled(2);
    assert_eq!(
        (link.poll(), link.poll()),
        (Some(AgentAction::SendSpooled(1)), Some(AgentAction::SendSpooled(2)))
    );
    let ack = ServerMessage::Ack(Ack { seq: 2, rejected: vec![(1, "no".to_owned())] });
    link.received(ack.clone(), T);
    assert_eq!((link.poll(), link.poll()), (Some(AgentAction::Forget(2)), Some(AgentAction::Deliver(ack))));
}

#[test]
fn the_pauses_begin_anew_after_a_session_that_lasted_by_its_own_beginning() {
    for (lasted, pause) in [(STEADY_AFTER, 1_000), (STEADY_AFTER - 1, 4_000)] {
        let mut link = AgentLink::new(0, 0, T);
        for _ in 0..2 {
            link.disconnected(DownCause::Network, 1_000, T);
            link.retry_now(T);
        }
        link.connected(T);
        link.received(ServerMessage::Welcome(welcome(1, 0)), T);
        link.disconnected(DownCause::Network, 1_000, T + lasted);
        assert_eq!(link.timeout(), Some(T + lasted + pause));
    }
}

#[test]
fn a_refused_agent_comes_back_within_the_hour_and_a_tenth() {
    for (jitter, wait) in
        [(0, REFUSED_RETRY), (500, REFUSED_RETRY / 20 * 21), (5_000, REFUSED_RETRY / 10 * 11)]
    {
        let mut link = AgentLink::new(0, 0, T);
        link.disconnected(DownCause::Refused, jitter, T);
        assert_eq!(link.timeout(), Some(T + wait), "{jitter}");
    }
}

#[test]
fn an_end_that_is_no_session_asks_nobody_to_forget_what_was_acknowledged() {
    let mut link = AgentLink::new(3, 10, T);
    link.connected(T);
    link.received(ServerMessage::Ack(Ack { seq: 9, rejected: Vec::new() }), T);
    assert_eq!((link.poll(), link.poll()), (Some(AgentAction::Connect), Some(AgentAction::SendHello)));
    assert_eq!(link.poll(), None, "before welcome an acknowledgement is of an old connection");
    link.received(ServerMessage::Welcome(welcome(1, 5)), T);
    link.poll();
    assert_eq!((link.poll(), link.poll()), (Some(AgentAction::Forget(5)), Some(AgentAction::SendSpooled(6))));
}

fn taken(committed: u64) -> ServerLink {
    let mut link = ServerLink::new(T);
    link.received(Ok(Decoded::Message(Frame::lossy(AgentMessage::Hello(Box::new(hello(1, 9)))))), T);
    assert!(matches!(link.poll(), Some(ServerAction::Take(_))));
    assert_eq!(link.timeout(), None, "taking a session takes as long as it takes");
    link.taken(committed, T);
    link
}

fn beat() -> Frame<AgentMessage> {
    Frame::lossy(AgentMessage::Heartbeat(Heartbeat { clock: Timestamp::default() }))
}

#[test]
fn a_server_waits_for_hello_and_then_for_any_sign_of_life() {
    let mut link = ServerLink::new(T);
    assert_eq!(link.timeout(), Some(T + HELLO_TIMEOUT));
    link.handle_timeout(T + HELLO_TIMEOUT);
    assert_eq!((link.poll(), link.timeout()), (Some(ServerAction::Close(CloseReason::NoHello)), None));
    let mut link = taken(0);
    assert_eq!(link.timeout(), Some(T + SILENCE_TIMEOUT));
    let heard = T + 20_000;
    link.received(Ok(Decoded::Unknown { kind: "x".to_owned(), seq: None, after: None }), heard);
    assert_eq!((link.poll(), link.timeout()), (None, Some(heard + SILENCE_TIMEOUT)));
    link.handle_timeout(heard + SILENCE_TIMEOUT - 1);
    assert_eq!(link.poll(), None);
    link.handle_timeout(heard + SILENCE_TIMEOUT);
    assert_eq!(link.poll(), Some(ServerAction::Close(CloseReason::Silent)));
    link.received(Ok(Decoded::Message(beat())), heard);
    assert_eq!((link.poll(), link.timeout()), (None, None), "a closed connection is deaf");
}

#[test]
fn a_heartbeat_is_shown_and_answered_with_how_far_things_are_committed() {
    let mut link = taken(4);
    link.received(Ok(Decoded::Message(beat())), T);
    assert_eq!(link.poll(), Some(ServerAction::Show(beat().message)));
    assert_eq!((link.poll(), link.poll()), (Some(ServerAction::Ack(4)), None));
    link.received(Ok(Decoded::Message(Frame::lossy(message(1)))), T);
    assert_eq!((link.poll(), link.poll()), (Some(ServerAction::Show(message(1))), None));
}

#[test]
fn a_lossy_message_is_shown_though_somebody_gave_it_a_number() {
    let mut link = taken(0);
    let progress = AgentMessage::JobProgress(JobProgress {
        job_id: JobId::mint(Timestamp::default(), [0; 10]),
        progress: Progress::default(),
    });
    assert!(!progress.is_reliable());
    link.received(Ok(Decoded::Message(Frame::reliable(1, progress.clone()))), T);
    assert_eq!((link.poll(), link.poll()), (Some(ServerAction::Show(progress)), None));
}

#[test]
fn a_number_is_handed_out_once_and_acknowledged_as_often_as_it_comes() {
    let mut link = taken(4);
    let send = |link: &mut ServerLink, seq| {
        link.received(Ok(Decoded::Message(Frame::reliable(seq, message(seq)))), T);
        link.poll()
    };
    assert_eq!(send(&mut link, 4), Some(ServerAction::Ack(4)), "committed before this session");
    assert_eq!(send(&mut link, 5), Some(ServerAction::Apply { seq: 5, message: message(5) }));
    assert_eq!(send(&mut link, 5), None, "under way: its commit is what will be acknowledged");
    link.committed(5);
    assert_eq!(link.poll(), Some(ServerAction::Ack(5)));
    link.committed(5);
    assert_eq!(link.poll(), None, "said once");
    assert_eq!(send(&mut link, 3), Some(ServerAction::Ack(5)));
}

#[test]
fn what_is_not_understood_is_set_aside_by_name_when_it_has_a_number() {
    let mut link = taken(0);
    link.received(Ok(Decoded::Unknown { kind: "moon".to_owned(), seq: Some(1), after: None }), T);
    let why = "unknown type `moon`".to_owned();
    assert_eq!(link.poll(), Some(ServerAction::SetAside { seq: 1, why }));
    let wrong = |seq| FrameError::Payload { kind: "sun".to_owned(), seq, after: None, why: "no".to_owned() };
    link.received(Err(wrong(Some(2))), T);
    assert_eq!(link.poll(), Some(ServerAction::SetAside { seq: 2, why: "`sun`: no".to_owned() }));
    link.received(Err(wrong(None)), T);
    assert_eq!(link.poll(), Some(ServerAction::Close(CloseReason::BadFrame(wrong(None)))));
}

#[test]
fn what_comes_before_the_session_is_taken_is_left_for_later() {
    let mut link = ServerLink::new(T);
    link.received(Ok(Decoded::Unknown { kind: "moon".to_owned(), seq: Some(1), after: None }), T + 1);
    assert_eq!(
        (link.poll(), link.timeout()),
        (None, Some(T + HELLO_TIMEOUT)),
        "no sign of life before hello"
    );
    link.taken(9, T);
    assert_eq!(link.timeout(), Some(T + HELLO_TIMEOUT), "nothing was there to take");
    link.received(Ok(Decoded::Message(Frame::lossy(AgentMessage::Hello(Box::new(hello(1, 9)))))), T);
    assert!(matches!(link.poll(), Some(ServerAction::Take(_))));
    link.received(Ok(Decoded::Message(Frame::reliable(1, message(1)))), T);
    link.committed(1);
    assert_eq!(link.poll(), None);
    let other =
        FrameError::Payload { kind: "sun".to_owned(), seq: Some(1), after: None, why: "no".to_owned() };
    link.received(Err(other.clone()), T);
    assert_eq!(link.poll(), Some(ServerAction::Close(CloseReason::BadFrame(other))));
}
