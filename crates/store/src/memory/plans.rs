//! Source groups and schedules.

use async_trait::async_trait;
use restic_manager_core::id::{GroupId, HostId, ScheduleId};
use restic_manager_core::model::{AuditEntry, Schedule, SourceGroup};

use super::{MemoryStore, State};
use crate::names::name_key;
use crate::{GroupDeleted, HostPlan, PlanWritten, Plans, Result};

#[async_trait]
impl Plans for MemoryStore {
    async fn plan(&self, host_id: HostId) -> Result<Option<HostPlan>> {
        let state = self.state();
        let Some(host) = state.hosts.get(&host_id) else { return Ok(None) };
        let mut groups: Vec<_> =
            state.groups.values().filter(|group| group.host_id == host_id).cloned().collect();
        groups.sort_by_cached_key(|group| (name_key(&group.name), group.id));
        let schedules = state.schedules_by_name(|schedule| schedule.host_id == host_id);
        let attachments = state.attachments_of_host(host_id).into_iter().cloned().collect();
        Ok(Some(HostPlan { host: host.clone(), groups, schedules, attachments }))
    }

    async fn enabled_schedules(&self, host_ids: &[HostId]) -> Result<Vec<Schedule>> {
        let state = self.state();
        let asked = |schedule: &&Schedule| schedule.enabled && host_ids.contains(&schedule.host_id);
        let mut found: Vec<_> = state.schedules.values().filter(asked).cloned().collect();
        found.sort_by_key(|schedule| (schedule.host_id, schedule.id));
        Ok(found)
    }

    async fn group(&self, id: GroupId) -> Result<Option<SourceGroup>> {
        Ok(self.state().groups.get(&id).cloned())
    }

    async fn create_group(&self, group: SourceGroup, audit: AuditEntry) -> Result<PlanWritten> {
        let mut state = self.state();
        if !state.hosts.contains_key(&group.host_id) {
            return Ok(PlanWritten::NotFound);
        }
        if state.group_named_like(&group) {
            return Ok(PlanWritten::NameTaken);
        }
        if state.groups.values().any(|other| other.host_id == group.host_id && other.tag == group.tag) {
            return Ok(PlanWritten::TagTaken);
        }
        let host_id = group.host_id;
        state.groups.insert(group.id, group);
        state.wake_repos_of(host_id, audit.at);
        Ok(state.written(host_id, audit))
    }

    async fn replace_group(&self, group: SourceGroup, audit: AuditEntry) -> Result<PlanWritten> {
        let mut state = self.state();
        let Some(stored) = state.groups.get(&group.id).filter(|stored| stored.host_id == group.host_id)
        else {
            return Ok(PlanWritten::NotFound);
        };
        if state.group_named_like(&group) {
            return Ok(PlanWritten::NameTaken);
        }
        let (host_id, tag, created_at) = (stored.host_id, stored.tag.clone(), stored.created_at);
        state.groups.insert(group.id, SourceGroup { tag, created_at, ..group });
        state.wake_repos_of(host_id, audit.at);
        Ok(state.written(host_id, audit))
    }

    async fn delete_group(&self, host_id: HostId, id: GroupId, audit: AuditEntry) -> Result<GroupDeleted> {
        let mut state = self.state();
        if state.groups.get(&id).is_none_or(|group| group.host_id != host_id) {
            return Ok(GroupDeleted::NotFound);
        }
        let users = state.schedules_by_name(|schedule| schedule.group_ids.contains(&id));
        if !users.is_empty() {
            return Ok(GroupDeleted::InUse(users));
        }
        state.forget_group(id);
        state.wake_repos_of(host_id, audit.at);
        state.written(host_id, audit);
        Ok(GroupDeleted::Done)
    }

    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>> {
        Ok(self.state().schedules.get(&id).cloned())
    }

    async fn create_schedule(&self, schedule: Schedule, audit: AuditEntry) -> Result<PlanWritten> {
        let mut state = self.state();
        if !state.hosts.contains_key(&schedule.host_id) {
            return Ok(PlanWritten::NotFound);
        }
        Ok(state.put_schedule(schedule, audit))
    }

    async fn replace_schedule(&self, schedule: Schedule, audit: AuditEntry) -> Result<PlanWritten> {
        let mut state = self.state();
        let Some(stored) = state.schedules.get(&schedule.id).filter(|s| s.host_id == schedule.host_id) else {
            return Ok(PlanWritten::NotFound);
        };
        let (created_at, missed) = (stored.created_at, stored.missed);
        Ok(state.put_schedule(Schedule { created_at, missed, ..schedule }, audit))
    }

    async fn delete_schedule(&self, host_id: HostId, id: ScheduleId, audit: AuditEntry) -> Result<bool> {
        let mut state = self.state();
        if state.schedules.get(&id).is_none_or(|schedule| schedule.host_id != host_id) {
            return Ok(false);
        }
        state.schedules.remove(&id);
        state.written(host_id, audit);
        Ok(true)
    }
}

impl State {
    fn schedules_by_name(&self, wanted: impl Fn(&Schedule) -> bool) -> Vec<Schedule> {
        let mut found: Vec<_> =
            self.schedules.values().filter(|schedule| wanted(schedule)).cloned().collect();
        found.sort_by_cached_key(|schedule| (name_key(&schedule.name), schedule.id));
        found
    }

    fn group_named_like(&self, group: &SourceGroup) -> bool {
        let key = name_key(&group.name);
        self.groups.values().any(|other| {
            other.host_id == group.host_id && other.id != group.id && name_key(&other.name) == key
        })
    }

    fn put_schedule(&mut self, schedule: Schedule, audit: AuditEntry) -> PlanWritten {
        let host_id = schedule.host_id;
        let key = name_key(&schedule.name);
        let mut others = self.schedules.values().filter(|s| s.host_id == host_id && s.id != schedule.id);
        if others.any(|other| name_key(&other.name) == key) {
            return PlanWritten::NameTaken;
        }
        let foreign = |id: &&GroupId| self.groups.get(id).is_none_or(|group| group.host_id != host_id);
        let unknown: Vec<_> = schedule.group_ids.iter().filter(foreign).copied().collect();
        if !unknown.is_empty() {
            return PlanWritten::UnknownGroups(unknown);
        }
        self.schedules.insert(schedule.id, schedule);
        self.written(host_id, audit)
    }

    fn written(&mut self, host_id: HostId, audit: AuditEntry) -> PlanWritten {
        let Some(version) = self.raise_plan(host_id) else { return PlanWritten::NotFound };
        self.write_audit(audit);
        PlanWritten::Done(version)
    }

    /// Removes a group and keeps its name for the jobs that speak of it.
    pub(super) fn forget_group(&mut self, id: GroupId) {
        if let Some(group) = self.groups.remove(&id) {
            self.former.groups.insert(id, group.name);
        }
    }
}
