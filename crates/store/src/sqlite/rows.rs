//! Rows as the nouns of the core.

use std::fmt::Display;
use std::str::FromStr;

use restic_manager_core::model::{
    Actor, Attachment, AuditRow, CredentialInfo, Host, Job, MissedSoFar, Pending, Repo, Run, RunKey,
    Schedule, Snapshot, SourceGroup,
};
use restic_manager_core::time::Timestamp;
use serde::Serialize;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, Row, Sqlite, Type};

use crate::{AttachmentRow, JobRow, Result, SealedCredential, StoreError, TokenHash};

/// Columns of a job, for `select ... from jobs j`.
pub(super) const JOB: &str = "j.id, j.kind, j.state, j.host_id, j.repo_id, j.group_id, j.run_id, j.slot, j.attempt, j.actor_kind, \
     j.actor, j.created_at, j.dispatched_at, j.started_at, j.finished_at, j.cancel_requested_at, j.class, j.exit_code, j.message, \
     j.hint, j.summary, j.intent";

/// The names around a job, as they are or were: columns behind [`JOB`].
pub(super) const JOB_NAMES: &str = "coalesce((select h.name from hosts h where h.id = j.host_id), \
     (select d.name from departed_names d where d.id = j.host_id), '') as host_name, \
     coalesce((select r.name from repos r where r.id = j.repo_id), \
     (select d.name from departed_names d where d.id = j.repo_id), '') as repo_name, \
     coalesce((select g.name from source_groups g where g.id = j.group_id), \
     (select d.name from departed_names d where d.id = j.group_id)) as group_name";

/// Reads the columns of one row; a value that cannot be read is named by table and id.
pub(super) struct Fields<'r> {
    row: &'r SqliteRow,
    what: &'static str,
    id: &'static str,
}

impl<'r> Fields<'r> {
    /// Reads a row of `what`, whose id stands in the column `id`.
    pub(super) fn new(row: &'r SqliteRow, what: &'static str, id: &'static str) -> Self {
        Self { row, what, id }
    }

    /// A value as SQLite has it.
    pub(super) fn get<T>(&self, column: &'static str) -> Result<T>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
        &'static str: ColumnIndex<SqliteRow>,
    {
        self.row.try_get(column).map_err(|error| self.unreadable(column, &error))
    }

    /// A text that has a spelling of its own: an id, a checked text, a cron line.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<T> {
        let text: &str = self.get(column)?;
        text.parse().map_err(|error: T::Err| self.unreadable(column, &error))
    }

    /// Such a text, or null.
    pub(super) fn parsed_opt<T: FromStr<Err: Display>>(&self, column: &'static str) -> Result<Option<T>> {
        let text: Option<&str> = self.get(column)?;
        text.map(str::parse).transpose().map_err(|error: T::Err| self.unreadable(column, &error))
    }

    /// An enum by its name.
    pub(super) fn named<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        let text: &str = self.get(column)?;
        let name: StrDeserializer<'_, ValueError> = text.into_deserializer();
        T::deserialize(name).map_err(|error| self.unreadable(column, &error))
    }

    /// An enum by its name, or null.
    pub(super) fn named_opt<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        let text: Option<&str> = self.get(column)?;
        let name = text.map(|text| -> StrDeserializer<'_, ValueError> { text.into_deserializer() });
        name.map(T::deserialize).transpose().map_err(|error| self.unreadable(column, &error))
    }

    /// A list or a map.
    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        let text: &str = self.get(column)?;
        serde_json::from_str(text).map_err(|error| self.unreadable(column, &error))
    }

    /// A list or a map, or null.
    pub(super) fn json_opt<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        let text: Option<&str> = self.get(column)?;
        text.map(serde_json::from_str).transpose().map_err(|error| self.unreadable(column, &error))
    }

    /// A number of a narrower kind than SQLite's.
    pub(super) fn number<T: TryFrom<i64, Error: Display>>(&self, column: &'static str) -> Result<T> {
        let number: i64 = self.get(column)?;
        T::try_from(number).map_err(|error| self.unreadable(column, &error))
    }

    /// Such a number, or null.
    pub(super) fn number_opt<T: TryFrom<i64, Error: Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>> {
        let number: Option<i64> = self.get(column)?;
        number.map(T::try_from).transpose().map_err(|error| self.unreadable(column, &error))
    }

    /// An instant.
    pub(super) fn at(&self, column: &'static str) -> Result<Timestamp> {
        self.get(column).map(Timestamp::from_millis)
    }

    /// An instant, or null.
    pub(super) fn at_opt(&self, column: &'static str) -> Result<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_millis))
    }

    /// The hash of a token.
    pub(super) fn hash(&self, column: &'static str) -> Result<TokenHash> {
        let bytes: &[u8] = self.get(column)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|error| self.unreadable(column, &error))?;
        Ok(TokenHash(bytes))
    }

    fn unreadable(&self, column: &str, why: &dyn Display) -> StoreError {
        let id = self.row.try_get::<String, _>(self.id).unwrap_or_else(|_| "without an id".to_owned());
        StoreError::Unreadable { what: self.what, id, why: format!("{column}: {why}") }
    }
}

/// The JSON of a value that goes into one parameter.
pub(super) fn json<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Backend {
        doing: "write a value as JSON",
        source: format!("{what}: {error}").into(),
    })
}

/// The name of an enum that has no `as_str`.
pub(super) fn name_of<T: Serialize>(value: &T) -> Result<String> {
    Ok(json("a name", value)?.trim_matches('"').to_owned())
}

/// A number as SQLite keeps it; one beyond 2^63 is kept as the largest there is.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn host(row: &SqliteRow) -> Result<Host> {
    let fields = Fields::new(row, "host", "id");
    Ok(Host {
        id: fields.parsed("id")?,
        name: fields.parsed("name")?,
        tags: fields.json("tags")?,
        facts: fields.json("facts")?,
        limit_upload_kib: fields.number_opt("limit_upload_kib")?,
        limit_download_kib: fields.number_opt("limit_download_kib")?,
        created_at: fields.at("created_at")?,
        last_seen_at: fields.at_opt("last_seen_at")?,
        schedule_version: fields.get("schedule_version")?,
        schedule_version_acked: fields.get("schedule_version_acked")?,
        revision: fields.get("revision")?,
    })
}

pub(super) fn repo(row: &SqliteRow) -> Result<Repo> {
    let fields = Fields::new(row, "repository", "id");
    Ok(Repo {
        id: fields.parsed("id")?,
        name: fields.parsed("name")?,
        restic_id: fields.parsed_opt("restic_id")?,
        runner: fields.parsed_opt("runner")?,
        created_at: fields.at("created_at")?,
        revision: fields.get("revision")?,
    })
}

pub(super) fn attachment(row: &SqliteRow) -> Result<Attachment> {
    let fields = Fields::new(row, "attachment", "id");
    Ok(Attachment {
        id: fields.parsed("id")?,
        host_id: fields.parsed("host_id")?,
        repo_id: fields.parsed("repo_id")?,
        role: fields.named("role")?,
        restic_host: fields.parsed("restic_host")?,
        append_only: fields.named("append_only")?,
        created_at: fields.at("created_at")?,
    })
}

/// An attachment with the names around it; its credentials are read apart.
pub(super) fn attachment_row(row: &SqliteRow) -> Result<AttachmentRow> {
    let fields = Fields::new(row, "attachment", "id");
    Ok(AttachmentRow {
        attachment: attachment(row)?,
        host_name: fields.parsed("host_name")?,
        repo_name: fields.parsed("repo_name")?,
        restic_id: fields.parsed_opt("restic_id")?,
        credentials: Vec::new(),
    })
}

pub(super) fn credential_info(row: &SqliteRow) -> Result<CredentialInfo> {
    let fields = Fields::new(row, "credential of the attachment", "attachment_id");
    Ok(CredentialInfo {
        kind: fields.named("kind")?,
        url: fields.get("url")?,
        rest_user: fields.get("rest_user")?,
        has_rest_password: fields.get("has_rest_password")?,
        env_names: fields.json("env_names")?,
        revision: fields.get("revision")?,
        updated_at: fields.at("updated_at")?,
    })
}

pub(super) fn sealed_credential(row: &SqliteRow) -> Result<SealedCredential> {
    let fields = Fields::new(row, "credential of the attachment", "attachment_id");
    Ok(SealedCredential { info: credential_info(row)?, blob: fields.get("blob")? })
}

pub(super) fn group(row: &SqliteRow) -> Result<SourceGroup> {
    let fields = Fields::new(row, "source group", "id");
    Ok(SourceGroup {
        id: fields.parsed("id")?,
        host_id: fields.parsed("host_id")?,
        name: fields.parsed("name")?,
        tag: fields.parsed("tag")?,
        includes: fields.json("includes")?,
        excludes: fields.json("excludes")?,
        options: fields.json("options")?,
        keep: fields.json("keep")?,
        retry_max: fields.number("retry_max")?,
        retry_backoff_seconds: fields.number("retry_backoff_seconds")?,
        created_at: fields.at("created_at")?,
        updated_at: fields.at("updated_at")?,
    })
}

pub(super) fn schedule(row: &SqliteRow) -> Result<Schedule> {
    let fields = Fields::new(row, "schedule", "id");
    Ok(Schedule {
        id: fields.parsed("id")?,
        host_id: fields.parsed("host_id")?,
        name: fields.parsed("name")?,
        cron: fields.parsed("cron")?,
        timezone: fields.parsed("timezone")?,
        enabled: fields.get("enabled")?,
        group_ids: fields.json("group_ids")?,
        repo_ids: fields.json_opt("repo_ids")?,
        created_at: fields.at("created_at")?,
        updated_at: fields.at("updated_at")?,
        missed: MissedSoFar { count: fields.number("missed")?, until: fields.at_opt("missed_until")? },
    })
}

pub(super) fn run(row: &SqliteRow) -> Result<Run> {
    let fields = Fields::new(row, "run", "id");
    Ok(Run {
        id: fields.parsed("id")?,
        key: RunKey {
            schedule_id: fields.parsed("schedule_id")?,
            group_id: fields.parsed("group_id")?,
            repo_id: fields.parsed("repo_id")?,
            slot: fields.at("slot")?,
        },
        host_id: fields.parsed("host_id")?,
        state: fields.named("state")?,
        attempt: fields.number("attempt")?,
        pending: pending(&fields)?,
        why: fields.get("why")?,
        created_at: fields.at("created_at")?,
    })
}

fn pending(fields: &Fields<'_>) -> Result<Option<Pending>> {
    let Some(since) = fields.at_opt("pending_since")? else { return Ok(None) };
    let next_attempt_at = fields.at("next_attempt_at")?;
    Ok(Some(Pending { cause: fields.named("pending_cause")?, since, next_attempt_at }))
}

pub(super) fn job(row: &SqliteRow) -> Result<Job> {
    let fields = Fields::new(row, "job", "id");
    Ok(Job {
        id: fields.parsed("id")?,
        kind: fields.named("kind")?,
        state: fields.named("state")?,
        host_id: fields.parsed("host_id")?,
        repo_id: fields.parsed("repo_id")?,
        group_id: fields.parsed_opt("group_id")?,
        run_id: fields.parsed_opt("run_id")?,
        slot: fields.at_opt("slot")?,
        attempt: fields.number("attempt")?,
        actor: Actor { kind: fields.named("actor_kind")?, name: fields.get("actor")? },
        created_at: fields.at("created_at")?,
        dispatched_at: fields.at_opt("dispatched_at")?,
        started_at: fields.at_opt("started_at")?,
        finished_at: fields.at_opt("finished_at")?,
        cancel_requested_at: fields.at_opt("cancel_requested_at")?,
        class: fields.named_opt("class")?,
        exit_code: fields.number_opt("exit_code")?,
        message: fields.get("message")?,
        hint: fields.get("hint")?,
        summary: fields.json_opt("summary")?,
        intent: fields.json_opt("intent")?.unwrap_or_default(),
    })
}

pub(super) fn job_row(row: &SqliteRow) -> Result<JobRow> {
    let fields = Fields::new(row, "job", "id");
    Ok(JobRow {
        job: job(row)?,
        host_name: fields.get("host_name")?,
        repo_name: fields.get("repo_name")?,
        group_name: fields.get("group_name")?,
    })
}

pub(super) fn snapshot(row: &SqliteRow) -> Result<Snapshot> {
    let fields = Fields::new(row, "snapshot", "id");
    let id: String = fields.get("id")?;
    Ok(Snapshot {
        id: restic_manager_core::restic::SnapshotId::new(id)
            .map_err(|error| fields.unreadable("id", &error))?,
        time: fields.at("time")?,
        hostname: fields.get("hostname")?,
        username: fields.get("username")?,
        tags: fields.json("tags")?,
        paths: fields.json("paths")?,
        size_bytes: fields.number_opt("size_bytes")?,
        files: fields.number_opt("files")?,
        added_bytes: fields.number_opt("added_bytes")?,
    })
}

pub(super) fn audit_row(row: &SqliteRow) -> Result<AuditRow> {
    let fields = Fields::new(row, "audit row", "id");
    Ok(AuditRow {
        id: fields.parsed("id")?,
        at: fields.at("at")?,
        actor_kind: fields.named("actor_kind")?,
        actor: fields.get("actor")?,
        action: fields.get("action")?,
        subject_kind: fields.get("subject_kind")?,
        subject_id: fields.get("subject_id")?,
        detail: fields.json("detail")?,
    })
}

/// The column `id` of these rows.
pub(super) fn ids<I: FromStr<Err: Display>>(rows: &[SqliteRow], what: &'static str) -> Result<Vec<I>> {
    rows.iter().map(|row| Fields::new(row, what, "id").parsed("id")).collect()
}
