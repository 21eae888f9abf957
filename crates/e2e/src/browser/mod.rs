//! A real Chromium, driven through WebDriver.
//!
//! Whatever the browser writes to its console, a breach of the Content-Security-Policy included, fails the test when the browser is
//! closed: what a test means to cause it names by [`Browser::expect_console`]. Names are resolved to nothing, so that a request to
//! anywhere but loopback is such an error too.

mod console;
mod driver;
mod live;
mod looks;
mod page;

use std::time::{Duration, Instant};

use fantoccini::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::house::{ADMIN_PASSWORD, House};
use crate::process::Process;
use driver::Vendor;

pub use looks::{Finding, Motion, Scheme};

/// How long a page may take to show what is waited for, on a machine that does much else.
const WITHIN: Duration = Duration::from_secs(60);

/// A browser with one window.
pub struct Browser {
    client: Option<Client>,
    runtime: Runtime,
    driver: Process,
    /// Where the server is.
    url: String,
    /// Parts of console messages that the test causes on purpose.
    expected: Vec<String>,
    /// The profile and the driver's log; removed last.
    folder: TempDir,
}

/// Whether the pages' own scripts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    /// As everybody has it.
    Run,
    /// Switched off, as some have it.
    Off,
}

impl Browser {
    /// Starts a browser that looks at a server.
    ///
    /// # Panics
    ///
    /// When chromium or its driver is missing or does not start.
    pub fn open(url: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("rm-browser-").tempdir().expect("a temporary folder");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (driver, port) = driver::start(folder.path());
        let client = runtime.block_on(driver::connect(port, &folder.path().join("profile")));
        let browser =
            Self { client: Some(client), runtime, driver, url: url.to_owned(), expected: Vec::new(), folder };
        browser.resize(1280, 900);
        browser
    }

    /// The same, logged in as the administrator of a house.
    pub fn logged_in(house: &House) -> Self {
        let browser = Self::open(&house.url);
        browser.log_in();
        browser
    }

    /// Logs in as the administrator of a house by the form.
    pub fn log_in(&self) {
        self.go("/login");
        self.fill("User name", "admin");
        self.fill("Password", ADMIN_PASSWORD);
        self.press_button("Log in");
        self.wait_path("/");
    }

    /// Switches the pages' own scripts on or off, from the next page on.
    pub fn scripts(&self, scripts: Scripts) {
        let off = scripts == Scripts::Off;
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": off }));
    }

    /// Opens a path of the server and waits for it to be loaded.
    pub fn go(&self, path: &str) {
        let url = format!("{}{path}", self.url);
        self.run(self.client().goto(&url)).unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Loads the page anew.
    pub fn reload(&self) {
        self.run(self.client().refresh()).expect("a page can be loaded again");
    }

    /// Path and query of the page.
    pub fn path(&self) -> String {
        let url = self.run(self.client().current_url()).expect("a page has an address");
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", url.path())
    }

    /// Evaluates the body of a function in the page.
    ///
    /// # Panics
    ///
    /// When it throws.
    pub fn eval(&self, body: &str, args: Vec<Value>) -> Value {
        self.try_eval(body, args).unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    fn try_eval(&self, body: &str, args: Vec<Value>) -> Result<Value, String> {
        self.run(self.client().execute(body, args)).map_err(|error| error.to_string())
    }

    /// Asks again and again until there is an answer. Errors while a page changes are no answer.
    ///
    /// # Panics
    ///
    /// After a minute, with what the page says.
    pub fn wait<T>(&self, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
        let deadline = Instant::now() + WITHIN;
        loop {
            let problem = match ask() {
                Ok(answer) => return answer,
                Err(problem) => problem,
            };
            if Instant::now() > deadline {
                let page = self.try_eval("return document.body.innerText", Vec::new());
                let page = page.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
                panic!("waited a minute for {what} at {}: {problem}\n--- the page:\n{page}", self.path());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Closes the browser.
    ///
    /// # Panics
    ///
    /// When the console has anything that was not expected.
    pub fn close(mut self) {
        self.check_console();
        self.end();
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let said = self.run(self.client().issue_cmd(Vendor::devtools(command, parameters)));
        said.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the browser is open")
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Chromium ends with its session; the driver alone being killed would leave it behind.
    fn end(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(client.close());
        }
        self.driver.stop();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if self.client.is_none() {
            return;
        }
        if std::thread::panicking() {
            let (path, folder) = (self.path(), self.folder.path().display().to_string());
            eprint_note(&format!("the browser was at {path}; its files were in {folder}"));
            self.end();
        } else {
            self.check_console();
            self.end();
        }
    }
}

/// The one place that writes beside the panic's own message.
#[allow(clippy::print_stderr, reason = "a failed test says where its browser was")]
fn eprint_note(note: &str) {
    eprintln!("{note}");
}
