//! Hosts by whether they are in contact.

use restic_manager_core::api::Presence;
use restic_manager_core::id::HostId;
use restic_manager_core::time::Timestamp;
use restic_manager_store::{HostFilter, Seen};

use super::{App, AppError};

/// Which hosts were not connected, and beside which ones that were.
#[derive(Debug, Default)]
pub(super) struct LastAway {
    last: tokio::sync::Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    at: Timestamp,
    online: Vec<HostId>,
    away: Vec<HostId>,
}

impl App {
    /// Leaves the hosts in this filter that are in contact, or not.
    pub(super) async fn in_contact(
        &self,
        presence: Presence,
        filter: HostFilter,
    ) -> Result<HostFilter, AppError> {
        Ok(match presence {
            Presence::Online => HostFilter { among: Some(self.engine.dispatch().online()), ..filter },
            Presence::Offline => {
                HostFilter { among: Some(self.away().await?), seen: Some(Seen::Once), ..filter }
            }
            Presence::NeverSeen => {
                HostFilter { among: Some(self.away().await?), seen: Some(Seen::Never), ..filter }
            }
        })
    }

    /// The hosts that are not connected.
    ///
    /// Few are, of many, so that it is cheap to go on with them. Read anew when somebody came or went, and else as often as the fleet is
    /// looked over, for the sake of new hosts; of many who ask at once one reads.
    pub(super) async fn away(&self) -> Result<Vec<HostId>, AppError> {
        let mut last = self.last_away.last.lock().await;
        let online = self.engine.dispatch().online();
        let now = self.clock.now();
        if let Some(known) = &*last
            && self.last_glance.is_good(known.at, now)
            && known.online == online
        {
            return Ok(known.away.clone());
        }
        let away = self.store.hosts_besides(&online).await?;
        *last = Some(Known { at: now, online, away: away.clone() });
        Ok(away)
    }
}
