//! What goes over the one WebSocket between an agent and the server.
//!
//! Every frame is a JSON text `{v, type, seq?, payload}`. Messages with a `seq` are *reliable*: the agent keeps them on disk
//! until the server acknowledged that number, and the server acknowledges only after its commit. All others may get
//! lost. Unknown types are reported as such and ignored; a known type of the wrong shape is an error that names the field.

mod agent;
mod frame;
mod server;

pub use agent::{
    AgentMessage, AgentVersions, Heartbeat, Hello, JobFinished, JobProgress, JobRefused, JobStarted,
    LogBatch, LogGap, RefusedReason, RepoStatsReport, RunningJob, ScheduleAck, ScheduleFire, SlotClaim,
    SnapshotsReport,
};
pub use frame::{Decoded, Frame, FrameError, MAX_FRAME_BYTES, decode_agent, decode_server, following};
pub use server::{
    Ack, AutoUnlock, BackupSpec, CheckSpec, CommandCancel, CommandRun, ConfigUpdate, ForgetGroupSpec,
    ForgetMode, ForgetSpec, JobSpec, PlanGroup, PlanRepo, PlanSchedule, ScheduleSet, ServerMessage,
    UnlockSpec, Welcome, WireError,
};

/// The newest protocol this build speaks.
pub const PROTOCOL: u16 = 1;
/// The oldest protocol this build still speaks.
pub const OLDEST_PROTOCOL: u16 = 1;
