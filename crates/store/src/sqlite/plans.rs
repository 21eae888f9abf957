//! Source groups, schedules, and the plan of a host.

use std::collections::BTreeSet;

use async_trait::async_trait;
use restic_manager_core::id::{GroupId, HostId, ScheduleId};
use restic_manager_core::model::{AuditEntry, Schedule, SourceGroup};
use sqlx::SqliteConnection;

use super::fault::Doing;
use super::rows::{self, json};
use super::{SqliteStore, attachments, audit, hosts, wake};
use crate::names::name_key;
use crate::{GroupDeleted, HostPlan, MissedSlots, PlanWritten, Plans, Result};

#[async_trait]
impl Plans for SqliteStore {
    async fn plan(&self, host_id: HostId) -> Result<Option<HostPlan>> {
        let mut tx = self.read("read the plan of a host").await?;
        let Some(host) = hosts::by_id(&mut tx, host_id).await? else {
            return Ok(None);
        };
        let attachments = attachments::of_host(&mut tx, host_id).await?;
        Ok(Some(HostPlan {
            host,
            groups: groups_of(&mut tx, host_id).await?,
            schedules: schedules_of(&mut tx, host_id).await?,
            attachments: attachments.into_iter().map(|row| row.attachment).collect(),
        }))
    }

    async fn enabled_schedules(&self, host_ids: &[HostId]) -> Result<Vec<Schedule>> {
        let found = sqlx::query(
            "select * from schedules where host_id in (select value from json_each(?1)) and enabled order by host_id, id",
        )
        .bind(json("ids", host_ids)?)
        .fetch_all(&self.readers)
        .await
        .doing("read the enabled schedules of hosts")?;
        found.iter().map(rows::schedule).collect()
    }

    async fn group(&self, id: GroupId) -> Result<Option<SourceGroup>> {
        group(&mut *self.reader("read a source group").await?, id).await
    }

    async fn create_group(&self, group: SourceGroup, audit: AuditEntry) -> Result<PlanWritten> {
        let doing = "make a source group";
        let mut tx = self.write(doing).await?;
        if hosts::by_id(&mut tx, group.host_id).await?.is_none() {
            return Ok(PlanWritten::NotFound);
        }
        if let Some(refusal) = group_taken(&mut tx, &group).await? {
            return Ok(refusal);
        }
        sqlx::query(
            "insert into source_groups (id, host_id, name, name_key, tag, includes, excludes, options, keep, retry_max, \
             retry_backoff_seconds, created_at, updated_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .bind(group.id.to_string())
        .bind(group.host_id.to_string())
        .bind(group.name.as_str())
        .bind(name_key(&group.name))
        .bind(group.tag.as_str())
        .bind(json("paths", &group.includes)?)
        .bind(json("patterns", &group.excludes)?)
        .bind(json("options", &group.options)?)
        .bind(json("a policy", &group.keep)?)
        .bind(group.retry_max)
        .bind(group.retry_backoff_seconds)
        .bind(group.created_at.as_millis())
        .bind(group.updated_at.as_millis())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        let version = hosts::raise_plan_version(&mut tx, group.host_id).await?;
        wake::of_host(&mut tx, group.host_id, audit.at).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(PlanWritten::Done(version))
    }

    async fn replace_group(&self, new: SourceGroup, audit: AuditEntry) -> Result<PlanWritten> {
        let doing = "change a source group";
        let mut tx = self.write(doing).await?;
        let Some(known) = group(&mut tx, new.id).await?.filter(|known| known.host_id == new.host_id) else {
            return Ok(PlanWritten::NotFound);
        };
        let new = SourceGroup { tag: known.tag, created_at: known.created_at, ..new };
        if let Some(refusal) = group_taken(&mut tx, &new).await? {
            return Ok(refusal);
        }
        sqlx::query(
            "update source_groups set name = ?2, name_key = ?3, includes = ?4, excludes = ?5, options = ?6, keep = ?7, \
             retry_max = ?8, retry_backoff_seconds = ?9, updated_at = ?10 where id = ?1",
        )
        .bind(new.id.to_string())
        .bind(new.name.as_str())
        .bind(name_key(&new.name))
        .bind(json("paths", &new.includes)?)
        .bind(json("patterns", &new.excludes)?)
        .bind(json("options", &new.options)?)
        .bind(json("a policy", &new.keep)?)
        .bind(new.retry_max)
        .bind(new.retry_backoff_seconds)
        .bind(new.updated_at.as_millis())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        let version = hosts::raise_plan_version(&mut tx, new.host_id).await?;
        wake::of_host(&mut tx, new.host_id, audit.at).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(PlanWritten::Done(version))
    }

    async fn delete_group(&self, host_id: HostId, id: GroupId, audit: AuditEntry) -> Result<GroupDeleted> {
        let doing = "delete a source group";
        let mut tx = self.write(doing).await?;
        if group(&mut tx, id).await?.is_none_or(|known| known.host_id != host_id) {
            return Ok(GroupDeleted::NotFound);
        }
        let mut users = schedules_of(&mut tx, host_id).await?;
        users.retain(|schedule| schedule.group_ids.contains(&id));
        if !users.is_empty() {
            return Ok(GroupDeleted::InUse(users));
        }
        sqlx::query("insert into departed_names (id, name) select id, name from source_groups where id = ?1")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        sqlx::query("delete from source_groups where id = ?1")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        hosts::raise_plan_version(&mut tx, host_id).await?;
        wake::of_host(&mut tx, host_id, audit.at).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(GroupDeleted::Done)
    }

    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>> {
        schedule(&mut *self.reader("read a schedule").await?, id).await
    }

    async fn create_schedule(&self, schedule: Schedule, audit: AuditEntry) -> Result<PlanWritten> {
        let doing = "make a schedule";
        let mut tx = self.write(doing).await?;
        if hosts::by_id(&mut tx, schedule.host_id).await?.is_none() {
            return Ok(PlanWritten::NotFound);
        }
        if let Some(refusal) = schedule_refused(&mut tx, &schedule).await? {
            return Ok(refusal);
        }
        sqlx::query(
            "insert into schedules (id, host_id, name, name_key, cron, timezone, enabled, group_ids, repo_ids, created_at, \
             updated_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .bind(schedule.id.to_string())
        .bind(schedule.host_id.to_string())
        .bind(schedule.name.as_str())
        .bind(name_key(&schedule.name))
        .bind(schedule.cron.as_str())
        .bind(schedule.timezone.name())
        .bind(schedule.enabled)
        .bind(json("ids", &schedule.group_ids)?)
        .bind(schedule.repo_ids.as_ref().map(|ids| json("ids", ids)).transpose()?)
        .bind(schedule.created_at.as_millis())
        .bind(schedule.updated_at.as_millis())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        let version = hosts::raise_plan_version(&mut tx, schedule.host_id).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(PlanWritten::Done(version))
    }

    async fn replace_schedule(&self, new: Schedule, audit: AuditEntry) -> Result<PlanWritten> {
        let doing = "change a schedule";
        let mut tx = self.write(doing).await?;
        if schedule(&mut tx, new.id).await?.is_none_or(|known| known.host_id != new.host_id) {
            return Ok(PlanWritten::NotFound);
        }
        if let Some(refusal) = schedule_refused(&mut tx, &new).await? {
            return Ok(refusal);
        }
        sqlx::query(
            "update schedules set name = ?2, name_key = ?3, cron = ?4, timezone = ?5, enabled = ?6, group_ids = ?7, \
             repo_ids = ?8, updated_at = ?9 where id = ?1",
        )
        .bind(new.id.to_string())
        .bind(new.name.as_str())
        .bind(name_key(&new.name))
        .bind(new.cron.as_str())
        .bind(new.timezone.name())
        .bind(new.enabled)
        .bind(json("ids", &new.group_ids)?)
        .bind(new.repo_ids.as_ref().map(|ids| json("ids", ids)).transpose()?)
        .bind(new.updated_at.as_millis())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
        let version = hosts::raise_plan_version(&mut tx, new.host_id).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(PlanWritten::Done(version))
    }

    async fn delete_schedule(&self, host_id: HostId, id: ScheduleId, audit: AuditEntry) -> Result<bool> {
        let doing = "delete a schedule";
        let mut tx = self.write(doing).await?;
        let gone = sqlx::query("delete from schedules where id = ?1 and host_id = ?2")
            .bind(id.to_string())
            .bind(host_id.to_string())
            .execute(&mut *tx)
            .await
            .doing(doing)?;
        if gone.rows_affected() == 0 {
            return Ok(false);
        }
        hosts::raise_plan_version(&mut tx, host_id).await?;
        audit::write(&mut tx, &audit).await?;
        tx.commit().await.doing(doing)?;
        Ok(true)
    }
}

/// Counts slots of a schedule that passed without a run, once however often that is told; answers whether it was news. Whether the runs of
/// the slot that ran in their stead are new is no matter: the agent may have told of those it did by itself before.
pub(super) async fn count_missed(
    connection: &mut SqliteConnection,
    host_id: HostId,
    missed: &MissedSlots,
) -> Result<bool> {
    let counted = sqlx::query(
        "update schedules set missed = missed + ?2, missed_until = ?3
         where id = ?1 and host_id = ?4 and (missed_until is null or missed_until < ?3)",
    )
    .bind(missed.schedule_id.to_string())
    .bind(rows::integer(missed.count))
    .bind(missed.until.as_millis())
    .bind(host_id.to_string())
    .execute(connection)
    .await
    .doing("count missed slots")?;
    Ok(counted.rows_affected() > 0)
}

/// A source group.
pub(super) async fn group(connection: &mut SqliteConnection, id: GroupId) -> Result<Option<SourceGroup>> {
    let found = sqlx::query("select * from source_groups where id = ?1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a source group")?;
    found.as_ref().map(rows::group).transpose()
}

/// The source groups of a host, by name.
pub(super) async fn groups_of(
    connection: &mut SqliteConnection,
    host_id: HostId,
) -> Result<Vec<SourceGroup>> {
    let found = sqlx::query("select * from source_groups where host_id = ?1 order by name_key")
        .bind(host_id.to_string())
        .fetch_all(connection)
        .await
        .doing("list the source groups of a host")?;
    found.iter().map(rows::group).collect()
}

async fn schedule(connection: &mut SqliteConnection, id: ScheduleId) -> Result<Option<Schedule>> {
    let found = sqlx::query("select * from schedules where id = ?1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await
        .doing("read a schedule")?;
    found.as_ref().map(rows::schedule).transpose()
}

async fn schedules_of(connection: &mut SqliteConnection, host_id: HostId) -> Result<Vec<Schedule>> {
    let found = sqlx::query("select * from schedules where host_id = ?1 order by name_key")
        .bind(host_id.to_string())
        .fetch_all(connection)
        .await
        .doing("list the schedules of a host")?;
    found.iter().map(rows::schedule).collect()
}

async fn group_taken(connection: &mut SqliteConnection, group: &SourceGroup) -> Result<Option<PlanWritten>> {
    let taken: Option<bool> = sqlx::query_scalar(
        "select max(name_key = ?3) from source_groups where host_id = ?1 and id <> ?2 and (name_key = ?3 or tag = ?4)",
    )
    .bind(group.host_id.to_string())
    .bind(group.id.to_string())
    .bind(name_key(&group.name))
    .bind(group.tag.as_str())
    .fetch_one(connection)
    .await
    .doing("look for a source group of that name")?;
    Ok(taken.map(|name| if name { PlanWritten::NameTaken } else { PlanWritten::TagTaken }))
}

async fn schedule_refused(
    connection: &mut SqliteConnection,
    schedule: &Schedule,
) -> Result<Option<PlanWritten>> {
    let taken: bool = sqlx::query_scalar(
        "select exists (select 1 from schedules where host_id = ?1 and id <> ?2 and name_key = ?3)",
    )
    .bind(schedule.host_id.to_string())
    .bind(schedule.id.to_string())
    .bind(name_key(&schedule.name))
    .fetch_one(&mut *connection)
    .await
    .doing("look for a schedule of that name")?;
    if taken {
        return Ok(Some(PlanWritten::NameTaken));
    }
    let known: BTreeSet<GroupId> =
        groups_of(connection, schedule.host_id).await?.into_iter().map(|group| group.id).collect();
    let unknown: Vec<GroupId> = schedule.group_ids.iter().filter(|id| !known.contains(id)).copied().collect();
    Ok(if unknown.is_empty() { None } else { Some(PlanWritten::UnknownGroups(unknown)) })
}
