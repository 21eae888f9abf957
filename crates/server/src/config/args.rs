//! One layer of the configuration: the flags with their environment variables, or the file.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use restic_manager_core::time::{DAY, HOUR, MINUTE};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use url::Url;

/// What can be configured: each setting as a flag, an environment variable and a key of the TOML file, of one name.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigArgs {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "RM_LISTEN", value_name = "ADDRESS:PORT", global = true)]
    pub listen: Option<SocketAddr>,
    /// Folder for the database, made with mode 0700 [default: /var/lib/restic-manager for root, else under XDG_DATA_HOME]
    #[arg(long, env = "RM_DATA_DIR", value_name = "FOLDER", global = true)]
    pub data_dir: Option<PathBuf>,
    /// File with the age identity that opens stored credentials; outside the data folder [default: server.key beside the
    /// configuration file]
    #[arg(long, env = "RM_KEY_FILE", value_name = "FILE", global = true)]
    pub key_file: Option<PathBuf>,
    /// Address under which people and agents reach the server, such as `https://backup.example.org`
    #[arg(long, env = "RM_PUBLIC_URL", value_name = "URL", global = true)]
    pub public_url: Option<PublicUrl>,
    /// Networks of reverse proxies whose X-Forwarded-* headers are believed, separated by commas
    #[arg(long, env = "RM_BEHIND_PROXY", value_name = "CIDR", value_delimiter = ',', global = true)]
    pub behind_proxy: Option<Vec<Cidr>>,
    /// How log lines are written to stderr [default: text]
    #[arg(long, env = "RM_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or directives such as info,restic_manager_server=debug [default: info]
    #[arg(long, env = "RM_LOG_LEVEL", value_name = "LEVEL", global = true)]
    pub log_level: Option<LogLevel>,
    /// How long a login lasts, in minutes, hours or days, such as 12h or 30d [default: 30d]
    #[arg(long, env = "RM_SESSION_LIFETIME", value_name = "TIME", global = true)]
    pub session_lifetime: Option<Lifetime>,
}

/// A setting that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(String);

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// A network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr(pub IpNet);

impl FromStr for Cidr {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let text = text.trim();
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| {
            SettingError(format!(
                "`{text}` is no network; write it as 10.0.0.0/8 or fd00::/8, or give one address"
            ))
        })
    }
}

/// The address under which the server is reached: scheme, host and port alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The address, with `/` as its path.
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for PublicUrl {
    type Err = SettingError;

    /// Takes it apart; what is refused is not repeated, because it may hold a password.
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let fail = |why: &str| {
            SettingError(format!("the public address {why}; write it as https://backup.example.org"))
        };
        let url = Url::parse(text).map_err(|error| fail(&format!("is no URL ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fail("begins with neither http:// nor https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fail("holds a user name or a password"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(fail("has something behind the host"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// What is logged, as tracing's directives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LogLevel(String);

impl LogLevel {
    /// The directives.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogLevel {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        // A word that is no level would be taken for the name of a module, and nothing would be logged at all.
        let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
        let bare = text.split(',').find(|part| !part.contains('=') && !part.contains("::"));
        let wrong = bare.is_some_and(|part| !is_level(part.trim()));
        if text.trim().is_empty() || wrong || EnvFilter::try_new(text).is_err() {
            return Err(SettingError(format!(
                "`{text}` is no log level; choose error, warn, info, debug or trace, or write directives such as \
                 info,restic_manager_server=debug"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A time span in minutes, hours or days, from a minute to a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Lifetime {
    millis: i64,
}

impl Lifetime {
    /// The span in milliseconds.
    pub const fn as_millis(self) -> i64 {
        self.millis
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self { millis: 30 * DAY }
    }
}

impl FromStr for Lifetime {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let fail =
            || SettingError(format!("`{text}` is no time from 1m to 365d; write it as 45m, 12h or 30d"));
        let text = text.trim();
        let at = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at)).ok_or_else(fail)?;
        let (number, unit) = text.split_at(at);
        let unit = match unit {
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            _ => return Err(fail()),
        };
        let millis = number.parse::<u32>().ok().and_then(|number| i64::from(number).checked_mul(unit));
        millis
            .filter(|millis| (MINUTE..=365 * DAY).contains(millis))
            .map(|millis| Self { millis })
            .ok_or_else(fail)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.millis {
            millis if millis % DAY == 0 => write!(f, "{}d", millis / DAY),
            millis if millis % HOUR == 0 => write!(f, "{}h", millis / HOUR),
            millis => write!(f, "{}m", millis / MINUTE),
        }
    }
}

macro_rules! from_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = SettingError;
            fn try_from(text: String) -> Result<Self, SettingError> {
                text.parse()
            }
        }
    )*};
}

from_text!(Cidr, PublicUrl, LogLevel, Lifetime);

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: FromStr<Err = SettingError>>(text: &str) -> String {
        text.parse::<T>().err().map_or_else(|| format!("{text} was taken"), |error| error.to_string())
    }

    #[test]
    fn a_lifetime_is_read_and_written_in_the_largest_whole_unit() {
        for (text, millis, written) in [
            ("45m", 45 * MINUTE, "45m"),
            ("24h", DAY, "1d"),
            ("90m", 90 * MINUTE, "90m"),
            ("30d", 30 * DAY, "30d"),
        ] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!((lifetime.as_millis(), lifetime.to_string().as_str()), (millis, written));
        }
        for text in ["", "d", "0m", "366d", "-1d", "30", "30 days", "1ü", "99999999999d"] {
            assert!(error::<Lifetime>(text).contains("write it as 45m, 12h or 30d"), "{text}");
        }
    }

    #[test]
    fn a_public_address_is_scheme_host_and_port_and_no_secret_is_repeated() {
        assert_eq!(
            "https://b.example:8443".parse::<PublicUrl>().unwrap().to_string(),
            "https://b.example:8443"
        );
        assert_eq!("http://b.example/".parse::<PublicUrl>().unwrap().to_string(), "http://b.example");
        for text in ["b.example", "ftp://b.example", "https://u:hunter2@b.example", "https://b.example/x"] {
            let error = error::<PublicUrl>(text);
            assert!(error.starts_with("the public address ") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!("10.1.2.3".parse::<Cidr>().unwrap().0.to_string(), "10.1.2.3/32");
        assert_eq!(" fd00::/8".parse::<Cidr>().unwrap().0.to_string(), "fd00::/8");
        assert!(error::<Cidr>("proxy").starts_with("`proxy` is no network"));
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for text in ["info", "warn,restic_manager_server=debug", "restic_manager_server::web=trace", "off"] {
            assert_eq!(text.parse::<LogLevel>().unwrap().as_str(), text);
        }
        for text in ["", "inof", "info,x=loud"] {
            assert!(error::<LogLevel>(text).contains("is no log level"), "{text}");
        }
    }
}
