//! Hosts that share a repository, their work, and who is killed when.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use restic_manager_e2e::witness::Witness;
use restic_manager_e2e::{
    Agent, Cable, Direction, House, Ledger, Way, noise, restic_newest, wait_for, wait_within,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::dice::Dice;

pub(crate) const REPO_PASSWORD: &str = "planted-repo-password";
const HOSTS: [&str; 3] = ["web1", "web2", "web3"];
const GROUPS: [&str; 2] = ["home", "mail"];

pub(crate) struct Storm {
    pub(crate) house: House,
    pub(crate) hosts: Vec<Host>,
    pub(crate) witness: Witness,
    pub(crate) tally: Tally,
    dice: Dice,
}

pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) agent: Agent,
    cable: Cable,
}

/// Who was killed.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The server, at any moment.
    pub(crate) server: u64,
    /// An agent, at any moment.
    pub(crate) agent: u64,
    /// An agent with all that it had started, as when its machine loses power.
    pub(crate) machine: u64,
    /// Of the server's and agents': after a claim was written down and before the server's acknowledgement could arrive.
    pub(crate) between: u64,
    /// Tries to kill between the two in which no job was claimed.
    pub(crate) in_vain: u64,
}

impl Tally {
    pub(crate) const fn kills(&self) -> u64 {
        self.server + self.agent + self.machine
    }
}

/// Who shall be killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Server,
    Agent,
    Both,
    Machine,
}

impl Storm {
    /// Three hosts with two groups each on one repository, a schedule of every minute, and maintenance.
    pub(crate) fn gather(dice: Dice) -> Self {
        let house = House::open();
        let restic = restic_newest();
        let witness = Witness::before(&restic, &house.path("witness"));
        let hosts: Vec<Host> = HOSTS.iter().map(|name| Host::new(&house, &witness, name)).collect();
        let storm = Self { house, hosts, witness, tally: Tally::default(), dice };
        storm.plan();
        storm
    }

    pub(crate) fn repository(&self) -> String {
        self.house.path("repository").to_str().unwrap().to_owned()
    }

    fn plan(&self) {
        let house = &self.house;
        let url = self.repository();
        house.attach(&self.hosts[0].agent, &url, REPO_PASSWORD, &[]);
        for host in &self.hosts[1..] {
            house.join(&host.agent, HOSTS[0], &url, REPO_PASSWORD);
        }
        let file = house.secret("admin-repo-password", REPO_PASSWORD);
        let file = file.to_str().unwrap();
        house.rmctl(&[
            "creds",
            "set",
            "--kind",
            "admin",
            "--repo",
            HOSTS[0],
            "--url",
            &url,
            "--password-file",
            file,
        ]);
        for host in &self.hosts {
            for group in GROUPS {
                let source = host.source(group);
                fs::create_dir(&source).unwrap();
                noise(&source.join("noise"), 4);
                let include = source.to_str().unwrap();
                // Forget locks the repository and keeps all: what is missing in the end was lost.
                house.rmctl(&[
                    "source",
                    "create",
                    host.name,
                    group,
                    "--include",
                    include,
                    "--keep-last",
                    "10000",
                    "--retry-max",
                    "20",
                    "--retry-backoff",
                    "10",
                ]);
            }
            house.rmctl(&[
                "schedule",
                "create",
                host.name,
                "each-minute",
                "--cron",
                "* * * * *",
                "--source",
                GROUPS[0],
                "--source",
                GROUPS[1],
            ]);
        }
        house.rmctl(&[
            "maintenance",
            "set",
            HOSTS[0],
            "--forget",
            "*/2 * * * *",
            "--prune",
            "*/2 * * * *",
            "--check",
            "*/3 * * * *",
            "--spread",
            "0",
        ]);
    }

    /// Somebody is killed, and started again.
    pub(crate) fn strike(&mut self) {
        let host = usize::try_from(self.dice.below(HOSTS.len() as u64)).unwrap();
        let group = GROUPS[usize::try_from(self.dice.below(2)).unwrap()];
        let fresh = self.dice.below(1 << 32);
        fs::write(self.hosts[host].source(group).join(format!("mail-{fresh}")), fresh.to_string()).unwrap();
        match self.dice.below(12) {
            0..=4 => self.strike_between(host, group),
            // Where many of those are in vain, more are tried.
            _ if self.tally.between * 3 < self.tally.kills() => self.strike_between(host, group),
            5 | 6 => self.strike_any_time(host, group, Victim::Server),
            7 | 8 => self.strike_any_time(host, group, Victim::Agent),
            9 | 10 => self.strike_any_time(host, group, Victim::Both),
            _ => self.strike_any_time(host, group, Victim::Machine),
        }
    }

    fn strike_any_time(&mut self, host: usize, group: &str, victim: Victim) {
        // The host may be away just now, and the work is there all the same.
        let _ = self.house.try_rmctl(&["run", self.hosts[host].name, group]);
        if self.dice.below(6) == 0 {
            let _ = self.house.try_rmctl(&["repo", "check", HOSTS[0]]);
        }
        // A random moment is one that nothing announces.
        let moment = Instant::now() + Duration::from_millis(self.dice.below(3_000));
        wait_for("the moment", || (Instant::now() >= moment).then_some(()));
        self.kill(host, victim);
    }

    /// The claim is written down, and nothing that the agent says of it, or nothing that the server answers, arrives.
    fn strike_between(&mut self, host: usize, group: &str) {
        self.house.wait_presence(&self.hosts[host].agent, "online");
        let victim = [Victim::Server, Victim::Agent, Victim::Agent, Victim::Both]
            [usize::try_from(self.dice.below(4)).unwrap()];
        let heard = self.dice.below(3) == 0;
        let Host { name, agent, cable } = &self.hosts[host];
        let before = Ledger::of(agent.folder()).claims;
        cable.deaden(Direction::ToServer);
        let _ = self.house.try_rmctl(&["run", name, group]);
        let limit = Instant::now() + Duration::from_secs(5);
        let claimed = wait_for("a claim", || {
            let claims = Ledger::of(agent.folder()).claims;
            let new = claims.keys().find(|job| !before.contains_key(job)).copied();
            (new.is_some() || Instant::now() > limit).then_some(new)
        });
        let Some(job) = claimed else {
            // The same job was under way, or the repository was held.
            cable.heal();
            self.tally.in_vain += 1;
            return;
        };
        if heard {
            cable.deaden(Direction::ToAgent);
            cable.revive(Direction::ToServer);
            wait_for("the server to hear of the claim", || {
                let state = self.house.job(&job.to_string())["state"].as_str()?.to_owned();
                (state != "queued" && state != "dispatched").then_some(())
            });
        }
        let kills = self.tally.kills();
        self.kill(host, victim);
        self.tally.between += self.tally.kills() - kills;
    }

    fn kill(&mut self, host: usize, victim: Victim) {
        let Host { agent, cable, .. } = &mut self.hosts[host];
        let server = &mut self.house.server;
        match victim {
            Victim::Server => server.kill(),
            Victim::Agent => agent.process.kill(),
            Victim::Both => {
                agent.process.kill();
                server.kill();
            }
            Victim::Machine => {
                agent.process.kill();
                kill_what_it_started(agent.folder());
            }
        }
        cable.heal();
        if let Victim::Agent | Victim::Both | Victim::Machine = victim {
            agent.restart();
        }
        if let Victim::Server | Victim::Both = victim {
            self.house.restart_server();
        }
        match victim {
            Victim::Server => self.tally.server += 1,
            Victim::Agent => self.tally.agent += 1,
            Victim::Both => {
                self.tally.agent += 1;
                self.tally.server += 1;
            }
            Victim::Machine => self.tally.machine += 1,
        }
    }

    /// Whether every host took a slot of its schedule by now.
    pub(crate) fn slots_came(&self) -> bool {
        self.hosts.iter().all(|host| host.ledger().claims.values().any(|claim| claim.run.is_some()))
    }

    /// No new slot comes, and what is owed is done.
    pub(crate) fn calm_down(&mut self) {
        for host in &self.hosts {
            self.house.wait_presence(&host.agent, "online");
            // Not disabled: that would give up what is owed.
            self.house.rmctl(&["schedule", "edit", host.name, "each-minute", "--cron", "0 0 1 1 *"]);
        }
        self.house.rmctl(&[
            "maintenance",
            "set",
            HOSTS[0],
            "--forget",
            "off",
            "--prune",
            "off",
            "--check",
            "off",
        ]);
        self.wait_until_calm();
        // At most one more run, and no lock of ours is left.
        let check = self.house.rmctl(&["repo", "check", HOSTS[0], "--field", "job_id"]);
        let check = self.house.wait_job(check.trim());
        assert_eq!(check["state"], "succeeded", "{check:#}");
        for host in &self.hosts {
            let job = self.house.run_group(&host.agent, GROUPS[0]);
            assert_eq!(job["state"], "succeeded", "{job:#}");
        }
        self.wait_until_calm();
    }

    fn wait_until_calm(&self) {
        wait_within(Duration::from_secs(600), "all work to be done", || {
            let pending = self.house.json(&["pending", "ls", "--all"]);
            for run in pending["items"].as_array().unwrap() {
                let _ = self.house.try_rmctl(&["pending", "run", run["id"].as_str().unwrap()]);
            }
            let open = self.jobs().iter().filter(|job| is_open(job)).count();
            let claimed: usize = self.hosts.iter().map(|host| host.ledger().open_jobs()).sum();
            (pending["items"].as_array().unwrap().is_empty() && open + claimed == 0).then_some(())
        });
    }

    /// All jobs as the server tells them.
    pub(crate) fn jobs(&self) -> Vec<Value> {
        self.house.json(&["job", "ls", "--all"])["items"].as_array().unwrap().clone()
    }
}

impl Host {
    fn new(house: &House, witness: &Witness, name: &'static str) -> Self {
        let cable = Cable::to(&house.url);
        // Only a name of its own tells whose a lock is that a killed machine left.
        // Alone it would not ask the server whether the repository is free; that is another test's matter.
        let more = ["--offline-grace", "3600", "--settle", "0"].map(str::to_owned).to_vec();
        let agent =
            house.enrol_over(name, witness.restic(), Way { url: cable.url(), more, os_hostname: Some(name) });
        Self { name, agent, cable }
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::of(self.agent.folder())
    }

    fn source(&self, group: &str) -> std::path::PathBuf {
        self.agent.folder().join(format!("source-{group}"))
    }
}

fn is_open(job: &Value) -> bool {
    ["queued", "dispatched", "running"].contains(&job["state"].as_str().unwrap())
}

/// Kills the supervisors of an agent that is gone, and the restic of each.
fn kill_what_it_started(agent: &Path) {
    let jobs = fs::read_dir(agent.join("state/jobs")).into_iter().flatten().flatten();
    for folder in jobs.map(|job| job.path()) {
        let text = fs::read(folder.join("child.json")).unwrap_or_default();
        let Ok(child) = serde_json::from_slice::<Value>(&text) else { continue };
        let pid = |field: &str| i32::try_from(child[field].as_i64().unwrap()).unwrap();
        let (supervisor, restic) = (pid("supervisor_pid"), pid("pid"));
        // A number that the system gave to somebody else meanwhile is not a child of our supervisor.
        if parent_of(restic) != Some(supervisor) {
            continue;
        }
        for pid in [supervisor, restic] {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
