//! The audit log in words: what each action is called, and where its subject is seen.

use restic_manager_core::model::AuditRow;
use serde_json::Value;

use super::words;

/// What one may look for, by what it happened to: the action, and what somebody did, before the name of the subject.
pub(super) const ACTIONS: [(&str, &str); 40] = [
    ("login.failed", "was refused a login as"),
    ("session.opened", "logged in"),
    ("session.closed", "logged out"),
    ("user.created", "made the user"),
    ("user.password_changed", "changed the password of"),
    ("user.password_refused", "gave a wrong current password for"),
    ("user.password_reset", "set a new password for"),
    ("token.created", "made the API token"),
    ("token.revoked", "revoked the API token"),
    ("enrollment_token.created", "made an enrolment token"),
    ("host.announced", "announced itself as"),
    ("host.approved", "approved the host"),
    ("host.rejected", "rejected the machine"),
    ("host.enrolled", "enrolled the host"),
    ("host.changed", "changed the host"),
    ("host.deleted", "deleted the host"),
    ("host.identity_refused", "refused another machine that came as the host"),
    ("message.set_aside", "set aside a message of the host"),
    ("repo.created", "made the repository"),
    ("repo.changed", "changed the repository"),
    ("repo.deleted", "deleted the repository"),
    ("repo.unlocked", "removed locks of the repository"),
    ("repo.already_known", "found known already the repository"),
    ("attachment.created", "attached a host to the repository"),
    ("attachment.changed", "changed how a host uses the repository"),
    ("attachment.deleted", "detached a host from the repository"),
    ("admin_credential.changed", "stored the admin credential of the repository"),
    ("admin_credential.deleted", "deleted the admin credential of the repository"),
    ("maintenance.changed", "changed the maintenance of the repository"),
    ("check_hold.overridden", "let prune go on despite errors in the repository"),
    ("source_group.created", "made the source group"),
    ("source_group.changed", "changed the source group"),
    ("source_group.deleted", "deleted the source group"),
    ("schedule.created", "made the schedule"),
    ("schedule.changed", "changed the schedule"),
    ("schedule.deleted", "deleted the schedule"),
    ("job.asked", "asked for the job"),
    ("job.cancel_asked", "asked to cancel the job"),
    ("job.given_up", "gave up the job"),
    ("job.withdrawn", "withdrew the job"),
];

/// What happened, before the name of its subject; an action that is new here is told as it is written.
pub(super) fn deed(action: &str) -> String {
    if let Some((_, words)) = ACTIONS.iter().find(|(known, _)| *known == action) {
        return (*words).to_owned();
    }
    match action.split_once('.') {
        Some((noun, verb)) => format!("{} the {}", verb.replace('_', " "), noun.replace('_', " ")),
        None => action.to_owned(),
    }
}

/// The name of what it happened to, as far as the row tells it.
pub(super) fn subject(row: &AuditRow) -> Option<String> {
    let told = |name: &str| row.detail.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match row.subject_kind.as_str() {
        "job" => match (told("kind"), told("repo")) {
            (Some(kind), Some(repo)) => Some(format!("{kind} on {repo}")),
            (kind, _) => kind.map(str::to_owned),
        },
        "attachment" | "repo" => told("name").or_else(|| told("repo")).map(str::to_owned),
        "run" => match (told("group"), told("slot")) {
            (Some(group), Some(slot)) => {
                let slot = slot.parse().map_or_else(|_| slot.to_owned(), words::exact);
                Some(format!("{group} of {slot}"))
            }
            (group, _) => group.map(str::to_owned),
        },
        "user" if row.action == "login.failed" => Some(row.subject_id.clone()),
        _ => told("name").or_else(|| told("host_name")).or_else(|| told("os_hostname")).map(str::to_owned),
    }
}

/// The page of what it happened to; what was deleted has none.
pub(super) fn page_of(row: &AuditRow) -> Option<String> {
    if row.action.ends_with(".deleted") || row.action == "host.rejected" {
        return None;
    }
    let id = &row.subject_id;
    let of_host = |rest: &str| {
        let host = row.detail.get("host_id").and_then(Value::as_str)?;
        Some(format!("/hosts/{host}/{rest}"))
    };
    match row.subject_kind.as_str() {
        "host" => Some(format!("/hosts/{id}")),
        "repo" => Some(format!("/repos/{id}")),
        "job" => Some(format!("/jobs/{id}")),
        "source_group" => of_host(&format!("sources/{id}")),
        "schedule" => of_host(&format!("schedules/{id}")),
        "attachment" => of_host("repo"),
        "pending_host" => Some("/pending".to_owned()),
        "run" => Some("/pending-runs".to_owned()),
        "token" => Some("/settings#tokens".to_owned()),
        _ => None,
    }
}

/// The further facts of a row: those that its sentence does not tell.
pub(super) fn facts(row: &AuditRow) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let said = subject(row);
    for (key, value) in &row.detail {
        let told = value.as_str().zip(said.as_deref());
        let in_sentence =
            told.is_some_and(|(value, said)| value == said || said.split(" on ").any(|part| part == value));
        if !in_sentence && key != "host_id" {
            push(&mut facts, key, value);
        }
    }
    facts
}

/// A fact in words: instants as such, texts without quotes, what is within another as facts of their own.
fn push(facts: &mut Vec<(String, String)>, key: &str, value: &Value) {
    let shown = match value {
        Value::Null => return,
        Value::Object(inner) => {
            inner.iter().for_each(|(key, value)| push(facts, key, value));
            return;
        }
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => match number.as_i64().filter(|_| key.ends_with("_at") || key == "slot") {
            Some(millis) => words::exact(restic_manager_core::time::Timestamp::from_millis(millis)),
            None => number.to_string(),
        },
        Value::String(text) => match text.parse() {
            Ok(at) => words::exact(at),
            Err(_) => text.clone(),
        },
        Value::Array(items) => {
            let plain = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
    };
    facts.push((key.replace('_', " "), shown));
}

#[cfg(test)]
mod tests {
    use restic_manager_core::model::ActorKind;
    use restic_manager_core::time::Timestamp;
    use serde_json::json;

    use super::*;

    fn row(action: &str, kind: &str, detail: Value) -> AuditRow {
        AuditRow {
            id: "01900000-0000-7000-8000-000000000000".parse().unwrap(),
            at: Timestamp::from_millis(1_795_000_000_000),
            actor_kind: ActorKind::User,
            actor: "admin".to_owned(),
            action: action.to_owned(),
            subject_kind: kind.to_owned(),
            subject_id: "01900000-0000-7000-8000-000000000001".to_owned(),
            detail: serde_json::from_value(detail).unwrap(),
        }
    }

    #[test]
    fn a_row_is_told_with_its_subject_and_the_facts_that_are_not_in_the_sentence() {
        let asked = row("job.asked", "job", json!({"kind": "prune", "repo": "nas", "host_id": "x"}));
        assert_eq!(
            (deed(&asked.action).as_str(), subject(&asked)),
            ("asked for the job", Some("prune on nas".into()))
        );
        assert!(facts(&asked).is_empty(), "{:?}", facts(&asked));
        let changed = row("host.changed", "host", json!({"change": {"tags": ["prod", "eu"], "name": null}}));
        assert_eq!(facts(&changed), [("tags".to_owned(), "prod, eu".to_owned())]);
        let made = row(
            "token.created",
            "token",
            json!({"name": "rmctl on vm", "expires_at": 1_795_000_000_000_i64}),
        );
        assert_eq!(facts(&made), [("expires at".to_owned(), "2026-11-18 11:06:40 UTC".to_owned())]);
        assert_eq!(deed("shelf.dusted_twice"), "dusted twice the shelf");
    }

    #[test]
    fn what_is_there_is_linked_and_what_is_gone_is_not() {
        let page = |action, kind, detail| page_of(&row(action, kind, detail));
        let id = "01900000-0000-7000-8000-000000000001";
        assert_eq!(page("repo.created", "repo", json!({})), Some(format!("/repos/{id}")));
        assert_eq!(
            page("schedule.changed", "schedule", json!({"host_id": "h"})),
            Some(format!("/hosts/h/schedules/{id}"))
        );
        assert_eq!(page("schedule.changed", "schedule", json!({})), None);
        assert_eq!(page("repo.deleted", "repo", json!({})), None);
        assert_eq!(page("user.created", "user", json!({})), None);
    }

    #[test]
    fn each_action_is_named_once() {
        let names: std::collections::BTreeSet<_> = ACTIONS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), ACTIONS.len());
    }
}
