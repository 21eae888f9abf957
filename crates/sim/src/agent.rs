//! An agent: the core's parts, driven as the real agent drives them, on a disk that survives it.

use std::collections::{BTreeMap, BTreeSet};

use restic_manager_core::duty::{self, Clocks, OFFLINE_GRACE, Situation};
use restic_manager_core::id::{HostId, JobId, RepoId, ScheduleId, SpoolId};
use restic_manager_core::link::{AgentAction, AgentLink, DownCause, LinkState};
use restic_manager_core::slots::{Record, SlotBook};
use restic_manager_core::time::Timestamp;
use restic_manager_core::wire::{
    AgentMessage, AgentVersions, Frame, Heartbeat, Hello, PROTOCOL, RunningJob, ScheduleSet,
};

use crate::fabric::{Event, Fabric};
use crate::jobs::Task;

/// What survives the agent.
#[derive(Debug)]
pub struct Disk {
    /// The life of the spool.
    pub spool_id: SpoolId,
    /// Reliable messages that are not acknowledged.
    pub spool: BTreeMap<u64, AgentMessage>,
    /// The newest number of the spool.
    pub last_seq: u64,
    /// What the server has.
    pub forgotten: u64,
    /// The slot book.
    pub records: Vec<Record>,
    /// The plan.
    pub plan: Option<ScheduleSet>,
    /// Repositories with an everyday credential.
    pub credentials: BTreeSet<RepoId>,
    /// Repositories with an admin credential that may be kept.
    pub admin: BTreeSet<RepoId>,
    /// The folders of jobs.
    pub jobs: BTreeMap<JobId, Task>,
}

/// What dies with the agent.
#[derive(Debug)]
pub struct Mind {
    /// Its end of the link.
    pub link: AgentLink,
    /// The slot book, read from the disk.
    pub book: SlotBook,
    /// The jobs that run.
    pub lanes: BTreeSet<JobId>,
    /// The connection in hand.
    pub conn: u64,
    /// The reliable message sent last on it.
    pub last_sent: Option<u64>,
    /// Admin credentials that may not be kept.
    pub passing: BTreeSet<RepoId>,
    awake_since: i64,
    /// Since when no session stands.
    pub away_since: Option<i64>,
    unanswered: BTreeMap<ScheduleId, (u64, i64)>,
    next_slot: Option<Option<Timestamp>>,
    confirmed: Option<Timestamp>,
    settles_at: Option<i64>,
    own_at: Option<i64>,
}

/// A machine with an agent on it.
#[derive(Debug)]
pub struct Host {
    /// Which of the fleet.
    pub at: usize,
    /// Its id at the server.
    pub id: HostId,
    /// Its name, and that of its machine.
    pub name: String,
    /// Its disk.
    pub disk: Disk,
    /// The agent, while there is one.
    pub mind: Option<Mind>,
    /// Whether the machine is awake.
    pub awake: bool,
    /// Since when it sleeps.
    pub slept_at: Option<i64>,
    /// Whether the machine is on.
    pub on: bool,
    /// Restic processes that live: their number in the record, and how often their end was put off.
    pub processes: BTreeMap<usize, Process>,
    /// The agent dies at this write to its disk.
    pub dies_in: Option<u32>,
    /// It is dying: nothing it does any more has an effect.
    pub dying: bool,
    up_since: Option<i64>,
    timer: u64,
    conns: u64,
}

/// A restic that lives.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// For which job.
    pub job: JobId,
    /// When it will end.
    pub ends_at: i64,
    /// How.
    pub end: restic_manager_core::restic::OutcomeClass,
    /// Tells its end from one that was put off.
    pub version: u64,
}

impl Host {
    /// A machine that was enrolled and never started its agent.
    pub fn new(at: usize, id: HostId, name: String, spool_id: SpoolId) -> Self {
        let disk = Disk {
            spool_id,
            spool: BTreeMap::new(),
            last_seq: 0,
            forgotten: 0,
            records: Vec::new(),
            plan: None,
            credentials: BTreeSet::new(),
            admin: BTreeSet::new(),
            jobs: BTreeMap::new(),
        };
        Self {
            at,
            id,
            name,
            disk,
            mind: None,
            awake: true,
            slept_at: None,
            on: true,
            processes: BTreeMap::new(),
            dies_in: None,
            dying: false,
            up_since: None,
            timer: 0,
            conns: 0,
        }
    }

    /// Whether an agent is there that can do something.
    pub const fn is_up(&self) -> bool {
        self.on && self.awake && self.mind.is_some()
    }

    /// An agent begins, with what the one before left.
    pub fn start(&mut self, fabric: &mut Fabric) {
        if self.mind.is_some() || !self.on || !self.awake {
            return;
        }
        fabric.note(|| format!("{}: the agent starts", self.name));
        let mut book = SlotBook::default();
        self.disk.records.iter().for_each(|record| book.take(record));
        let now = fabric.now;
        let fires = self.disk.spool.iter().filter_map(|(seq, message)| match message {
            AgentMessage::ScheduleFire(fire) => Some((fire.schedule_id, (*seq, now))),
            _other => None,
        });
        fabric.unpark(self.at);
        let link = AgentLink::new(self.disk.forgotten, self.disk.last_seq, fabric.link_now(self.at));
        self.mind = Some(Mind {
            link,
            book,
            lanes: BTreeSet::new(),
            conn: 0,
            last_sent: None,
            passing: BTreeSet::new(),
            awake_since: now,
            away_since: Some(now),
            unanswered: fires.collect(),
            next_slot: None,
            confirmed: None,
            settles_at: None,
            own_at: None,
        });
        self.up_since = Some(now);
        self.take_in_fires();
        self.take_over(fabric);
        self.look(fabric);
    }

    /// The agent before this one may have died between the two writings of a fire.
    fn take_in_fires(&mut self) {
        let spooled = self.disk.spool.values().filter_map(|message| match message {
            AgentMessage::ScheduleFire(fire) => Some((fire.schedule_id, fire.slot)),
            _other => None,
        });
        for (schedule_id, slot) in spooled.collect::<BTreeMap<_, _>>() {
            if self.mind.as_ref().is_some_and(|mind| mind.book.last_fired(schedule_id) != Some(slot)) {
                self.record(Record::Fired { schedule_id, slot });
            }
        }
    }

    /// The agent is gone at once; its disk and its restics stay.
    pub fn crash(&mut self, fabric: &mut Fabric) {
        let Some(mind) = self.mind.take() else { return };
        fabric.note(|| format!("{}: the agent dies", self.name));
        fabric.history.counts.agent_crashes += 1;
        self.was_up(fabric);
        (self.dies_in, self.dying) = (None, false);
        if mind.conn != 0 {
            fabric.tell_server_over(self.at, mind.conn);
        }
    }

    /// Closes the stretch in which the agent was up.
    pub fn was_up(&mut self, fabric: &mut Fabric) {
        if let Some(since) = self.up_since.take() {
            fabric.history.awake.entry(self.at).or_default().push((since, fabric.now));
        }
    }

    /// The machine went on after sleep.
    pub fn woke(&mut self, fabric: &mut Fabric) {
        if let Some(mind) = &mut self.mind {
            mind.awake_since = fabric.now;
            self.up_since = Some(fabric.now);
            // Whatever became of the attempt to connect, it is over.
            if mind.link.state() == LinkState::Connecting {
                self.disconnected(fabric);
            }
        }
        self.look(fabric);
    }

    /// Something is written to the disk; not any more once the agent dies.
    pub fn write(&mut self) -> bool {
        match &mut self.dies_in {
            Some(0) => self.dying = true,
            Some(left) => *left -= 1,
            None => {}
        }
        !self.dying
    }

    /// A record goes to the disk, then into the book.
    pub fn record(&mut self, record: Record) {
        if self.write() {
            if let Some(mind) = &mut self.mind {
                mind.book.take(&record);
            }
            self.disk.records.push(record);
        }
    }

    /// A reliable message goes to the spool.
    pub fn say(&mut self, message: AgentMessage) {
        if self.write() {
            self.disk.last_seq += 1;
            self.disk.spool.insert(self.disk.last_seq, message);
            if let Some(mind) = &mut self.mind {
                mind.link.spooled(self.disk.last_seq);
            }
        }
    }

    /// Does everything whose time has come, and asks to be woken for what comes next.
    pub fn look(&mut self, fabric: &mut Fabric) {
        if !self.is_up() {
            return;
        }
        self.fire(fabric);
        self.work_alone(fabric);
        self.run_link(fabric);
        if self.dying {
            self.crash(fabric);
            let wait = fabric.dice.between(1_000, 600_000);
            fabric.after(wait, Event::AgentStarts(self.at));
            return;
        }
        self.set_timer(fabric);
    }

    fn set_timer(&mut self, fabric: &mut Fabric) {
        let Some(mind) = &self.mind else { return };
        let link = match fabric.nets[self.at].is_parked() {
            true => None,
            false => mind.link.timeout().map(|at| fabric.now + at - fabric.link_now(self.at)),
        };
        let slot = mind.next_slot.flatten().map(|slot| fabric.now + slot.millis_since(fabric.wall()));
        let next = [link, slot, mind.settles_at, mind.own_at].into_iter().flatten().min();
        self.timer += 1;
        if let Some(at) = next {
            let timer = Event::AgentTimer(self.at, self.timer);
            fabric.after((at - fabric.now).max(1), timer);
        }
    }

    /// A timer rang.
    pub fn timer(&mut self, timer: u64, fabric: &mut Fabric) {
        if timer != self.timer || !self.is_up() {
            return;
        }
        let now = fabric.link_now(self.at);
        if let Some(mind) = self.mind.as_mut().filter(|_| !fabric.nets[self.at].is_parked()) {
            mind.link.handle_timeout(now);
        }
        self.look(fabric);
    }

    /// The plan, the clock or the server changed something.
    pub fn slots_changed(&mut self) {
        if let Some(mind) = &mut self.mind {
            mind.next_slot = None;
        }
    }

    fn fire(&mut self, fabric: &mut Fabric) {
        let wall = fabric.wall();
        let (Some(mind), Some(plan)) = (&self.mind, &self.disk.plan) else { return };
        let settled = mind.settles_at.is_some_and(|at| fabric.now >= at);
        if !settled && mind.next_slot.is_some_and(|slot| slot.is_none_or(|slot| wall < slot)) {
            return;
        }
        let clocks = Clocks {
            now: wall,
            awake_for: fabric.now - mind.awake_since,
            not_before: None,
            confirmed: mind.confirmed,
        };
        let fires = duty::fires(plan, &mind.book, &clocks);
        let next = duty::next_slots(plan, wall).first().map(|(slot, _)| *slot);
        let settles_at = fires.settles_in.map(|wait| fabric.now + wait);
        for fire in fires.due {
            fabric.note(|| {
                format!("{}: {} fires {}, {} missed", self.name, fire.schedule_id, fire.slot, fire.missed)
            });
            let (schedule_id, slot) = (fire.schedule_id, fire.slot);
            self.say(AgentMessage::ScheduleFire(fire));
            self.record(Record::Fired { schedule_id, slot });
            let seq = self.disk.last_seq;
            if let Some(mind) = &mut self.mind {
                mind.unanswered.insert(schedule_id, (seq, fabric.now));
            }
        }
        if let Some(mind) = &mut self.mind {
            (mind.next_slot, mind.settles_at) = (Some(next), settles_at);
        }
    }

    fn work_alone(&mut self, fabric: &mut Fabric) {
        let (Some(mind), Some(plan)) = (&mut self.mind, &self.disk.plan) else { return };
        mind.own_at = None;
        if mind.away_since.is_none() && mind.unanswered.is_empty() {
            return;
        }
        let unanswered = mind.unanswered.iter().map(|(id, (_, since))| (*id, fabric.now - since)).collect();
        let situation = Situation {
            plan,
            book: &mind.book,
            away_for: mind.away_since.map(|since| fabric.now - since),
            unanswered: &unanswered,
            grace: OFFLINE_GRACE,
            now: fabric.wall(),
        };
        let own = duty::own_runs(&situation);
        mind.own_at = own.look_in.map(|wait| fabric.now + wait);
        for run in own.start {
            self.begin_own(run, fabric);
        }
    }

    /// Carries out what the link says.
    pub fn run_link(&mut self, fabric: &mut Fabric) {
        while let Some(action) = self.mind.as_mut().and_then(|mind| mind.link.poll()) {
            if self.dying {
                return;
            }
            let conn = self.mind.as_ref().map_or(0, |mind| mind.conn);
            match action {
                AgentAction::Connect => {
                    self.conns += 1;
                    let conn = (self.at as u64) << 32 | self.conns;
                    if let Some(mind) = &mut self.mind {
                        mind.conn = conn;
                    }
                    fabric.connect(self.at, conn);
                }
                AgentAction::SendHello => {
                    let hello = Box::new(self.hello(fabric));
                    fabric.send_up(self.at, conn, Frame::lossy(AgentMessage::Hello(hello)));
                }
                AgentAction::SendHeartbeat => {
                    let beat = Heartbeat { clock: fabric.wall() };
                    let after = self.mind.as_ref().and_then(|mind| mind.last_sent);
                    let frame = Frame::lossy(AgentMessage::Heartbeat(beat));
                    fabric.send_up(self.at, conn, frame.following(after));
                }
                AgentAction::SendSpooled(seq) => match self.disk.spool.get(&seq) {
                    Some(message) => {
                        let frame = Frame::reliable(seq, message.clone());
                        fabric.send_up(
                            self.at,
                            conn,
                            frame.following(self.mind.as_mut().and_then(|mind| mind.last_sent.replace(seq))),
                        );
                    }
                    None => fabric
                        .history
                        .wrong
                        .push(format!("{}: message {seq} is to be sent, but was forgotten", self.name)),
                },
                AgentAction::Deliver(message) => self.server_said(message, fabric),
                AgentAction::Forget(seq) => self.forget(seq),
                AgentAction::Close => {
                    fabric.tell_server_over(self.at, conn);
                    self.disconnected(fabric);
                }
            }
        }
    }

    fn forget(&mut self, seq: u64) {
        if let Some(mind) = &mut self.mind {
            mind.unanswered.retain(|_, (fire, _)| *fire > seq);
        }
        if self.write() {
            self.disk.spool = self.disk.spool.split_off(&(seq + 1));
            self.disk.forgotten = seq;
        }
    }

    /// The session stands.
    pub fn welcomed(&mut self, fabric: &Fabric) {
        if let Some(mind) = &mut self.mind {
            mind.confirmed = mind.confirmed.or(Some(fabric.wall()));
            mind.away_since = None;
            mind.next_slot = None;
        }
    }

    /// The connection is no more.
    pub fn disconnected(&mut self, fabric: &mut Fabric) {
        let (now, jitter) = (fabric.link_now(self.at), fabric.dice.between(0, 1_001));
        if let Some(mind) = &mut self.mind {
            mind.conn = 0;
            mind.last_sent = None;
            mind.passing.clear();
            mind.away_since = mind.away_since.or(Some(fabric.now));
            mind.link.disconnected(DownCause::Network, u32::try_from(jitter).unwrap_or(0), now);
        }
    }

    fn hello(&self, fabric: &Fabric) -> Hello {
        let over = self.disk.spool.values().filter_map(|message| match message {
            AgentMessage::JobFinished(finished) => Some(finished.job_id),
            AgentMessage::JobRefused(refused) => Some(refused.job_id),
            _other => None,
        });
        let spooled: BTreeSet<JobId> = over.collect();
        let spooled_jobs: Vec<JobId> = spooled.iter().copied().collect();
        let mind = self.mind.as_ref();
        let lanes = mind.iter().flat_map(|mind| &mind.lanes).filter(|job| !spooled.contains(job));
        let since = |job: &JobId| self.disk.jobs.get(job).map_or(fabric.wall(), |task| task.since);
        Hello {
            protocol: PROTOCOL,
            versions: AgentVersions {
                agent: "0.1.0".into(),
                restic: Some("0.19.1".into()),
                restic_problem: None,
                os: "linux".into(),
                arch: "x86_64".into(),
            },
            machine_id: format!("machine-{}", self.name),
            boot_id: "boot".into(),
            os_hostname: self.name.clone(),
            clock: fabric.wall(),
            spool_id: self.disk.spool_id,
            first_seq: self.disk.forgotten + 1,
            last_seq: self.disk.last_seq,
            running_jobs: lanes.map(|job| RunningJob { job_id: *job, started_at: since(job) }).collect(),
            claims: mind.map_or_else(Vec::new, |mind| mind.book.claims(&spooled_jobs)),
            spooled_jobs,
            schedule_version: self.disk.plan.as_ref().map_or(0, |plan| plan.schedule_version),
        }
    }
}
