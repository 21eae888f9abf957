//! The configuration in force, as a file.

use std::fmt::Write as _;

use toml::Value;

use super::{Config, Origin};

pub(super) fn to_toml(config: &Config) -> String {
    let mut text =
        String::from("# The configuration in force; each comment says where the value comes from.\n");
    let mut line = |name: &str, value: Option<Value>, origin: &Origin| {
        let written = match value {
            Some(value) => writeln!(text, "{name} = {value} # {}", told(origin)),
            None => writeln!(text, "# {name} is not set"),
        };
        written.expect("a String takes every text");
    };
    let text_of = |text: &dyn std::fmt::Display| Some(Value::String(text.to_string()));
    let Config {
        listen,
        data_dir,
        key_file,
        public_url,
        behind_proxy,
        log_format,
        log_level,
        session_lifetime,
    } = config;
    line("listen", text_of(&listen.value), &listen.origin);
    line("data_dir", text_of(&data_dir.value.display()), &data_dir.origin);
    line("key_file", text_of(&key_file.value.display()), &key_file.origin);
    line("public_url", public_url.value.as_ref().and_then(|url| text_of(url)), &public_url.origin);
    let networks = behind_proxy.value.iter().map(|network| Value::String(network.to_string())).collect();
    line("behind_proxy", Some(Value::Array(networks)), &behind_proxy.origin);
    line("log_format", text_of(&log_format.value.as_str()), &log_format.origin);
    line("log_level", text_of(&log_level.value.as_str()), &log_level.origin);
    line("session_lifetime", text_of(&session_lifetime.value), &session_lifetime.origin);
    text
}

fn told(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File(path) => format!("file {}", path.display()),
        Origin::Environment(name) => format!("environment {name}"),
        Origin::Flag(name) => format!("flag {name}"),
    }
}
