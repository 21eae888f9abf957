//! chromedriver: started, connected to, and asked what the standard has no word for.

use std::path::Path;
use std::process::Command;

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::process::{Process, wait_for};

/// Starts the driver on a port that it chooses, and answers the port.
pub(super) fn start(folder: &Path) -> (Process, u16) {
    let mut command = Command::new("chromedriver");
    // What a browser writes besides its profile stays in the folder too.
    command.arg("--port=0").env("HOME", folder).env("TMPDIR", folder);
    let mut driver = Process::start(
        "chromedriver (scripts/install-test-tools installs it)",
        &mut command,
        &folder.join("driver.log"),
    );
    let port = wait_for("chromedriver's port", || {
        assert!(driver.ended().is_none(), "chromedriver ended: {}", driver.log());
        let log = driver.log();
        let (_, rest) = log.split_once("started successfully on port ")?;
        rest.split_once('.')?.0.parse().ok()
    });
    (driver, port)
}

/// Opens a browser.
pub(super) async fn connect(port: u16, profile: &Path) -> Client {
    let address = format!("http://127.0.0.1:{port}");
    ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities(profile))
        .connect(&address)
        .await
        .unwrap_or_else(|error| panic!("chromium does not start: {error}"))
}

/// Chromium as the tests want it: quiet, without a window, and with the whole of its console kept for us.
fn capabilities(profile: &Path) -> Capabilities {
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments = [
        "--headless",
        "--no-sandbox", // its sandbox refuses to run as root, as in a container
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        // Whatever is not on loopback fails, and its failure stands in the console.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        &profile,
    ];
    let wanted = json!({
        "browserName": "chrome",
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    });
    match wanted {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("it is an object")
        }
    }
}

/// A command that is chromedriver's own.
#[derive(Debug)]
pub(super) struct Vendor {
    path: &'static str,
    body: Value,
}

impl Vendor {
    /// Takes the console's messages, which are forgotten then.
    pub(super) fn console() -> Self {
        Self { path: "se/log", body: json!({ "type": "browser" }) }
    }

    /// A command of the developer tools' protocol.
    pub(super) fn devtools(command: &str, parameters: &Value) -> Self {
        Self { path: "goog/cdp/execute", body: json!({ "cmd": command, "params": parameters }) }
    }
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
