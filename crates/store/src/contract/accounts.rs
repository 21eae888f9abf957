//! People, sessions, tokens, enrolment.

use std::sync::Arc;

use restic_manager_core::id::{SessionId, TokenId, UserId};
use restic_manager_core::text::LoginName;
use restic_manager_core::time::{DAY, HOUR, Timestamp};

use super::fixture::{
    actions, all_pages, at, at_once, audit, enrolled, enrollment, first_user, hash, host, mint, name, token,
    user,
};
use crate::{
    Bootstrapped, EnrollOutcome, EnrollmentRow, SessionRow, Store, StoreError, TokenCreated, TokenRow,
    UserRow,
};

/// Of several first users at once exactly one is made.
pub async fn the_first_user_is_made_once_however_many_try(store: &Arc<dyn Store>) {
    assert!(!store.has_users().await.unwrap());
    let try_one = |store: Arc<dyn Store>, n: usize| async move {
        let user = user(&format!("user{n}"));
        (user.clone(), store.create_first_user(user, audit("user.created")).await.unwrap())
    };
    let made = at_once(8, try_one, store).await;
    let winners: Vec<&UserRow> =
        made.iter().filter(|(_, made)| *made == Bootstrapped::Created).map(|(user, _)| user).collect();
    assert_eq!(winners.len(), 1);
    assert!(store.has_users().await.unwrap());
    for (user, made) in &made {
        let found = store.user_by_name(&user.name).await.unwrap();
        assert_eq!(found.as_ref(), (*made == Bootstrapped::Created).then_some(user));
    }
    assert_eq!(actions(store).await, ["user.created"]);
}

/// A login name is compared as it is.
pub async fn a_user_is_found_by_exactly_its_name(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    assert_eq!(store.user_by_name(&user.name).await.unwrap(), Some(user));
    assert_eq!(store.user_by_name(&LoginName::new("Ada").unwrap()).await.unwrap(), None);
}

fn session(user: &UserRow, expires_at: Timestamp) -> SessionRow {
    SessionRow {
        id: mint(SessionId::mint),
        hash: hash(),
        csrf_hash: hash(),
        user_id: user.id,
        created_at: at(0),
        expires_at,
    }
}

/// A new password ends the sessions and leaves the tokens.
pub async fn a_new_password_ends_all_sessions_and_no_token(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let (one, two, token) = (session(&user, at(100)), session(&user, at(200)), token(&user, "ci"));
    for session in [&one, &two] {
        store.create_session(session.clone(), at(0), audit("session.opened")).await.unwrap();
    }
    store.create_token(token.clone(), audit("token.created")).await.unwrap();
    assert!(store.set_password(user.id, "$new$", audit("user.password_set")).await.unwrap());
    for session in [&one, &two] {
        assert_eq!(store.session(&session.hash, at(1)).await.unwrap(), None);
    }
    let changed = UserRow { password_hash: "$new$".to_owned(), ..user };
    assert_eq!(store.token(&token.hash).await.unwrap(), Some((token, changed)));
}

/// There is nobody whose password could be set.
pub async fn a_password_needs_its_user(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    assert!(!store.set_password(mint(UserId::mint), "$new$", audit("user.password_set")).await.unwrap());
    assert_eq!(store.user_by_name(&user.name).await.unwrap(), Some(user));
    assert_eq!(actions(store).await, ["user.created"]);
}

/// A session is good until the instant it ends, and not at it.
pub async fn a_session_is_good_until_it_ends(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let session = session(&user, at(100));
    store.create_session(session.clone(), at(0), audit("session.opened")).await.unwrap();
    let just_before = at(100) - 1;
    assert_eq!(store.session(&session.hash, just_before).await.unwrap(), Some((session.clone(), user)));
    assert_eq!(store.session(&session.hash, at(100)).await.unwrap(), None);
    assert_eq!(store.session(&hash(), at(1)).await.unwrap(), None);
}

/// Opening a session forgets those that ended, and only those.
pub async fn opening_a_session_forgets_those_that_ended(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let (ended, live) = (session(&user, at(100)), session(&user, at(300)));
    for session in [&ended, &live] {
        store.create_session(session.clone(), at(0), audit("session.opened")).await.unwrap();
    }
    store.create_session(session(&user, at(900)), at(200), audit("session.opened")).await.unwrap();
    assert_eq!(store.session(&ended.hash, at(1)).await.unwrap(), None, "it is forgotten, whatever the time");
    assert!(store.session(&live.hash, at(201)).await.unwrap().is_some());
}

/// A session of nobody is a fault.
pub async fn a_session_needs_its_user(store: &Arc<dyn Store>) {
    let orphan = session(&user("nobody"), at(100));
    let error = store.create_session(orphan.clone(), at(0), audit("session.opened")).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    assert_eq!(store.session(&orphan.hash, at(1)).await.unwrap(), None);
    assert!(actions(store).await.is_empty());
}

/// Ending a session twice is fine and is written down once.
pub async fn a_session_may_be_ended_twice(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let (session, other) = (session(&user, at(100)), session(&user, at(100)));
    for session in [&session, &other] {
        store.create_session(session.clone(), at(0), audit("session.opened")).await.unwrap();
    }
    store.delete_session(&session.hash, audit("session.ended")).await.unwrap();
    store.delete_session(&session.hash, audit("session.ended")).await.unwrap();
    assert_eq!(store.session(&session.hash, at(1)).await.unwrap(), None);
    assert!(store.session(&other.hash, at(1)).await.unwrap().is_some());
    assert_eq!(actions(store).await.iter().filter(|action| *action == "session.ended").count(), 1);
}

/// A token's name is taken while a good token has it, and free after revocation and expiry.
pub async fn a_token_name_is_free_once_its_token_is_no_longer_good(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let create = |row: TokenRow| store.create_token(row, audit("token.created"));
    let first = token(&user, "ci");
    assert_eq!(create(first.clone()).await.unwrap(), TokenCreated::Created);
    let refused = token(&user, "ci");
    assert_eq!(create(refused.clone()).await.unwrap(), TokenCreated::NameTaken);
    assert_eq!(store.token(&refused.hash).await.unwrap(), None);
    assert_eq!(
        create(token(&user, "CI")).await.unwrap(),
        TokenCreated::Created,
        "names are compared as they are"
    );
    assert!(store.revoke_token(user.id, first.id, at(5), audit("token.revoked")).await.unwrap());
    assert_eq!(create(token(&user, "ci")).await.unwrap(), TokenCreated::Created, "free after revocation");
    let late = TokenRow { created_at: at(1_000), expires_at: at(2_000), ..token(&user, "ci") };
    assert_eq!(create(late).await.unwrap(), TokenCreated::Created, "free after expiry");
}

/// A token of nobody is a fault.
pub async fn a_token_needs_its_user(store: &Arc<dyn Store>) {
    let orphan = token(&user("nobody"), "ci");
    let error = store.create_token(orphan.clone(), audit("token.created")).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    assert_eq!(store.token(&orphan.hash).await.unwrap(), None);
}

/// Of several tokens of one name at once exactly one is made.
pub async fn a_token_name_is_given_once_however_many_try(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let try_one = |store: Arc<dyn Store>, _| {
        let row = token(&user, "ci");
        async move { store.create_token(row, audit("token.created")).await.unwrap() }
    };
    let made = at_once(8, try_one, store).await;
    assert_eq!(made.iter().filter(|made| **made == TokenCreated::Created).count(), 1);
}

/// A token is found whether or not it is still good: the caller compares times.
pub async fn a_token_is_found_whether_or_not_it_is_good(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let expired = TokenRow { expires_at: at(1), ..token(&user, "old") };
    store.create_token(expired.clone(), audit("token.created")).await.unwrap();
    store.revoke_token(user.id, expired.id, at(5), audit("token.revoked")).await.unwrap();
    let found = TokenRow { revoked_at: Some(at(5)), ..expired };
    assert_eq!(store.token(&found.hash).await.unwrap(), Some((found, user)));
    assert_eq!(store.token(&hash()).await.unwrap(), None);
}

/// Revoking twice keeps the first time; another user's token is not found.
pub async fn revoking_a_token_twice_keeps_the_first_time(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let row = token(&user, "ci");
    store.create_token(row.clone(), audit("token.created")).await.unwrap();
    let foreign =
        store.revoke_token(mint(UserId::mint), row.id, at(3), audit("token.revoked")).await.unwrap();
    assert!(!foreign, "it is not theirs");
    assert!(!store.revoke_token(user.id, mint(TokenId::mint), at(3), audit("token.revoked")).await.unwrap());
    assert!(store.revoke_token(user.id, row.id, at(5), audit("token.revoked")).await.unwrap());
    assert!(store.revoke_token(user.id, row.id, at(9), audit("token.revoked")).await.unwrap());
    let (found, _) = store.token(&row.hash).await.unwrap().unwrap();
    assert_eq!(found.revoked_at, Some(at(5)));
    assert_eq!(actions(store).await, ["user.created", "token.created", "token.revoked"]);
}

/// The last use of a token only goes forward.
pub async fn the_last_use_of_a_token_never_goes_back(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let row = token(&user, "ci");
    store.create_token(row.clone(), audit("token.created")).await.unwrap();
    for (seen, kept) in [(at(5), at(5)), (at(3), at(5)), (at(7), at(7))] {
        store.touch_token(row.id, seen).await.unwrap();
        assert_eq!(store.token(&row.hash).await.unwrap().unwrap().0.last_used_at, Some(kept));
    }
    store.touch_token(mint(TokenId::mint), at(9)).await.unwrap();
}

/// A user's tokens are listed newest first, revoked ones included.
pub async fn tokens_are_listed_newest_first(store: &Arc<dyn Store>) {
    let user = first_user(store).await;
    let rows: Vec<TokenRow> = (0..5).map(|n| token(&user, &format!("token {n}"))).collect();
    for row in &rows {
        store.create_token(row.clone(), audit("token.created")).await.unwrap();
    }
    store.revoke_token(user.id, rows[2].id, at(5), audit("token.revoked")).await.unwrap();
    let listed = all_pages(2, |page| store.tokens(user.id, page)).await;
    let expected: Vec<TokenId> = rows.iter().rev().map(|row| row.id).collect();
    assert_eq!(listed.iter().map(|info| info.id).collect::<Vec<_>>(), expected);
    assert_eq!(listed[2].revoked_at, Some(at(5)));
    assert!(listed.iter().all(|info| info.username == user.name));
    assert_eq!(listed[4].name, name("token 0"));
    assert!(all_pages(2, |page| store.tokens(mint(UserId::mint), page)).await.is_empty());
}

/// An enrolment token makes one host, however many come with it at once.
pub async fn an_enrolment_token_makes_one_host_however_many_try(store: &Arc<dyn Store>) {
    let row = enrollment();
    let key = row.hash;
    store.create_enrollment(row.clone(), audit("enrollment.created")).await.unwrap();
    assert_eq!(store.enrollment(&key).await.unwrap(), Some(row));
    let try_one = |store: Arc<dyn Store>, n: usize| async move {
        let host = host(&format!("host {n}"));
        let agent_token = hash();
        let outcome =
            store.enroll(&key, host.clone(), agent_token, at(1), audit("host.enrolled")).await.unwrap();
        (host, agent_token, outcome)
    };
    let outcomes = at_once(8, try_one, store).await;
    assert_eq!(outcomes.iter().filter(|(_, _, outcome)| *outcome == EnrollOutcome::Enrolled).count(), 1);
    let mut winner = None;
    for (host, agent_token, outcome) in outcomes {
        if outcome == EnrollOutcome::Enrolled {
            winner = Some(host.id);
        }
        assert!(matches!(outcome, EnrollOutcome::Enrolled | EnrollOutcome::Used), "{outcome:?}");
        let expected = (outcome == EnrollOutcome::Enrolled).then_some(host.clone());
        assert_eq!(store.host(host.id).await.unwrap(), expected);
        assert_eq!(store.host_by_agent_token(&agent_token).await.unwrap(), expected);
    }
    let used = store.enrollment(&key).await.unwrap().unwrap();
    assert_eq!((used.used_at, used.host_id), (Some(at(1)), Some(winner.unwrap())));
    assert_eq!(store.enrollment_by_id(used.id).await.unwrap(), Some(used));
    assert_eq!(actions(store).await, ["enrollment.created", "host.enrolled"]);
}

/// Unknown, expired and used enrolment tokens make no host.
pub async fn an_enrolment_token_that_is_not_good_makes_no_host(store: &Arc<dyn Store>) {
    let row = enrollment();
    let key = row.hash;
    store.create_enrollment(row, audit("enrollment.created")).await.unwrap();
    let host = host("web");
    let enroll = |key, now| {
        let host = host.clone();
        async move { store.enroll(&key, host, hash(), now, audit("host.enrolled")).await.unwrap() }
    };
    assert_eq!(enroll(hash(), at(1)).await, EnrollOutcome::Unknown);
    assert_eq!(enroll(key, at(0) + HOUR).await, EnrollOutcome::Expired);
    assert_eq!(store.host(host.id).await.unwrap(), None);
    assert_eq!(store.enrollment(&key).await.unwrap().unwrap().used_at, None);
    assert_eq!(enroll(key, at(0) + HOUR - 1).await, EnrollOutcome::Enrolled);
    assert_eq!(enroll(key, at(0) + 2 * HOUR).await, EnrollOutcome::Used);
    assert_eq!(actions(store).await, ["enrollment.created", "host.enrolled"]);
}

/// A host name that is taken, in whatever case, leaves the enrolment token good.
pub async fn a_taken_host_name_leaves_the_enrolment_token_good(store: &Arc<dyn Store>) {
    enrolled(store, "Ärger").await;
    let row = enrollment();
    let key = row.hash;
    store.create_enrollment(row, audit("enrollment.created")).await.unwrap();
    for (text, outcome) in [("ÄRGER", EnrollOutcome::NameTaken), ("Ärger 2", EnrollOutcome::Enrolled)] {
        let answer = store.enroll(&key, host(text), hash(), at(1), audit("host.enrolled")).await.unwrap();
        assert_eq!(answer, outcome, "{text}");
    }
}

/// Enrolment tokens that expired more than a day ago are forgotten when a new one is made.
pub async fn old_enrolment_tokens_are_forgotten(store: &Arc<dyn Store>) {
    let expiring = |seconds| EnrollmentRow { expires_at: at(seconds), ..enrollment() };
    let (old, younger) = (expiring(100), expiring(200));
    for row in [&old, &younger] {
        store.create_enrollment(row.clone(), audit("enrollment.created")).await.unwrap();
    }
    let new = EnrollmentRow { created_at: at(150) + DAY, expires_at: at(150) + DAY + HOUR, ..enrollment() };
    store.create_enrollment(new, audit("enrollment.created")).await.unwrap();
    assert_eq!(store.enrollment(&old.hash).await.unwrap(), None);
    assert_eq!(store.enrollment(&younger.hash).await.unwrap(), Some(younger));
}
