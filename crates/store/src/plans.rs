//! Source groups, schedules, and the plan of a host that is made of them.

use async_trait::async_trait;
use restic_manager_core::id::{GroupId, HostId, ScheduleId};
use restic_manager_core::model::{Attachment, AuditEntry, Host, Schedule, SourceGroup};

use crate::Result;

/// What became of a group or a schedule that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanWritten {
    /// Written; the plan version of the host was raised to this.
    Done(i64),
    /// There is no such host, group or schedule.
    NotFound,
    /// Another one of the host has that name.
    NameTaken,
    /// Another group of the host has that tag.
    TagTaken,
    /// The schedule names groups that the host does not have: these, in its order.
    UnknownGroups(Vec<GroupId>),
}

/// Whether a group could be deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupDeleted {
    /// Gone.
    Done,
    /// There is no such group.
    NotFound,
    /// These schedules use it, by name.
    InUse(Vec<Schedule>),
}

/// All that the plan of a host is made of, read at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HostPlan {
    /// The host, with the plan's version.
    pub host: Host,
    /// Its groups by name.
    pub groups: Vec<SourceGroup>,
    /// Its schedules by name, disabled ones included.
    pub schedules: Vec<Schedule>,
    /// Its attachments, primary first, then by repository name.
    pub attachments: Vec<Attachment>,
}

/// Source groups and schedules. Every write raises the host's plan version, a deletion too; what is refused raises nothing.
#[async_trait]
pub trait Plans: Send + Sync {
    /// The whole plan of a host.
    async fn plan(&self, host_id: HostId) -> Result<Option<HostPlan>>;
    /// The enabled schedules of many hosts, by host id, then schedule id.
    async fn enabled_schedules(&self, host_ids: &[HostId]) -> Result<Vec<Schedule>>;

    /// A group.
    async fn group(&self, id: GroupId) -> Result<Option<SourceGroup>>;
    /// Makes a group. Names are unique on the host without regard to case, tags as they are.
    async fn create_group(&self, group: SourceGroup, audit: AuditEntry) -> Result<PlanWritten>;
    /// Replaces a group; its host, tag and `created_at` stay. A group of another host than the one it names is not found.
    async fn replace_group(&self, group: SourceGroup, audit: AuditEntry) -> Result<PlanWritten>;
    /// Deletes a group of the host that no schedule uses; jobs of it that wait are withdrawn when they are to be dispatched.
    async fn delete_group(&self, host_id: HostId, id: GroupId, audit: AuditEntry) -> Result<GroupDeleted>;

    /// A schedule.
    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>>;
    /// Makes a schedule. Names are unique on the host without regard to case.
    async fn create_schedule(&self, schedule: Schedule, audit: AuditEntry) -> Result<PlanWritten>;
    /// Replaces a schedule; its host and `created_at` stay. A schedule of another host than the one it names is not found.
    async fn replace_schedule(&self, schedule: Schedule, audit: AuditEntry) -> Result<PlanWritten>;
    /// Deletes a schedule of the host; its runs and jobs stay readable. False when there is none.
    async fn delete_schedule(&self, host_id: HostId, id: ScheduleId, audit: AuditEntry) -> Result<bool>;
}
