//! restic's REST server on a folder, append-only or not.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use restic_manager_core::model::CredentialSecret;
use restic_manager_core::secret::Secret;

use super::{PASSWORD, eventually};

const REST_PASSWORD: &str = "planted-rest-password";
/// The same as `htpasswd -s` writes it.
const REST_PASSWORD_SHA: &str = "{SHA}qt/bjhmY0YTTwzeI/xJNIIckJr8=";

/// What a server lets its clients do; append-only is a property of a server, not of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    AppendOnly,
    Full,
}

/// A running server; ended when dropped.
pub struct RestServer {
    process: Child,
    port: u16,
    user: &'static str,
}

impl RestServer {
    pub async fn start(folder: &Path, data: &Path, rights: Rights) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.test-tools/bin/restic-rest-server");
        assert!(program.is_file(), "no REST server to test with: run scripts/install-test-tools");
        let (user, extra): (_, &[&str]) = match rights {
            Rights::AppendOnly => ("everyday", &["--append-only"]),
            Rights::Full => ("admin", &[]),
        };
        let login = folder.join(format!("{user}.htpasswd"));
        std::fs::write(&login, format!("{user}:{REST_PASSWORD_SHA}\n")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .arg("--path")
            .arg(data)
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .arg("--htpasswd-file")
            .arg(&login)
            .args(extra)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the REST server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        Self { process, port, user }
    }

    pub fn credential(&self, repo: &str) -> CredentialSecret {
        CredentialSecret {
            url: format!("rest:http://127.0.0.1:{}/{repo}/", self.port),
            password: Secret::new(PASSWORD),
            rest_user: Some(self.user.to_owned()),
            rest_password: Some(Secret::new(REST_PASSWORD)),
            env: [].into(),
        }
    }
}

impl Drop for RestServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
