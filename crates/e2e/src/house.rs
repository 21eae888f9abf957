//! One server, its administrator, and agents.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, wait_for};
use crate::rest::RestServer;
use crate::tools::{Restic, binary};

/// The administrator's password in every test house; planted, so that it can be searched for.
pub const ADMIN_PASSWORD: &str = "planted-admin-password";

/// A server with an administrator who is logged in.
pub struct House {
    folder: TempDir,
    /// The server.
    pub server: Process,
    /// Its address.
    pub url: String,
}

/// An enrolled host with its agent.
pub struct Agent {
    /// Its id on the server.
    pub host_id: String,
    /// Its process.
    pub process: Process,
    folder: PathBuf,
    restic: Restic,
    way: Way,
}

/// How an agent reaches its server, and what else its command line says.
#[derive(Debug, Clone)]
pub struct Way {
    /// The server's address, as the agent sees it.
    pub url: String,
    /// Further arguments of its `run`.
    pub more: Vec<String>,
    /// The name that its operating system goes by; that of this machine when none is given.
    pub os_hostname: Option<&'static str>,
}

impl House {
    /// Starts a server on a free port, makes the administrator, and logs `rmctl` in.
    ///
    /// # Panics
    ///
    /// When any of it fails.
    pub fn open() -> Self {
        let house = Self::unclaimed();
        let password = house.secret("admin-password", ADMIN_PASSWORD);
        let token = house.path("data/bootstrap-token");
        house.rmctl(&[
            "bootstrap",
            "--server",
            &house.url,
            "--token-file",
            token.to_str().expect("UTF-8"),
            "--username",
            "admin",
            "--password-file",
            password.to_str().expect("UTF-8"),
        ]);
        house
    }

    /// Starts a server that has no administrator yet.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn unclaimed() -> Self {
        let folder = tempfile::Builder::new().prefix("rm-e2e-").tempdir().expect("a temporary folder");
        let (server, url) = Self::start_server(folder.path(), "127.0.0.1:0");
        Self { folder, server, url }
    }

    fn start_server(folder: &Path, listen: &str) -> (Process, String) {
        let data = folder.join("data");
        let address = data.join("address");
        let _ = std::fs::remove_file(&address);
        let mut command = Command::new(binary("restic-manager-server"));
        command
            .args(["--listen", listen, "--data-dir"])
            .arg(&data)
            .arg("--key-file")
            .arg(folder.join("server.key"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let mut server = Process::start("the server", &mut command, &folder.join("server.log"));
        let url = wait_for("the server's address", || {
            assert!(server.ended().is_none(), "the server ended: {}", server.log());
            std::fs::read_to_string(&address).ok().filter(|text| !text.trim().is_empty())
        });
        (server, url.trim().trim_end_matches('/').to_owned())
    }

    /// Starts the server again on the same port; the old one must be over.
    pub fn restart_server(&mut self) {
        let listen = self.url.trim_start_matches("http://").to_owned();
        let (server, url) = Self::start_server(self.folder.path(), &listen);
        assert_eq!(url, self.url);
        self.server = server;
    }

    /// Stops the server, has its database changed, and starts it again on the same port.
    pub fn with_server_stopped<T>(&mut self, change: impl FnOnce(&Path) -> T) -> T {
        self.server.stop();
        let done = change(&self.path("data/restic-manager.db"));
        self.restart_server();
        done
    }

    /// A path in the house's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a secret to a file that only this user can read.
    pub fn secret(&self, name: &str, text: &str) -> PathBuf {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.path(name);
        let mut file = std::fs::File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .expect("a file in a temporary folder");
        writeln!(file, "{text}").expect("a file in a temporary folder");
        path
    }

    /// `rmctl` with these arguments, whatever comes of it.
    pub fn try_rmctl(&self, args: &[&str]) -> Output {
        Command::new(binary("rmctl"))
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RMCTL_CONFIG_DIR", self.path("rmctl"))
            .output()
            .expect("rmctl runs")
    }

    /// `rmctl` with these arguments; answers its standard output.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn rmctl(&self, args: &[&str]) -> String {
        let output = self.try_rmctl(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "rmctl {args:?}: {}\n{stderr}\nserver log:\n{}",
            output.status,
            self.server.log()
        );
        String::from_utf8(output.stdout).expect("rmctl writes UTF-8")
    }

    /// `rmctl` with these arguments and `--output json`.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.extend(["--output", "json"]);
        let text = self.rmctl(&args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Enrols a host by the name and starts its agent with this restic; returns when it is connected.
    pub fn enrol(&self, name: &str, restic: &Restic) -> Agent {
        let token = self.rmctl(&["host", "enroll-token", "--host-name", name, "--field", "token"]);
        self.enrol_by(&token, name, restic)
    }

    /// The same by a token that was made elsewhere.
    pub fn enrol_by(&self, token: &str, name: &str, restic: &Restic) -> Agent {
        self.enrol_way(token, name, restic, self.straight())
    }

    /// Enrols a host and starts its agent with another way to the server.
    pub fn enrol_over(&self, name: &str, restic: &Restic, way: Way) -> Agent {
        let token = self.rmctl(&["host", "enroll-token", "--host-name", name, "--field", "token"]);
        self.enrol_way(&token, name, restic, way)
    }

    fn straight(&self) -> Way {
        Way { url: self.url.clone(), more: Vec::new(), os_hostname: None }
    }

    fn enrol_way(&self, token: &str, name: &str, restic: &Restic, way: Way) -> Agent {
        let folder = self.path(name);
        std::fs::create_dir(&folder).expect("a new folder");
        let token_file = self.secret(&format!("{name}.token"), token.trim());
        let output = Agent::command(&folder, way.os_hostname)
            .args(["enrol", "--server", &self.url, "--token-file"])
            .arg(token_file)
            .output()
            .expect("the agent runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "enrol: {}: {stderr}", output.status);
        let host_id = self.rmctl(&["host", "show", name, "--field", "id"]).trim().to_owned();
        let process = Agent::start(&folder, restic, &way);
        let agent = Agent { host_id, process, folder, restic: restic.clone(), way };
        self.wait_presence(&agent, "online");
        agent
    }

    /// Starts an agent that announces itself from a folder of that name; answers it with the fingerprint it shows.
    pub fn announce(&self, name: &str) -> (Process, String) {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut command = Agent::command(&folder, None);
        command.args(["announce", "--server", &self.url]);
        let process = Process::start("the announcing agent", &mut command, &folder.join("announce.log"));
        let fingerprint = wait_for("the fingerprint", || {
            let log = process.log();
            log.lines().rev().find_map(|line| line.strip_prefix("fingerprint ")).map(str::to_owned)
        });
        (process, fingerprint)
    }

    /// Starts the agent of a host that was enrolled in the folder of that name; returns when it is connected.
    pub fn run_enrolled(&self, folder: &str, host: &str, restic: &Restic) -> Agent {
        let folder = self.path(folder);
        let host_id = self.rmctl(&["host", "show", host, "--field", "id"]).trim().to_owned();
        let way = self.straight();
        let process = Agent::start(&folder, restic, &way);
        let agent = Agent { host_id, process, folder, restic: restic.clone(), way };
        self.wait_presence(&agent, "online");
        agent
    }

    /// Waits until the server sees the agent as `online` or `offline`.
    pub fn wait_presence(&self, agent: &Agent, presence: &str) {
        wait_for(&format!("the host to be {presence}; agent log:\n{}", agent.process.log()), || {
            let host = self.json(&["host", "show", &agent.host_id]);
            (host["presence"] == presence).then_some(())
        });
    }

    /// Gives a host a repository and waits until it is initialised.
    pub fn attach(&self, agent: &Agent, url: &str, password: &str, more: &[String]) {
        let file = self.secret("repo-password", password);
        let mut args = vec!["creds", "set", &agent.host_id, "--url", url, "--password-file"];
        args.push(file.to_str().expect("UTF-8"));
        args.extend(more.iter().map(String::as_str));
        self.rmctl(&args);
        self.wait_init(agent);
    }

    /// Waits until the repository of the host is initialised.
    pub fn wait_init(&self, agent: &Agent) {
        wait_for("the repository's init job", || {
            let jobs = self.json(&["job", "ls", "--host", &agent.host_id, "--kind", "init"]);
            let state = jobs["items"][0]["state"].as_str()?.to_owned();
            assert!(
                ["queued", "dispatched", "running", "succeeded"].contains(&state.as_str()),
                "init: {jobs:#}\nagent log:\n{}",
                agent.process.log()
            );
            (state == "succeeded").then_some(())
        });
    }

    /// Gives a host a repository on a REST server and waits until it is initialised.
    pub fn attach_rest(&self, agent: &Agent, server: &RestServer, name: &str, password: &str) {
        self.attach(agent, &server.plain_url(name), password, &server.login(self));
    }

    /// Attaches a further host to a repository that is known by another host's name.
    pub fn join(&self, agent: &Agent, repo: &str, url: &str, password: &str) {
        let file = self.secret("repo-password", password);
        let file = file.to_str().expect("UTF-8");
        let host = &agent.host_id;
        self.rmctl(&[
            "host",
            "attach",
            host,
            repo,
            "--role",
            "primary",
            "--url",
            url,
            "--password-file",
            file,
        ]);
        self.wait_init(agent);
    }

    /// Gives the runner of a repository its admin credential, on a REST server.
    pub fn give_admin_rest(&self, repo: &str, server: &RestServer, name: &str, password: &str) {
        let file = self.secret("admin-repo-password", password);
        let url = server.plain_url(name);
        let mut args =
            vec!["creds", "set", "--kind", "admin", "--repo", repo, "--url", &url, "--password-file"];
        args.push(file.to_str().expect("UTF-8"));
        let login = server.login(self);
        args.extend(login.iter().map(String::as_str));
        self.rmctl(&args);
    }

    /// Runs a source group now and answers the job when it is over, in whatever state.
    pub fn run_group(&self, agent: &Agent, group: &str) -> Value {
        let job_id = self.start_group(agent, group);
        self.wait_job(&job_id)
    }

    /// Runs a source group now and answers the job's id.
    pub fn start_group(&self, agent: &Agent, group: &str) -> String {
        self.rmctl(&["run", &agent.host_id, group, "--field", "jobs.0.job_id"]).trim().to_owned()
    }

    /// Waits until a job is over.
    pub fn wait_job(&self, job_id: &str) -> Value {
        wait_for(&format!("job {job_id} to end"), || {
            let job = self.job(job_id);
            let over = !["queued", "dispatched", "running"].contains(&job["state"].as_str()?);
            over.then_some(job)
        })
    }

    /// A job as it stands.
    pub fn job(&self, job_id: &str) -> Value {
        self.json(&["job", "show", job_id])
    }
}

impl Agent {
    fn command(folder: &Path, os_hostname: Option<&str>) -> Command {
        let agent = binary("restic-manager-agent");
        let mut command = match os_hostname {
            None => Command::new(agent),
            Some(name) => {
                // A namespace with a name of its own; every step becomes the next, so that it stays one process.
                let mut command = Command::new("unshare");
                if !rustix::process::geteuid().is_root() {
                    command.arg("--map-root-user");
                }
                command.args(["--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\"", name]).arg(agent);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RM_AGENT_STATE_DIR", folder.join("state"))
            .env("RM_AGENT_KEY_FILE", folder.join("agent.key"));
        command
    }

    fn start(folder: &Path, restic: &Restic, way: &Way) -> Process {
        let mut command = Self::command(folder, way.os_hostname);
        command
            .args(["run", "--server", &way.url])
            .args(&way.more)
            .env("RM_AGENT_RESTIC", &restic.program)
            .env("RM_AGENT_CACHE_DIR", folder.join("cache"));
        Process::start("the agent", &mut command, &folder.join("agent.log"))
    }

    /// Starts the agent again after it ended.
    pub fn restart(&mut self) {
        self.process = Self::start(&self.folder, &self.restic, &self.way);
    }

    /// Its folder: `state`, `cache`, `agent.key`, `agent.log`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Another command of the agent's program on the same state.
    pub fn other(&self, args: &[&str]) -> Output {
        Self::command(&self.folder, self.way.os_hostname)
            .args(args)
            .env("RM_AGENT_RESTIC", &self.restic.program)
            .output()
            .expect("the agent runs")
    }
}
