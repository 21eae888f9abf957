//! Schedules that back up nowhere.

use restic_manager_core::model::Schedule;
use restic_manager_core::text::DisplayName;
use restic_manager_core::time::{MINUTE, Timestamp};

use super::{App, AppError};

/// How many are named.
const NAMED: u32 = 10;
/// How long they are held while nobody changes anything, in milliseconds.
const HELD_FOR: i64 = MINUTE;

/// The schedules that backed up nowhere when somebody last looked.
#[derive(Debug, Default)]
pub(super) struct LastIdle {
    last: tokio::sync::Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    at: Timestamp,
    /// How often somebody had changed something.
    changes: u64,
    schedules: Vec<(Schedule, DisplayName)>,
}

impl App {
    /// The first schedules that back up nowhere, with the names of their hosts.
    ///
    /// To find them every schedule is looked at, and only people change which they are: they are read anew when somebody changed something,
    /// and else once a minute.
    pub(super) async fn idle_schedules(&self) -> Result<Vec<(Schedule, DisplayName)>, AppError> {
        let mut last = self.last_idle.last.lock().await;
        let (now, changes) = (self.clock.now(), self.last_glance.revoked());
        if let Some(known) = &*last
            && self.last_glance.holds()
            && known.changes == changes
            && (0..HELD_FOR).contains(&now.millis_since(known.at))
        {
            return Ok(known.schedules.clone());
        }
        let schedules = self.store.schedules_without_target(NAMED).await?;
        *last = Some(Known { at: now, changes, schedules: schedules.clone() });
        Ok(schedules)
    }
}
