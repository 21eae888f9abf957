//! Source groups and schedules.

use restic_manager_core::api::{Page, ScheduleView, ScheduleWrite, SourceGroupWrite};
use restic_manager_core::id::{GroupId, HostId, RepoId, ScheduleId};
use restic_manager_core::model::{MissedSoFar, Role, Schedule, SourceGroup};
use restic_manager_core::schedule::Cadence;
use restic_manager_core::text::{DisplayName, Tag};
use restic_manager_store::{GroupDeleted, HostPlan, PlanWritten};

use super::page::slice;
use super::{App, AppError, Caller, ErrorKind, ListQuery};

/// How many coming slots of a schedule are shown.
const UPCOMING: usize = 5;

impl App {
    /// The source groups of a host by name.
    ///
    /// # Errors
    ///
    /// When there is no such host, a limit is out of bounds, or the store fails.
    pub async fn groups(&self, host_id: HostId, list: &ListQuery) -> Result<Page<SourceGroup>, AppError> {
        let plan = self.plan(host_id).await?;
        slice(plan.groups, list, |group| place(&group.name, group.id), |group| group)
    }

    /// A source group of a host.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn group(&self, host_id: HostId, id: GroupId) -> Result<SourceGroup, AppError> {
        let group = self.store.group(id).await?.filter(|group| group.host_id == host_id);
        group.ok_or_else(|| AppError::not_found("source group", id))
    }

    /// Makes a source group; the plan reaches a connected agent at once.
    ///
    /// # Errors
    ///
    /// When a value is not possible, or the name or tag is taken.
    pub async fn create_group(
        &self,
        caller: &Caller,
        host_id: HostId,
        write: SourceGroupWrite,
    ) -> Result<SourceGroup, AppError> {
        self.known_host(host_id).await?;
        check_group(&write)?;
        let now = self.clock.now();
        let tag = match &write.tag {
            Some(tag) => tag.clone(),
            None => derived_tag(&write.name)?,
        };
        let id = GroupId::mint(now, self.engine.id_bytes());
        let group = group_of(write, id, host_id, tag, now, now);
        let audit = self.group_audit(caller, "source_group.created", &group);
        let written = self.store.create_group(group.clone(), audit).await?;
        self.plan_written(host_id, "source group", &group.name, Some(&group.tag), written).await?;
        Ok(group)
    }

    /// Replaces a source group; its tag stays.
    ///
    /// # Errors
    ///
    /// When there is none, a value is not possible, the tag differs, or the name is taken.
    pub async fn replace_group(
        &self,
        caller: &Caller,
        host_id: HostId,
        id: GroupId,
        write: SourceGroupWrite,
    ) -> Result<SourceGroup, AppError> {
        let old = self.group(host_id, id).await?;
        check_group(&write)?;
        if let Some(tag) = write.tag.as_ref().filter(|tag| **tag != old.tag) {
            return Err(AppError::invalid(
                "tag",
                format!(
                    "it is `{}` and cannot become `{tag}`: the snapshots of this group carry it",
                    old.tag
                ),
            )
            .hint("make a new source group for the new tag"));
        }
        let group = group_of(write, id, host_id, old.tag, old.created_at, self.clock.now());
        let audit = self.group_audit(caller, "source_group.changed", &group);
        let written = self.store.replace_group(group.clone(), audit).await?;
        self.plan_written(host_id, "source group", &group.name, Some(&group.tag), written).await?;
        Ok(group)
    }

    /// Deletes a source group that no schedule uses; its snapshots stay.
    ///
    /// # Errors
    ///
    /// When there is none, or schedules use it.
    pub async fn delete_group(&self, caller: &Caller, host_id: HostId, id: GroupId) -> Result<(), AppError> {
        let group = self.group(host_id, id).await?;
        let audit = self.group_audit(caller, "source_group.deleted", &group);
        match self.store.delete_group(host_id, id, audit).await? {
            GroupDeleted::Done => Ok(self.engine.push_plan(host_id).await?),
            GroupDeleted::NotFound => Err(AppError::not_found("source group", id)),
            GroupDeleted::InUse(schedules) => {
                let names: Vec<String> =
                    schedules.iter().map(|schedule| format!("`{}`", schedule.name)).collect();
                Err(AppError::new(
                    ErrorKind::Conflict,
                    "group_in_use",
                    format!("source group `{}` is used by schedules: {}", group.name, names.join(", ")),
                )
                .hint("take it out of these schedules or delete them first"))
            }
        }
    }

    /// A repository that was named before may have left the host since: the rest of the schedule can be changed all the same.
    async fn check_schedule(
        &self,
        plan: &HostPlan,
        write: &ScheduleWrite,
        old: Option<&Schedule>,
    ) -> Result<(), AppError> {
        if write.group_ids.is_empty() {
            return Err(AppError::invalid("group_ids", "a schedule needs at least one source group"));
        }
        let unknown: Vec<GroupId> = write
            .group_ids
            .iter()
            .filter(|id| !plan.groups.iter().any(|group| group.id == **id))
            .copied()
            .collect();
        if !unknown.is_empty() {
            return Err(unknown_groups(&unknown));
        }
        let kept = old.and_then(|old| old.repo_ids.as_deref()).unwrap_or_default();
        let attached = |repo_id: &RepoId| {
            plan.attachments.iter().any(|attachment| {
                attachment.repo_id == *repo_id
                    && match attachment.role {
                        Role::Primary | Role::Copy => true,
                        Role::Maintenance => false,
                    }
            })
        };
        let mut added = write.repo_ids.iter().flatten().filter(|repo_id| !kept.contains(repo_id));
        if let Some(repo_id) = added.find(|repo_id| !attached(repo_id)) {
            let repo = self.store.repo(*repo_id).await?;
            let name = repo.map_or_else(|| repo_id.to_string(), |repo| repo.name.to_string());
            let why = format!("the host does not back up to repository `{name}`");
            return Err(AppError::invalid("repo_ids", why)
                .hint("attach the host to it with the role primary or copy"));
        }
        Ok(())
    }

    /// The schedules of a host by name.
    ///
    /// # Errors
    ///
    /// When there is no such host, or the store fails.
    pub async fn schedules(&self, host_id: HostId, list: &ListQuery) -> Result<Page<ScheduleView>, AppError> {
        let plan = self.plan(host_id).await?;
        let key = |schedule: &Schedule| place(&schedule.name, schedule.id);
        slice(plan.schedules, list, key, |schedule| self.schedule_view(schedule))
    }

    /// A schedule of a host.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn schedule(&self, host_id: HostId, id: ScheduleId) -> Result<ScheduleView, AppError> {
        let schedule = self.store.schedule(id).await?.filter(|schedule| schedule.host_id == host_id);
        let schedule = schedule.ok_or_else(|| AppError::not_found("schedule", id))?;
        Ok(self.schedule_view(schedule))
    }

    /// Makes a schedule; the plan reaches a connected agent at once.
    ///
    /// # Errors
    ///
    /// When a value is not possible, or the name is taken.
    pub async fn create_schedule(
        &self,
        caller: &Caller,
        host_id: HostId,
        write: ScheduleWrite,
    ) -> Result<ScheduleView, AppError> {
        let plan = self.plan(host_id).await?;
        self.check_schedule(&plan, &write, None).await?;
        let now = self.clock.now();
        let id = ScheduleId::mint(now, self.engine.id_bytes());
        let schedule = Schedule {
            id,
            host_id,
            name: write.name,
            cron: write.cron,
            timezone: write.timezone,
            enabled: write.enabled,
            group_ids: write.group_ids,
            repo_ids: write.repo_ids,
            created_at: now,
            updated_at: now,
            missed: MissedSoFar::default(),
        };
        let audit = self.schedule_audit(caller, "schedule.created", &schedule);
        let written = self.store.create_schedule(schedule.clone(), audit).await?;
        self.plan_written(host_id, "schedule", &schedule.name, None, written).await?;
        Ok(self.schedule_view(schedule))
    }

    /// Replaces a schedule. It fires no slot from before the change.
    ///
    /// # Errors
    ///
    /// When there is none, a value is not possible, or the name is taken.
    pub async fn replace_schedule(
        &self,
        caller: &Caller,
        host_id: HostId,
        id: ScheduleId,
        write: ScheduleWrite,
    ) -> Result<ScheduleView, AppError> {
        let old = self.schedule(host_id, id).await?.schedule;
        let plan = self.plan(host_id).await?;
        self.check_schedule(&plan, &write, Some(&old)).await?;
        let schedule = Schedule {
            name: write.name,
            cron: write.cron,
            timezone: write.timezone,
            enabled: write.enabled,
            group_ids: write.group_ids,
            repo_ids: write.repo_ids,
            updated_at: self.clock.now(),
            ..old
        };
        let audit = self.schedule_audit(caller, "schedule.changed", &schedule);
        let written = self.store.replace_schedule(schedule.clone(), audit).await?;
        self.plan_written(host_id, "schedule", &schedule.name, None, written).await?;
        Ok(self.schedule_view(schedule))
    }

    /// Deletes a schedule; its runs and jobs stay readable.
    ///
    /// # Errors
    ///
    /// When there is none, or the store fails.
    pub async fn delete_schedule(
        &self,
        caller: &Caller,
        host_id: HostId,
        id: ScheduleId,
    ) -> Result<(), AppError> {
        let schedule = self.schedule(host_id, id).await?.schedule;
        let audit = self.schedule_audit(caller, "schedule.deleted", &schedule);
        if !self.store.delete_schedule(host_id, id, audit).await? {
            return Err(AppError::not_found("schedule", id));
        }
        Ok(self.engine.push_plan(host_id).await?)
    }

    pub(super) async fn plan(&self, host_id: HostId) -> Result<HostPlan, AppError> {
        self.store.plan(host_id).await?.ok_or_else(|| AppError::not_found("host", host_id))
    }

    pub(super) fn schedule_view(&self, schedule: Schedule) -> ScheduleView {
        let upcoming = if schedule.enabled {
            let cadence = Cadence { cron: schedule.cron.clone(), zone: schedule.timezone.clone() };
            cadence.upcoming(UPCOMING, self.clock.now())
        } else {
            Vec::new()
        };
        ScheduleView { schedule, upcoming }
    }

    fn group_audit(
        &self,
        caller: &Caller,
        action: &str,
        group: &SourceGroup,
    ) -> restic_manager_core::model::AuditEntry {
        self.audit_of(
            caller,
            action,
            ("source_group", group.id.to_string()),
            [
                ("name", group.name.to_string().into()),
                ("host_id", group.host_id.to_string().into()),
                ("includes", serde_json::to_value(&group.includes).unwrap_or_default()),
                ("keep", serde_json::to_value(group.keep).unwrap_or_default()),
            ],
        )
    }

    fn schedule_audit(
        &self,
        caller: &Caller,
        action: &str,
        schedule: &Schedule,
    ) -> restic_manager_core::model::AuditEntry {
        self.audit_of(
            caller,
            action,
            ("schedule", schedule.id.to_string()),
            [
                ("name", schedule.name.to_string().into()),
                ("host_id", schedule.host_id.to_string().into()),
                ("cron", schedule.cron.to_string().into()),
                ("timezone", schedule.timezone.name().into()),
                ("enabled", schedule.enabled.into()),
            ],
        )
    }

    async fn plan_written(
        &self,
        host_id: HostId,
        what: &str,
        name: &DisplayName,
        tag: Option<&Tag>,
        written: PlanWritten,
    ) -> Result<(), AppError> {
        match written {
            PlanWritten::Done(_) => Ok(self.engine.push_plan(host_id).await?),
            PlanWritten::NotFound => Err(AppError::not_found(what, name)),
            PlanWritten::NameTaken => Err(AppError::name_taken(what, name)),
            PlanWritten::TagTaken => Err(AppError::new(
                ErrorKind::Conflict,
                "tag_taken",
                format!(
                    "another source group of the host has the tag `{}`",
                    tag.map(Tag::as_str).unwrap_or_default()
                ),
            )
            .hint("give another `tag`")),
            PlanWritten::UnknownGroups(ids) => Err(unknown_groups(&ids)),
        }
    }
}

/// By name without regard to case, then id.
fn place(name: &DisplayName, id: impl std::fmt::Display) -> String {
    format!("{} {id}", name.as_str().to_lowercase())
}

fn group_of(
    write: SourceGroupWrite,
    id: GroupId,
    host_id: HostId,
    tag: Tag,
    created_at: restic_manager_core::time::Timestamp,
    updated_at: restic_manager_core::time::Timestamp,
) -> SourceGroup {
    SourceGroup {
        id,
        host_id,
        name: write.name,
        tag,
        includes: write.includes,
        excludes: write.excludes,
        options: write.options,
        keep: write.keep,
        retry_max: write.retry_max,
        retry_backoff_seconds: write.retry_backoff_seconds,
        created_at,
        updated_at,
    }
}

fn check_group(write: &SourceGroupWrite) -> Result<(), AppError> {
    if write.includes.is_empty() {
        return Err(AppError::invalid("includes", "a source group needs at least one path")
            .hint("name a folder such as /home"));
    }
    if !(1..=20).contains(&write.retry_max) {
        return Err(AppError::invalid("retry_max", format!("{} is not between 1 and 20", write.retry_max)));
    }
    if !(10..=1800).contains(&write.retry_backoff_seconds) {
        let why = format!("{} is not between 10 and 1800", write.retry_backoff_seconds);
        return Err(AppError::invalid("retry_backoff_seconds", why));
    }
    Ok(())
}

fn unknown_groups(ids: &[GroupId]) -> AppError {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    AppError::invalid("group_ids", format!("the host has no source group {}", ids.join(", ")))
}

/// A tag from a name: letters and digits stay, the rest becomes `-`.
fn derived_tag(name: &DisplayName) -> Result<Tag, AppError> {
    let mut text = String::new();
    for c in name.as_str().to_lowercase().chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') {
            text.push(c);
        } else if !text.ends_with('-') && !text.is_empty() {
            text.push('-');
        }
    }
    let text: String = text.trim_matches('-').chars().take(64).collect();
    Tag::new(text).map_err(|_| {
        AppError::invalid("tag", format!("no tag can be made of the name `{name}`"))
            .hint("give a `tag` of letters, digits, `-`, `_`, `.`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_made_of_a_name() {
        let tag = |name: &str| derived_tag(&DisplayName::new(name).unwrap()).map(|tag| tag.to_string());
        assert_eq!(tag("Home & Mail (2)").unwrap(), "home-mail-2");
        assert_eq!(tag("db.v1_x").unwrap(), "db.v1_x");
        assert!(tag("日本").is_err());
    }
}
