//! What the browser complains of.

use serde_json::Value;

use super::Browser;
use super::driver::Vendor;

impl Browser {
    /// The test is about to cause a console message with this in it, such as Chromium's own note of an answer with status 422.
    pub fn expect_console(&mut self, part: &str) {
        self.expected.push(part.to_owned());
    }

    /// The console's messages since the last look, without those expected, and without Chromium's advice on markup (its level `DEBUG`).
    pub fn console(&self) -> Vec<String> {
        let said =
            self.run(self.client().issue_cmd(Vendor::console())).expect("the driver keeps the console");
        let messages = said.as_array().cloned().unwrap_or_default();
        let told = messages.iter().filter(|entry| entry["level"] != "DEBUG").map(message);
        told.filter(|message| !self.is_expected(message)).collect()
    }

    /// Panics when the console has anything that was not expected.
    pub fn check_console(&self) {
        let said = self.console();
        assert!(said.is_empty(), "the browser's console at {}:\n{}", self.path(), said.join("\n"));
    }

    fn is_expected(&self, message: &str) -> bool {
        self.expected.iter().any(|part| message.contains(part.as_str()))
    }
}

fn message(entry: &Value) -> String {
    let part = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", part("level"), part("source"), part("message"))
}
