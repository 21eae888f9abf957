//! restic's REST server, append-only or not, with its own login.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house::House;
use crate::process::{Process, wait_for};
use crate::tools::rest_server;

/// What a REST server lets its clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Add, never delete.
    AppendOnly,
    /// Everything.
    Full,
}

/// A running REST server.
pub struct RestServer {
    /// Its process.
    pub process: Process,
    port: u16,
    user: &'static str,
    folder: PathBuf,
    data: PathBuf,
    rights: Rights,
}

/// The password of every REST login; planted, so that it can be searched for.
pub(crate) const REST_PASSWORD: &str = "planted-rest-password";
/// The same as `htpasswd -s` writes it.
const REST_PASSWORD_SHA: &str = "{SHA}qt/bjhmY0YTTwzeI/xJNIIckJr8=";

impl RestServer {
    /// Serves a folder. Append-only is a property of a server instance, so each kind of credential has its own.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(folder: &Path, data: &Path, rights: Rights) -> Self {
        let port = free_port();
        let process = serve(folder, data, rights, port);
        let user = rights.user();
        Self { process, port, user, folder: folder.to_owned(), data: data.to_owned(), rights }
    }

    /// Starts it again on the same port; it must be over.
    pub fn restart(&mut self) {
        self.process = serve(&self.folder, &self.data, self.rights, self.port);
    }

    /// The address of a repository on it, with user and password as restic takes them.
    pub fn url(&self, name: &str) -> String {
        format!("rest:http://{}:{REST_PASSWORD}@127.0.0.1:{}/{name}/", self.user, self.port)
    }

    /// The same without user and password.
    pub fn plain_url(&self, name: &str) -> String {
        format!("rest:http://127.0.0.1:{}/{name}/", self.port)
    }

    /// The password of its login.
    pub const PASSWORD: &'static str = REST_PASSWORD;

    /// The user of its login.
    pub const fn user(&self) -> &'static str {
        self.user
    }

    /// The login as arguments of `rmctl creds set`.
    pub(crate) fn login(&self, house: &House) -> Vec<String> {
        let file = house.secret("rest-password", REST_PASSWORD);
        let file = file.to_str().expect("UTF-8").to_owned();
        vec!["--rest-user".into(), self.user.into(), "--rest-password-file".into(), file]
    }
}

impl Rights {
    const fn user(self) -> &'static str {
        match self {
            Self::AppendOnly => "everyday",
            Self::Full => "admin",
        }
    }
}

fn serve(folder: &Path, data: &Path, rights: Rights, port: u16) -> Process {
    let user = rights.user();
    let extra: &[&str] = match rights {
        Rights::AppendOnly => &["--append-only"],
        Rights::Full => &[],
    };
    let login = folder.join(format!("{user}.htpasswd"));
    std::fs::write(&login, format!("{user}:{REST_PASSWORD_SHA}\n")).expect("a file");
    let mut command = Command::new(rest_server());
    command.arg("--path").arg(data).arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.arg("--htpasswd-file").arg(&login).args(extra);
    let process = Process::start("rest-server", &mut command, &folder.join(format!("rest-{user}.log")));
    wait_for("the REST server", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    process
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}
