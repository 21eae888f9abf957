//! Where everything is: defaults, the configuration file, environment and flags, in rising precedence.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use restic_manager_agent::job::JobTimes;
use restic_manager_agent::server_url::{PlainHttp, ServerUrl, ServerUrlError};
use restic_manager_core::duty;
use serde::Deserialize;

use super::Global;

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// Only what needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What an operator would want to know.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
}

/// Everything that was set.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) cache_dir: PathBuf,
    pub(crate) restic: Option<PathBuf>,
    pub(crate) server: Option<ServerUrl>,
    pub(crate) plain_http: PlainHttp,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: LogLevel,
    pub(crate) times: JobTimes,
    pub(crate) alone: Alone,
}

/// How an agent behaves without its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alone {
    pub(crate) offline_grace: Duration,
    pub(crate) settle: Duration,
    pub(crate) stop_after: Option<Duration>,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("the configuration {} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the configuration {} is wrong", path.display())]
    Wrong { path: PathBuf, source: toml::de::Error },
    #[error("the server's address in the configuration is wrong")]
    Server(#[source] ServerUrlError),
    #[error("there is no home directory to put the agent's files in")]
    NoHome,
    #[error("the path {} is relative", path.display())]
    Relative { path: PathBuf },
    #[error("the key file {} lies in the state directory {}", key.display(), state.display())]
    KeyWithSecrets { key: PathBuf, state: PathBuf },
    #[error("grace_seconds is {seconds}, which is not between 1 and 3600")]
    Grace { seconds: u64 },
    #[error("the offline grace is {seconds} seconds, which is more than a day")]
    OfflineGrace { seconds: u64 },
    #[error("the time to settle is {seconds} seconds, which is more than an hour")]
    Settle { seconds: u64 },
    #[error("backups cannot stop after 0 days without the server")]
    StopAtOnce,
}

impl SettingsError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. }
            | Self::Wrong { .. }
            | Self::Grace { .. }
            | Self::OfflineGrace { .. }
            | Self::Settle { .. } => None,
            Self::StopAtOnce => Some("give a number of days, or leave the setting out: they go on for ever then".to_owned()),
            Self::Server(error) => error.hint(),
            Self::NoHome => Some("name the directories with --state-dir and --key-file".to_owned()),
            Self::KeyWithSecrets { .. } => {
                Some("name a place apart from it with --key-file: a copy of the state directory alone must open no secret".to_owned())
            }
            Self::Relative { .. } => {
                Some("give it from the root, such as /var/lib/restic-manager-agent".to_owned())
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    server: Option<String>,
    state_dir: Option<PathBuf>,
    key_file: Option<PathBuf>,
    restic: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    allow_plain_http: bool,
    /// Seconds between the gentle and the hard end of a cancelled restic.
    grace_seconds: Option<u64>,
    /// Seconds the agent waits for its server before it begins a scheduled backup by itself.
    offline_grace_seconds: Option<u64>,
    /// Seconds after waking up or starting before a slot that came meanwhile is made up for.
    settle_seconds: Option<u64>,
    /// Days without any session after which scheduled backups stop.
    stop_without_server_after_days: Option<u32>,
    log: Log,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Log {
    format: Option<LogFormat>,
    level: Option<LogLevel>,
}

/// The folders the agent uses unless told otherwise.
struct Places {
    state: PathBuf,
    config: PathBuf,
}

impl Settings {
    pub(crate) fn load(global: &Global) -> Result<Self, SettingsError> {
        let places = Places::of_this_user();
        let file = match (&global.config, &places) {
            (Some(path), _) => read(path)?,
            (None, Some(places)) => read_if_there(&places.config.join("agent.toml"))?,
            (None, None) => File::default(),
        };
        let default = |pick: fn(&Places) -> PathBuf| places.as_ref().map(pick).ok_or(SettingsError::NoHome);
        let state_dir = first([&global.state_dir, &file.state_dir])
            .map_or_else(|| default(|places| places.state.clone()), Ok)?;
        let key_file = first([&global.key_file, &file.key_file])
            .map_or_else(|| default(|places| places.config.join("agent.key")), Ok)?;
        let cache_dir =
            first([&global.cache_dir, &file.cache_dir]).unwrap_or_else(|| state_dir.join("cache"));
        let plain = global.allow_plain_http || file.allow_plain_http;
        let plain_http = if plain { PlainHttp::Anywhere } else { PlainHttp::LoopbackOnly };
        let server = file.server.map(|server| ServerUrl::parse(&server, plain_http)).transpose();
        // What a person typed is relative to where it was typed; a service has no such place.
        let (state_dir, key_file) = (absolute(state_dir)?, absolute(key_file)?);
        if real(&key_file).starts_with(real(&state_dir)) {
            return Err(SettingsError::KeyWithSecrets { key: key_file, state: state_dir });
        }
        Ok(Self {
            state_dir,
            key_file,
            cache_dir: absolute(cache_dir)?,
            restic: first([&global.restic, &file.restic]).map(absolute).transpose()?,
            server: server.map_err(SettingsError::Server)?,
            plain_http,
            log_format: global.log_format.or(file.log.format).unwrap_or_default(),
            log_level: global.log_level.or(file.log.level).unwrap_or_default(),
            times: times(file.grace_seconds)?,
            alone: Alone::default().with(
                file.offline_grace_seconds,
                file.settle_seconds,
                file.stop_without_server_after_days,
            )?,
        })
    }
}

impl Default for Alone {
    fn default() -> Self {
        let millis = |millis: i64| Duration::from_millis(millis.unsigned_abs());
        Self { offline_grace: millis(duty::OFFLINE_GRACE), settle: millis(duty::SETTLE), stop_after: None }
    }
}

impl Alone {
    /// The same with what was set elsewhere: seconds of grace, seconds to settle, days until it stops.
    pub(crate) fn with(
        mut self,
        offline_grace: Option<u64>,
        settle: Option<u64>,
        stop_after: Option<u32>,
    ) -> Result<Self, SettingsError> {
        match offline_grace {
            None => {}
            Some(seconds @ 0..=86_400) => self.offline_grace = Duration::from_secs(seconds),
            Some(seconds) => return Err(SettingsError::OfflineGrace { seconds }),
        }
        match settle {
            None => {}
            Some(seconds @ 0..=3_600) => self.settle = Duration::from_secs(seconds),
            Some(seconds) => return Err(SettingsError::Settle { seconds }),
        }
        match stop_after {
            None => {}
            Some(0) => return Err(SettingsError::StopAtOnce),
            Some(days) => self.stop_after = Some(Duration::from_secs(u64::from(days) * 86_400)),
        }
        Ok(self)
    }
}

impl Places {
    /// None for a user without a home.
    fn of_this_user() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            let (state, config) = ("/var/lib/restic-manager-agent".into(), "/etc/restic-manager".into());
            return Some(Self { state, config });
        }
        let xdg = Xdg::new().ok()?;
        let state = xdg.state_dir().unwrap_or_else(|| xdg.data_dir()).join("restic-manager-agent");
        Some(Self { state, config: xdg.config_dir().join("restic-manager") })
    }
}

fn first(paths: [&Option<PathBuf>; 2]) -> Option<PathBuf> {
    paths.into_iter().find_map(Clone::clone)
}

fn absolute(path: PathBuf) -> Result<PathBuf, SettingsError> {
    std::path::absolute(&path).map_err(|_| SettingsError::Relative { path })
}

/// The path without links and dots, as far as it exists.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        (_, _) => path.to_owned(),
    }
}

fn times(grace_seconds: Option<u64>) -> Result<JobTimes, SettingsError> {
    let times = JobTimes::default();
    match grace_seconds {
        None => Ok(times),
        Some(seconds @ 1..=3600) => Ok(JobTimes { grace: Duration::from_secs(seconds), ..times }),
        Some(seconds) => Err(SettingsError::Grace { seconds }),
    }
}

fn read(path: &Path) -> Result<File, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| SettingsError::Wrong { path: path.to_owned(), source })
}

fn read_if_there(path: &Path) -> Result<File, SettingsError> {
    match path.try_exists() {
        Ok(false) => Ok(File::default()),
        Ok(true) | Err(_) => read(path),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn load(config: &str, flags: &[&str]) -> Result<Settings, SettingsError> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("agent.toml");
        std::fs::write(&path, config).unwrap();
        let args = ["agent", "status", "--config", path.to_str().unwrap()];
        let cli = Cli::try_parse_from(args.iter().chain(flags)).unwrap();
        Settings::load(&cli.global)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let config = "state_dir = '/s'\nkey_file = '/k'\ngrace_seconds = 7\nserver = 'https://a.example'\n\
            [log]\nformat = 'json'";
        let settings = load(config, &["--state-dir", "/flag"]).unwrap();
        assert_eq!(settings.state_dir, Path::new("/flag"));
        assert_eq!(settings.cache_dir, Path::new("/flag/cache"));
        assert_eq!(settings.key_file, Path::new("/k"));
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!(settings.log_level, LogLevel::Info);
        assert_eq!(settings.times.grace, Duration::from_secs(7));
        assert_eq!(settings.server.unwrap().to_string(), "https://a.example");
    }

    #[test]
    fn an_agent_alone_behaves_as_it_is_told_and_nonsense_is_refused() {
        let alone = load("", &[]).unwrap().alone;
        assert_eq!((alone.offline_grace.as_secs(), alone.settle.as_secs(), alone.stop_after), (60, 60, None));
        let config = "offline_grace_seconds = 5\nsettle_seconds = 0\nstop_without_server_after_days = 90";
        let alone = load(config, &[]).unwrap().alone.with(Some(7), None, None).unwrap();
        assert_eq!((alone.offline_grace.as_secs(), alone.settle.as_secs()), (7, 0));
        assert_eq!(alone.stop_after, Some(Duration::from_secs(90 * 86_400)));
        assert!(matches!(
            alone.with(Some(86_401), None, None),
            Err(SettingsError::OfflineGrace { seconds: 86_401 })
        ));
        assert!(matches!(alone.with(None, Some(3_601), None), Err(SettingsError::Settle { seconds: 3_601 })));
        let never = load("stop_without_server_after_days = 0", &[]).unwrap_err();
        assert!(never.hint().unwrap().contains("days"));
    }

    #[test]
    fn a_key_beside_what_it_opens_is_refused_by_every_name_it_has() {
        let temp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(temp.path().join("state"), temp.path().join("link")).unwrap();
        std::fs::create_dir(temp.path().join("state")).unwrap();
        let state = temp.path().join("state");
        for key in ["state/agent.key", "state/new/agent.key", "link/agent.key"] {
            let key = temp.path().join(key);
            let flags = ["--state-dir", state.to_str().unwrap(), "--key-file", key.to_str().unwrap()];
            let error = load("", &flags).unwrap_err();
            assert!(matches!(error, SettingsError::KeyWithSecrets { .. }), "{error}");
            assert!(error.hint().unwrap().contains("--key-file"));
        }
        let beside = temp.path().join("state.key");
        let flags = ["--state-dir", state.to_str().unwrap(), "--key-file", beside.to_str().unwrap()];
        assert!(load("", &flags).is_ok());
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        let error = load("stat_dir = '/s'", &[]).unwrap_err();
        let SettingsError::Wrong { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains("stat_dir"), "{source}");
        assert!(matches!(load("grace_seconds = 0", &[]), Err(SettingsError::Grace { seconds: 0 })));
        let plain = load("server = 'http://far.example'", &[]).unwrap_err();
        assert!(plain.hint().unwrap().contains("--allow-plain-http"));
        assert!(load("server = 'http://far.example'\nallow_plain_http = true", &[]).is_ok());
    }

    #[test]
    fn a_configuration_that_was_named_must_be_there() {
        let cli = Cli::try_parse_from(["agent", "status", "--config", "/nowhere/agent.toml"]).unwrap();
        assert!(matches!(Settings::load(&cli.global), Err(SettingsError::Unreadable { .. })));
    }
}
