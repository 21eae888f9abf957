//! Announced agents.

use std::sync::Arc;

use restic_manager_core::announce::{Challenge, HexBytes, PendingState};
use restic_manager_core::id::{HostId, PendingHostId};
use restic_manager_core::model::HostFacts;
use restic_manager_core::time::{DAY, HOUR, Timestamp};

use super::fixture::{actions, at, at_once, audit, enrolled, hash, host, mint};
use crate::{
    AnnounceOutcome, ApproveOutcome, ClaimOutcome, Deleted, PendingHostRow, RejectOutcome, Store, TokenHash,
};

const AT_MOST: u32 = 3;

/// Bytes that no others equal.
fn bytes() -> HexBytes<32> {
    HexBytes(hash().0)
}

fn pending(os_hostname: &str) -> PendingHostRow {
    PendingHostRow {
        id: mint(PendingHostId::mint),
        key: bytes(),
        challenge: bytes(),
        facts: HostFacts { os_hostname: Some(os_hostname.to_owned()), ..HostFacts::default() },
        address: "192.0.2.7".to_owned(),
        announced_at: at(0),
        expires_at: at(0) + HOUR,
        state: PendingState::Waiting,
        host_id: None,
    }
}

async fn announce(store: &Arc<dyn Store>, row: &PendingHostRow) -> AnnounceOutcome {
    store.announce(row.clone(), AT_MOST, audit("host.announced")).await.unwrap()
}

/// An agent that announced itself, and the host it became at second 10.
async fn approved(store: &Arc<dyn Store>, name: &str) -> (PendingHostRow, HostId) {
    let row = pending(name);
    assert_eq!(announce(store, &row).await, AnnounceOutcome::New);
    let host = host(name);
    assert_eq!(approve(store, &row, &host, at(10)).await, ApproveOutcome::Approved);
    (row, host.id)
}

async fn approve(
    store: &Arc<dyn Store>,
    row: &PendingHostRow,
    host: &restic_manager_core::model::Host,
    now: Timestamp,
) -> ApproveOutcome {
    let audit = audit("host.approved");
    store.approve_pending(row.id, host.clone(), hash(), now, now + DAY, audit).await.unwrap()
}

async fn claim(
    store: &Arc<dyn Store>,
    row: &PendingHostRow,
    challenge: &Challenge,
    token: TokenHash,
    now: Timestamp,
) -> ClaimOutcome {
    store.claim_pending(&row.key, challenge, bytes(), token, now, audit("host.enrolled")).await.unwrap()
}

/// An announcement comes back as it was made, by id and by key, until its time is over.
pub async fn an_announcement_is_read_until_its_time_is_over(store: &Arc<dyn Store>) {
    let row = pending("web");
    assert_eq!(announce(store, &row).await, AnnounceOutcome::New);
    let just_before = row.expires_at - 1;
    assert_eq!(store.pending_host(row.id, just_before).await.unwrap(), Some(row.clone()));
    assert_eq!(store.pending_host_by_key(&row.key, just_before).await.unwrap(), Some(row.clone()));
    assert_eq!(store.pending_hosts(just_before).await.unwrap(), std::slice::from_ref(&row));
    assert_eq!(store.pending_host(row.id, row.expires_at).await.unwrap(), None);
    assert_eq!(store.pending_host_by_key(&row.key, row.expires_at).await.unwrap(), None);
    assert!(store.pending_hosts(row.expires_at).await.unwrap().is_empty());
    assert_eq!(store.pending_host_by_key(&bytes(), at(1)).await.unwrap(), None);
    assert_eq!(actions(store).await, ["host.announced"]);
}

/// A key that is announced again keeps what it is and takes what it says.
pub async fn a_key_that_is_announced_again_keeps_its_place(store: &Arc<dyn Store>) {
    let first = pending("web");
    announce(store, &first).await;
    let again = PendingHostRow {
        key: first.key,
        announced_at: at(60),
        expires_at: at(60) + HOUR,
        address: "192.0.2.8".to_owned(),
        ..pending("renamed")
    };
    let expected = PendingHostRow {
        facts: again.facts.clone(),
        address: again.address.clone(),
        expires_at: again.expires_at,
        ..first.clone()
    };
    assert_eq!(announce(store, &again).await, AnnounceOutcome::Known(Box::new(expected.clone())));
    assert_eq!(store.pending_hosts(at(60)).await.unwrap(), [expected]);
    assert_eq!(actions(store).await, ["host.announced"]);
}

/// What was decided stands, however often the key is announced.
pub async fn a_decision_stands_when_the_key_is_announced_again(store: &Arc<dyn Store>) {
    let (first, host_id) = approved(store, "web").await;
    let again = PendingHostRow { key: first.key, announced_at: at(20), ..pending("renamed") };
    let expected = PendingHostRow {
        state: PendingState::Approved,
        host_id: Some(host_id),
        expires_at: at(10) + DAY,
        ..first.clone()
    };
    assert_eq!(announce(store, &again).await, AnnounceOutcome::Known(Box::new(expected)));
    let sent_away = pending("db");
    announce(store, &sent_away).await;
    store.reject_pending(sent_away.id, at(5), audit("host.rejected")).await.unwrap();
    let expected = PendingHostRow { state: PendingState::Rejected, ..sent_away.clone() };
    assert_eq!(announce(store, &sent_away).await, AnnounceOutcome::Known(Box::new(expected)));
    assert!(store.pending_hosts(at(20)).await.unwrap().is_empty(), "only those that wait are listed");
}

/// So many may wait, and no more; what is over or decided makes room.
pub async fn only_so_many_may_wait(store: &Arc<dyn Store>) {
    let rows: Vec<PendingHostRow> = (0..AT_MOST).map(|n| pending(&format!("web{n}"))).collect();
    for row in &rows {
        assert_eq!(announce(store, row).await, AnnounceOutcome::New);
    }
    let late = pending("late");
    assert_eq!(announce(store, &late).await, AnnounceOutcome::Full);
    assert_eq!(store.pending_host(late.id, at(1)).await.unwrap(), None);
    assert!(
        matches!(announce(store, &rows[0]).await, AnnounceOutcome::Known(_)),
        "who waits may say so again"
    );
    store.reject_pending(rows[0].id, at(1), audit("host.rejected")).await.unwrap();
    assert_eq!(announce(store, &late).await, AnnounceOutcome::New);
    let later =
        PendingHostRow { announced_at: at(0) + HOUR, expires_at: at(0) + 2 * HOUR, ..pending("next") };
    assert_eq!(announce(store, &later).await, AnnounceOutcome::New, "the others' hour is over");
    assert_eq!(store.pending_hosts(at(0) + HOUR).await.unwrap(), [later]);
}

/// The limit holds however many come at once, and a key is announced once.
pub async fn the_limit_holds_however_many_come(store: &Arc<dyn Store>) {
    let try_one =
        |store: Arc<dyn Store>, n: usize| async move { announce(&store, &pending(&format!("web{n}"))).await };
    let outcomes = at_once(8, try_one, store).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == AnnounceOutcome::New).count(), AT_MOST as usize);
    assert_eq!(store.pending_hosts(at(1)).await.unwrap().len(), AT_MOST as usize);
}

/// An approval makes one host, however many press.
pub async fn an_approval_makes_one_host_however_many_press(store: &Arc<dyn Store>) {
    let row = pending("web");
    announce(store, &row).await;
    let subject = row.clone();
    let try_one = |store: Arc<dyn Store>, n: usize| {
        let row = subject.clone();
        async move {
            let host = host(&format!("web {n}"));
            (host.clone(), approve(&store, &row, &host, at(1)).await)
        }
    };
    let outcomes = at_once(8, try_one, store).await;
    let made: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome == ApproveOutcome::Approved).collect();
    assert_eq!(made.len(), 1);
    for (host, outcome) in &outcomes {
        if *outcome != ApproveOutcome::Approved {
            assert_eq!(*outcome, ApproveOutcome::Decided(PendingState::Approved));
        }
        let found = store.host(host.id).await.unwrap();
        assert_eq!(found.is_some(), *outcome == ApproveOutcome::Approved);
    }
    let standing = store.pending_host(row.id, at(2)).await.unwrap().unwrap();
    assert_eq!((standing.state, standing.host_id), (PendingState::Approved, Some(made[0].0.id)));
    assert_eq!(standing.expires_at, at(1) + DAY);
    assert_eq!(actions(store).await, ["host.announced", "host.approved"]);
}

/// What is over, unknown or taken makes no host.
pub async fn an_approval_that_cannot_be_makes_no_host(store: &Arc<dyn Store>) {
    enrolled(store, "Ärger").await;
    let row = pending("web");
    announce(store, &row).await;
    let taken = host("ÄRGER");
    assert_eq!(approve(store, &row, &taken, at(1)).await, ApproveOutcome::NameTaken);
    assert_eq!(store.host(taken.id).await.unwrap(), None);
    let other = host("web");
    assert_eq!(approve(store, &pending("web"), &other, at(1)).await, ApproveOutcome::NotFound);
    assert_eq!(approve(store, &row, &other, row.expires_at).await, ApproveOutcome::NotFound);
    assert_eq!(store.host(other.id).await.unwrap(), None);
    assert_eq!(approve(store, &row, &other, row.expires_at - 1).await, ApproveOutcome::Approved);
    let sent_away = pending("db");
    announce(store, &sent_away).await;
    store.reject_pending(sent_away.id, at(1), audit("host.rejected")).await.unwrap();
    let outcome = approve(store, &sent_away, &host("db"), at(2)).await;
    assert_eq!(outcome, ApproveOutcome::Decided(PendingState::Rejected));
}

/// Rejecting is written down once; an approved host is not rejected.
pub async fn a_rejection_is_written_down_once(store: &Arc<dyn Store>) {
    let row = pending("web");
    announce(store, &row).await;
    let reject = |id, now| store.reject_pending(id, now, audit("host.rejected"));
    assert_eq!(reject(row.id, at(1)).await.unwrap(), RejectOutcome::Rejected);
    assert_eq!(reject(row.id, at(2)).await.unwrap(), RejectOutcome::Rejected);
    assert_eq!(reject(row.id, row.expires_at).await.unwrap(), RejectOutcome::NotFound);
    assert_eq!(reject(mint(PendingHostId::mint), at(1)).await.unwrap(), RejectOutcome::NotFound);
    assert_eq!(actions(store).await, ["host.announced", "host.rejected"]);
    let (approved, _) = approved(store, "db").await;
    assert_eq!(reject(approved.id, at(11)).await.unwrap(), RejectOutcome::Approved);
}

/// A challenge is good for one claim, however many come with it.
pub async fn a_challenge_is_good_for_one_claim(store: &Arc<dyn Store>) {
    let (row, host_id) = approved(store, "web").await;
    let subject = row.clone();
    let try_one = |store: Arc<dyn Store>, _| {
        let (row, token) = (subject.clone(), hash());
        async move { (token, claim(&store, &row, &row.challenge, token, at(20)).await) }
    };
    let outcomes = at_once(8, try_one, store).await;
    let mut won = 0;
    for (token, outcome) in outcomes {
        let found = store.host_by_agent_token(&token).await.unwrap().map(|host| host.id);
        match outcome {
            ClaimOutcome::Claimed(host) => {
                won += 1;
                assert_eq!((host.id, found), (host_id, Some(host_id)));
            }
            ClaimOutcome::Stale => assert_eq!(found, None),
            ClaimOutcome::Unknown | ClaimOutcome::NotApproved(_) => panic!("{outcome:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(actions(store).await, ["host.announced", "host.approved", "host.enrolled"]);
}

/// A later claim with the next challenge replaces the token: the answer to the first may have been lost.
pub async fn a_second_claim_replaces_the_token(store: &Arc<dyn Store>) {
    let (row, host_id) = approved(store, "web").await;
    let (first, second) = (hash(), hash());
    assert!(matches!(claim(store, &row, &row.challenge, first, at(20)).await, ClaimOutcome::Claimed(_)));
    let next = store.pending_host_by_key(&row.key, at(21)).await.unwrap().unwrap().challenge;
    assert_ne!(next, row.challenge);
    assert!(matches!(claim(store, &row, &next, second, at(22)).await, ClaimOutcome::Claimed(_)));
    assert_eq!(store.host_by_agent_token(&first).await.unwrap(), None);
    assert_eq!(store.host_by_agent_token(&second).await.unwrap().map(|host| host.id), Some(host_id));
}

/// Who was not approved, is unknown, or comes too late gets no token.
pub async fn a_claim_needs_an_approval(store: &Arc<dyn Store>) {
    let row = pending("web");
    let token = hash();
    assert_eq!(claim(store, &row, &row.challenge, token, at(1)).await, ClaimOutcome::Unknown);
    announce(store, &row).await;
    let waiting = claim(store, &row, &row.challenge, token, at(1)).await;
    assert_eq!(waiting, ClaimOutcome::NotApproved(PendingState::Waiting));
    store.reject_pending(row.id, at(2), audit("host.rejected")).await.unwrap();
    let rejected = claim(store, &row, &row.challenge, token, at(3)).await;
    assert_eq!(rejected, ClaimOutcome::NotApproved(PendingState::Rejected));
    let (row, _) = approved(store, "db").await;
    assert_eq!(claim(store, &row, &row.challenge, token, at(10) + DAY).await, ClaimOutcome::Unknown);
    assert_eq!(store.host_by_agent_token(&token).await.unwrap(), None);
}

/// An approval goes with its host.
pub async fn an_approval_goes_with_its_host(store: &Arc<dyn Store>) {
    let (row, host_id) = approved(store, "web").await;
    assert_eq!(store.delete_host(host_id, audit("host.deleted")).await.unwrap(), Deleted::Done);
    assert_eq!(store.pending_host(row.id, at(20)).await.unwrap(), None);
    assert_eq!(claim(store, &row, &row.challenge, hash(), at(20)).await, ClaimOutcome::Unknown);
}
