//! What goes wrong, and what people do: drawn from the seed.

use restic_manager_core::id::{JobId, RepoId, ScheduleId};
use restic_manager_core::time::{HOUR, MINUTE, SECOND};
use restic_manager_server::app::MaintenanceAsk;
use restic_manager_store::{JobFilter, PageRequest};

use crate::fabric::{Event, Fabric};
use crate::history::Version;
use crate::server::CrashPoint;
use crate::when::{BEGIN, Cadence, When};
use crate::world::World;
use crate::{fleet, now_or_never};

/// A turn of fate.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// The next one is drawn.
    Next,
    /// All that is broken is mended, and nothing breaks any more.
    Heals,
    /// A line is mended.
    Mends(usize),
    /// A machine wakes up, having slept since then.
    Wakes(usize, i64),
    /// A machine is switched on again.
    Boots(usize),
    /// A repository comes back.
    RepoBack(RepoId),
    /// A server process begins.
    ServerStarts,
    /// It dies at the latest now.
    ServerCrashes,
    /// It is too busy for anything: its disk stalls.
    ServerSticks,
}

impl World {
    /// Fate takes its turn.
    pub fn fate(&mut self, fate: Fate) {
        match fate {
            Fate::Next => {
                if self.fabric.troubled {
                    self.strike();
                    let gap = self.fabric.dice.between(1, 2 * self.gap);
                    self.fabric.after(gap, Event::Fate(Fate::Next));
                }
            }
            Fate::Heals => self.heal(),
            Fate::Mends(host) => self.fabric.mend(host),
            Fate::Wakes(host, since) => self.wake(host, since),
            Fate::Boots(host) => {
                self.hosts[host].on = true;
                self.hosts[host].start(&mut self.fabric);
            }
            Fate::RepoBack(repo) => self.fabric.repos.come_back(repo),
            Fate::ServerStarts => self.server.start(&mut self.fabric),
            Fate::ServerCrashes => {
                if self.server.crash_at.is_some() {
                    self.server.crash(&mut self.fabric);
                }
            }
            Fate::ServerSticks => {
                // About as long as an agent waits before it does for itself what nobody acknowledged.
                let lasts = self.fabric.dice.between(56 * SECOND, 64 * SECOND);
                self.fabric.note(|| format!("the server is stuck for {lasts} ms"));
                self.server.stuck_until = self.fabric.now + lasts;
            }
        }
    }

    fn heal(&mut self) {
        let fabric = &mut self.fabric;
        fabric.note(|| "everything heals".into());
        fabric.troubled = false;
        self.server.crash_at = None;
        self.server.start(fabric);
        for repo in &self.repos {
            fabric.repos.is_back(*repo);
        }
        for host in 0..self.hosts.len() {
            self.fabric.is_whole(host);
            self.hosts[host].dies_in = None;
            if let Some(since) = self.hosts[host].slept_at {
                self.wake(host, since);
            }
            self.hosts[host].on = true;
            self.hosts[host].start(&mut self.fabric);
        }
    }

    fn strike(&mut self) {
        let host = self.fabric.dice.index(self.hosts.len());
        match self.fabric.dice.between(0, 100) {
            0..22 => self.cut(host),
            22..28 => self.partition(),
            28..42 => self.kill_agent(host),
            42..50 => self.reboot(host),
            50..62 => self.sleep(host),
            62..72 => self.kill_server(),
            72..76 => self.stick_server(),
            76..80 => self.repo_down(),
            80..88 => self.cancel(),
            88..92 => self.press(),
            _rest => self.edit(host),
        }
    }

    fn cut(&mut self, host: usize) {
        let lasts = lasts(&mut self.fabric);
        self.fabric.note(|| format!("the line of host {host} is cut for {} s", lasts / SECOND));
        self.fabric.cut(host);
        self.fabric.after(lasts, Event::Fate(Fate::Mends(host)));
    }

    fn partition(&mut self) {
        let lasts = lasts(&mut self.fabric);
        self.fabric.note(|| format!("half of the lines are cut for {} s", lasts / SECOND));
        for host in 0..self.hosts.len() {
            if self.fabric.dice.chance(500) {
                self.fabric.cut(host);
                self.fabric.after(lasts, Event::Fate(Fate::Mends(host)));
            }
        }
    }

    fn kill_agent(&mut self, host: usize) {
        if self.fabric.dice.chance(700) {
            let writes = self.fabric.dice.between(0, 12);
            self.hosts[host].dies_in = u32::try_from(writes).ok();
            return;
        }
        self.hosts[host].crash(&mut self.fabric);
        let wait = self.fabric.dice.between(SECOND, 20 * MINUTE);
        self.fabric.after(wait, Event::AgentStarts(host));
    }

    fn reboot(&mut self, host: usize) {
        if !self.hosts[host].on || !self.hosts[host].awake {
            return;
        }
        let off = match self.fabric.dice.chance(300) {
            true => self.fabric.dice.between(HOUR, 30 * HOUR),
            false => self.fabric.dice.between(30 * SECOND, 10 * MINUTE),
        };
        self.fabric.note(|| format!("host {host} goes down for {} s", off / SECOND));
        let machine = &mut self.hosts[host];
        machine.crash(&mut self.fabric);
        machine.kill_processes(&mut self.fabric);
        machine.on = false;
        self.fabric.after(off, Event::Fate(Fate::Boots(host)));
    }

    fn sleep(&mut self, host: usize) {
        let machine = &mut self.hosts[host];
        if !machine.on || !machine.awake {
            return;
        }
        machine.was_up(&mut self.fabric);
        machine.awake = false;
        self.fabric.unpark(host);
        let lasts = self.fabric.dice.between(5 * MINUTE, 14 * HOUR);
        self.fabric.note(|| format!("host {host} sleeps for {} s", lasts / SECOND));
        let now = self.fabric.now;
        self.hosts[host].slept_at = Some(now);
        self.fabric.after(lasts, Event::Fate(Fate::Wakes(host, now)));
    }

    fn wake(&mut self, host: usize, since: i64) {
        let machine = &mut self.hosts[host];
        if machine.slept_at != Some(since) {
            return;
        }
        (machine.awake, machine.slept_at) = (true, None);
        self.fabric.note(|| format!("host {host} wakes up"));
        machine.processes_slept(self.fabric.now - since, &mut self.fabric);
        match machine.mind {
            Some(_) => machine.woke(&mut self.fabric),
            None => machine.start(&mut self.fabric),
        }
    }

    fn kill_server(&mut self) {
        let points = [
            None,
            Some(CrashPoint::BeforeCommit),
            Some(CrashPoint::AfterCommit),
            Some(CrashPoint::InSend),
            Some(CrashPoint::AfterHello),
        ];
        match self.fabric.dice.pick(&points) {
            None => self.server.crash(&mut self.fabric),
            Some(point) => {
                self.server.crash_at = Some(point);
                self.fabric.after(2 * HOUR, Event::Fate(Fate::ServerCrashes));
            }
        }
    }

    /// When most schedules fire.
    fn stick_server(&mut self) {
        let slot = 5 * MINUTE - (BEGIN + self.fabric.now) % (5 * MINUTE);
        let early = self.fabric.dice.between(0, 2 * SECOND);
        self.fabric.after(slot - early, Event::Fate(Fate::ServerSticks));
    }

    fn repo_down(&mut self) {
        let repo = self.fabric.dice.pick(&self.repos);
        let lasts = self.fabric.dice.between(5 * MINUTE, 9 * HOUR);
        self.fabric.note(|| format!("repository {repo} is out of reach for {} s", lasts / SECOND));
        self.fabric.repos.go_down(repo);
        self.fabric.after(lasts, Event::Fate(Fate::RepoBack(repo)));
    }

    /// Somebody cancels a job that is not over.
    fn cancel(&mut self) {
        let Some(house) = &self.server.house else { return };
        let states = vec![
            restic_manager_core::model::JobState::Queued,
            restic_manager_core::model::JobState::Dispatched,
            restic_manager_core::model::JobState::Running,
        ];
        let filter = JobFilter { states, ..JobFilter::default() };
        let Ok(open) = now_or_never(self.server.store().jobs(&filter, PageRequest::first(50))) else {
            return;
        };
        let jobs: Vec<JobId> = open.items.iter().map(|row| row.job.id).collect();
        if jobs.is_empty() {
            return;
        }
        let job = self.fabric.dice.pick(&jobs);
        self.fabric.note(|| format!("somebody cancels {job}"));
        // Whatever is answered: a job may have ended meanwhile.
        let _answer = now_or_never(house.app.cancel_job(&self.caller, job));
        self.after_press();
    }

    fn press(&mut self) {
        let Some(house) = &self.server.house else { return };
        let repo = self.fabric.dice.pick(&self.repos);
        let ask = match self.fabric.dice.chance(500) {
            true => MaintenanceAsk::Prune,
            false => MaintenanceAsk::Check { subset_pct: None },
        };
        let pressed = now_or_never(house.app.ask_maintenance(&self.caller, repo, ask)).is_ok();
        self.fabric.note(|| format!("somebody presses {ask:?} of {repo}: {pressed}"));
        self.after_press();
    }

    fn after_press(&mut self) {
        self.server.flush(&mut self.fabric);
        self.server.poke(&mut self.fabric);
    }

    fn edit(&mut self, host: usize) {
        let of_host: Vec<ScheduleId> = self
            .fabric
            .history
            .schedules
            .iter()
            .filter(|(_, life)| life.host == host)
            .map(|(id, _)| *id)
            .collect();
        if of_host.is_empty() || self.server.house.is_none() {
            return;
        }
        let id = self.fabric.dice.pick(&of_host);
        let new = match self.fabric.dice.between(0, 3) {
            0 => None,
            _some => Some(any_cadence(&mut self.fabric)),
        };
        self.set_schedule(id, new);
    }

    /// Changes a schedule; none disables it.
    pub fn set_schedule(&mut self, id: ScheduleId, new: Option<Cadence>) {
        let (Some(house), Some(life)) = (&self.server.house, self.fabric.history.schedules.get_mut(&id))
        else {
            return;
        };
        let host_id = self.server.hosts[life.host];
        let Ok(view) = now_or_never(house.app.schedule(host_id, id)) else { return };
        let since = BEGIN + self.fabric.now;
        let write = fleet::changed(view.schedule, new);
        match now_or_never(house.app.replace_schedule(&self.caller, host_id, id, write)) {
            Ok(_) => {
                life.versions.push(Version { since, cadence: new });
                self.fabric.note(|| format!("schedule {id} becomes {new:?}"));
            }
            Err(error) => self.fabric.history.wrong.push(format!("a schedule cannot be edited: {error}")),
        }
        self.after_press();
    }
}

fn lasts(fabric: &mut Fabric) -> i64 {
    match fabric.dice.between(0, 10) {
        0..5 => fabric.dice.between(SECOND, 3 * MINUTE),
        5..8 => fabric.dice.between(MINUTE, HOUR),
        _long => fabric.dice.between(HOUR, 10 * HOUR),
    }
}

/// A cadence of a backup.
pub fn any_cadence(fabric: &mut Fabric) -> Cadence {
    let dice = &mut fabric.dice;
    let minute = 5 * dice.between(0, 12);
    let when = match dice.between(0, 10) {
        0..5 => When::Hours(1, minute),
        5..7 => When::Hours(dice.pick(&[2, 3, 6]), minute),
        7..9 => When::Daily(dice.between(0, 24), minute),
        _rare => When::Weekly(dice.between(0, 7), dice.between(0, 24), minute),
    };
    Cadence { when, zone: dice.index(crate::when::ZONES.len()) }
}
