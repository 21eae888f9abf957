//! What the server is told: a TOML file, `RM_*` environment variables and flags, in rising precedence.

mod args;
mod print;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use etcetera::BaseStrategy as _;
use ipnet::IpNet;

pub use args::{Cidr, ConfigArgs, Lifetime, LogFormat, LogLevel, PublicUrl, SettingError};

const FILE_NAME: &str = "server.toml";
const KEY_NAME: &str = "server.key";
const FOLDER_NAME: &str = "restic-manager";

/// The configuration in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: Setting<SocketAddr>,
    /// The folder of the database; absolute.
    pub data_dir: Setting<PathBuf>,
    /// The file of the age identity; absolute, and not in the data folder.
    pub key_file: Setting<PathBuf>,
    /// The address under which the server is reached, where it was given.
    pub public_url: Setting<Option<PublicUrl>>,
    /// The reverse proxies that are believed.
    pub behind_proxy: Setting<Vec<IpNet>>,
    /// How log lines are written.
    pub log_format: Setting<LogFormat>,
    /// What is logged.
    pub log_level: Setting<LogLevel>,
    /// How long a login lasts.
    pub session_lifetime: Setting<Lifetime>,
}

/// A value and the layer it comes from.
#[derive(Debug, Clone)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// The layer a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

/// Where configuration and data lie when nobody says so.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder of the configuration file.
    pub config_dir: PathBuf,
    /// The data folder.
    pub data_dir: PathBuf,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is not there, or cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file says something that is no setting.
    #[error("{}, line {line}: {message}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Passwords would cross a network in the clear.
    #[error("plain HTTP on {listen} would carry passwords and tokens over the network in the clear")]
    PlainHttp {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// Whoever copies the data folder would copy the key with it.
    #[error("the key file {} lies in the data folder {}", key_file.display(), data_dir.display())]
    KeyInDataDir {
        /// The key file.
        key_file: PathBuf,
        /// The data folder.
        data_dir: PathBuf,
    },
    /// There is no place for what was not given.
    #[error("there is no home folder to put {what} in")]
    NoHome {
        /// What has no place.
        what: &'static str,
    },
    /// A path that is none.
    #[error("`{}` is no path", path.display())]
    NoPath {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ConfigError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, .. } => format!("check that {} exists and may be read", path.display()),
            Self::Invalid { .. } => {
                "run with --help: every flag is a key of the file, with `_` for `-`".to_owned()
            }
            Self::PlainHttp { listen } => format!(
                "listen on 127.0.0.1:{} behind a reverse proxy with TLS; if the proxy is another machine, name its \
                 network with --behind-proxy",
                listen.port()
            ),
            Self::KeyInDataDir { .. } => {
                "keep it elsewhere with --key-file: a stolen copy of the data must not bring its key"
                    .to_owned()
            }
            Self::NoHome { .. } => "set HOME, or give --data-dir and --key-file".to_owned(),
            Self::NoPath { .. } => "give a path that is not empty".to_owned(),
        }
    }
}

impl Places {
    /// `/etc` and `/var/lib` for root, the XDG base folders for anybody else; none when there is no home folder.
    pub fn of_this_user() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            let (config_dir, data_dir) = (Path::new("/etc"), Path::new("/var/lib"));
            return Some(Self {
                config_dir: config_dir.join(FOLDER_NAME),
                data_dir: data_dir.join(FOLDER_NAME),
            });
        }
        let base = etcetera::choose_base_strategy().ok()?;
        Some(Self {
            config_dir: base.config_dir().join(FOLDER_NAME),
            data_dir: base.data_dir().join(FOLDER_NAME),
        })
    }
}

impl Config {
    /// Joins the layers and checks what only the whole can show.
    ///
    /// `file` is the one that was named; without it `server.toml` in the configuration folder is read if it is there.
    /// `source_of` tells by the name of a setting which layer of `args` gave it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn load(
        args: ConfigArgs,
        source_of: impl Fn(&str) -> Option<ValueSource>,
        file: Option<&Path>,
        places: Option<&Places>,
    ) -> Result<Self, ConfigError> {
        let default_file = places.map(|places| places.config_dir.join(FILE_NAME));
        let (path, filed) = match (file, &default_file) {
            (Some(path), _) => (Some(path), read_file(path)?),
            (None, Some(path)) if path.exists() => (Some(path.as_path()), read_file(path)?),
            (None, Some(path)) => (Some(path.as_path()), ConfigArgs::default()),
            (None, None) => (None, ConfigArgs::default()),
        };
        let layers = Layers { source_of, path };
        let default_key = path.and_then(Path::parent).map(|folder| folder.join(KEY_NAME));
        let default_data = places.map(|places| places.data_dir.clone());
        let networks = |list: Vec<Cidr>| list.into_iter().map(|cidr| cidr.0).collect();
        let config = Self {
            listen: layers.pick(
                "listen",
                args.listen,
                filed.listen,
                SocketAddr::from(([127, 0, 0, 1], 8080)),
            ),
            data_dir: layers
                .pick("data_dir", args.data_dir.map(Some), filed.data_dir.map(Some), default_data)
                .absolute("the data")?,
            key_file: layers
                .pick("key_file", args.key_file.map(Some), filed.key_file.map(Some), default_key)
                .absolute("the key file")?,
            public_url: layers.pick(
                "public_url",
                args.public_url.map(Some),
                filed.public_url.map(Some),
                None,
            ),
            behind_proxy: layers.pick(
                "behind_proxy",
                args.behind_proxy.map(networks),
                filed.behind_proxy.map(networks),
                Vec::new(),
            ),
            log_format: layers.pick("log_format", args.log_format, filed.log_format, LogFormat::default()),
            log_level: layers.pick("log_level", args.log_level, filed.log_level, LogLevel::default()),
            session_lifetime: layers.pick(
                "session_lifetime",
                args.session_lifetime,
                filed.session_lifetime,
                Lifetime::default(),
            ),
        };
        config.check()?;
        Ok(config)
    }

    /// The configuration as a TOML file that says of each value where it comes from. No setting is a secret: keys are
    /// named by their file, and an address with a password in it is not taken.
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let listen = self.listen.value;
        if !listen.ip().to_canonical().is_loopback() && self.behind_proxy.value.is_empty() {
            return Err(ConfigError::PlainHttp { listen });
        }
        let (key_file, data_dir) = (&self.key_file.value, &self.data_dir.value);
        if resolved(key_file).starts_with(resolved(data_dir)) {
            return Err(ConfigError::KeyInDataDir { key_file: key_file.clone(), data_dir: data_dir.clone() });
        }
        Ok(())
    }
}

impl Setting<Option<PathBuf>> {
    fn absolute(self, what: &'static str) -> Result<Setting<PathBuf>, ConfigError> {
        let path = self.value.ok_or(ConfigError::NoHome { what })?;
        let value = std::path::absolute(&path).map_err(|source| ConfigError::NoPath { path, source })?;
        Ok(Setting { value, origin: self.origin })
    }
}

struct Layers<'a, F> {
    source_of: F,
    path: Option<&'a Path>,
}

impl<F: Fn(&str) -> Option<ValueSource>> Layers<'_, F> {
    fn pick<T>(&self, name: &str, given: Option<T>, filed: Option<T>, default: T) -> Setting<T> {
        if let Some(value) = given {
            let origin = match (self.source_of)(name) {
                Some(ValueSource::EnvVariable) => Origin::Environment(format!("RM_{}", name.to_uppercase())),
                // An enum of the library's: whatever else gave a value, it was the command line.
                _ => Origin::Flag(format!("--{}", name.replace('_', "-"))),
            };
            return Setting { value, origin };
        }
        match (filed, self.path) {
            (Some(value), Some(path)) => Setting { value, origin: Origin::File(path.to_owned()) },
            _ => Setting { value: default, origin: Origin::Default },
        }
    }
}

fn read_file(path: &Path) -> Result<ConfigArgs, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        ConfigError::Invalid {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        }
    })
}

/// The path with its symbolic links followed as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(whole) = path.canonicalize() {
        return whole;
    }
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => resolved(folder).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: ConfigArgs, file: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { config_dir: folder.path().join("etc"), data_dir: folder.path().join("data") };
        fs::create_dir(&places.config_dir).unwrap();
        let path = places.config_dir.join(FILE_NAME);
        fs::write(&path, file).unwrap();
        Config::load(args, |_| None, None, Some(&places))
            .map_err(|error| error.to_string().replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn a_flag_stands_over_the_file_and_the_file_over_the_default() {
        let args = ConfigArgs { listen: Some("127.0.0.1:1".parse().unwrap()), ..ConfigArgs::default() };
        let config = load(args, "listen = '127.0.0.1:2'\nsession_lifetime = '12h'").unwrap();
        assert_eq!(config.listen.value.port(), 1);
        assert_eq!(config.listen.origin, Origin::Flag("--listen".to_owned()));
        assert_eq!(config.session_lifetime.value.to_string(), "12h");
        assert!(matches!(config.session_lifetime.origin, Origin::File(_)));
        assert_eq!(config.log_format.origin, Origin::Default);
        assert!(config.key_file.value.ends_with("etc/server.key"));
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_line() {
        let error = |file| load(ConfigArgs::default(), file).unwrap_err();
        let unknown = error("\nlisten = '127.0.0.1:2'\nlistne = 1");
        assert!(
            unknown.starts_with("/etc/server.toml, line 3: unknown field `listne`, expected one of"),
            "{unknown}"
        );
        let wrong = error("session_lifetime = '12 hours'");
        assert!(wrong.contains("line 1: `12 hours` is no time from 1m to 365d"), "{wrong}");
        assert!(error("listen = '0.0.0.0'").contains("line 1: invalid socket address syntax"));
        assert!(error("listen =").contains("/etc/server.toml, line 1: "));
    }

    #[test]
    fn plain_http_is_for_this_machine_or_for_a_proxy() {
        let at =
            |listen: &str, more: &str| load(ConfigArgs::default(), &format!("listen = '{listen}'\n{more}"));
        assert_eq!(
            at("0.0.0.0:80", "").unwrap_err(),
            "plain HTTP on 0.0.0.0:80 would carry passwords and tokens over the network in the clear"
        );
        assert!(at("[::]:80", "behind_proxy = []").is_err());
        for loopback in ["127.0.0.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            at(loopback, "").unwrap();
        }
        let behind = at("0.0.0.0:80", "behind_proxy = ['10.0.0.0/8', 'fd00::1']").unwrap();
        assert_eq!(behind.behind_proxy.value.len(), 2);
    }

    #[test]
    fn the_key_does_not_lie_in_the_data_folder_not_even_by_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { config_dir: folder.path().join("etc"), data_dir: folder.path().join("data") };
        fs::create_dir(&places.data_dir).unwrap();
        std::os::unix::fs::symlink(&places.data_dir, folder.path().join("etc")).unwrap();
        let error = Config::load(ConfigArgs::default(), |_| None, None, Some(&places)).unwrap_err();
        assert!(matches!(error, ConfigError::KeyInDataDir { .. }), "{error}");
        let args = ConfigArgs { key_file: Some(folder.path().join("data-key")), ..ConfigArgs::default() };
        Config::load(args, |_| None, None, Some(&places)).unwrap();
    }

    #[test]
    fn a_named_file_must_be_there_and_a_home_is_needed_only_for_what_was_not_given() {
        let missing = Config::load(ConfigArgs::default(), |_| None, Some(Path::new("/nowhere/x.toml")), None);
        assert!(matches!(missing.unwrap_err(), ConfigError::Unreadable { .. }));
        let args = ConfigArgs { data_dir: Some("/srv/rm".into()), ..ConfigArgs::default() };
        let homeless = Config::load(args.clone(), |_| None, None, None);
        assert!(matches!(homeless.unwrap_err(), ConfigError::NoHome { what: "the key file" }));
        let args = ConfigArgs { key_file: Some("/srv/key".into()), ..args };
        Config::load(args, |_| None, None, None).unwrap();
    }
}
