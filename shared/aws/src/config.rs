//! Configuration from environment variables. Every error names the variable. Secrets are not configuration.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use tracing::Level;

use inbox_core::limits::RETENTION_MIN_DAYS;
use inbox_core::poll::PollTiming;
use inbox_core::subject::{InvalidSubject, Subject};

/// The variable that leads the AWS SDK to an emulated AWS.
pub const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";

/// A variable is missing or does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set, or empty.
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    /// The variable has an invalid value.
    #[error("environment variable {name} is not valid: {:?}: {why}", redact_userinfo(value))]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value. Secrets are not configuration, so it is shown, except the user name and password of a
        /// URL.
        value: String,
        /// The reason why it is invalid.
        why: String,
    },
}

/// Replaces user name and password of a URL by `…`, for error texts (P8).
pub fn redact_userinfo(value: &str) -> String {
    // The last `@` ends the user information: a password may contain others.
    value.rsplit_once('@').map_or_else(|| value.to_owned(), |(_, rest)| format!("…@{rest}"))
}

/// A source of environment variables; tests pass a closure.
#[derive(Clone, Copy)]
pub struct Env<F>(pub F);

impl Env<fn(&str) -> Option<String>> {
    /// Reads the environment of this process.
    pub fn process() -> Self {
        Self(|name| std::env::var(name).ok())
    }
}

impl<F: Fn(&str) -> Option<String>> Env<F> {
    /// Returns a variable that must be set.
    pub fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.var(name).ok_or(ConfigError::Missing(name))
    }

    /// Returns a variable that must be set to the base URL of an HTTP service.
    pub fn base_url(&self, name: &'static str) -> Result<BaseUrl, ConfigError> {
        let value = self.required(name)?;
        value.parse().map_err(|why: InvalidBaseUrl| ConfigError::Invalid {
            name,
            value,
            why: why.to_string(),
        })
    }

    /// Parses an optional variable; `default` if it is not set, or empty.
    pub fn parsed_or<T>(&self, name: &'static str, default: T) -> Result<T, ConfigError>
    where
        T: FromStr<Err: ToString>,
    {
        self.var(name).map_or(Ok(default), |value| {
            value.trim().parse().map_err(|why: T::Err| ConfigError::Invalid {
                name,
                why: why.to_string(),
                value,
            })
        })
    }

    /// Returns a variable; `None` if it is not set, or empty.
    pub fn var(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }
}

/// The base URL of an HTTP service: `http://` or `https://`, a host, and optionally a port and a path, without
/// a trailing `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

/// The text is not a base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a URL begins with https:// or http:// and a host, and has no user name, query or fragment")]
pub struct InvalidBaseUrl;

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = text.parse::<lambda_http::http::Uri>().map_err(|_| InvalidBaseUrl)?;
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        // `Uri` drops a fragment: look for it in the text.
        let is_bare = url.query().is_none() && !text.contains(['#', '@']);
        (is_http && has_host && is_bare)
            .then(|| Self(text.trim_end_matches('/').to_owned()))
            .ok_or(InvalidBaseUrl)
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.0
    }
}

/// Restarts this program with the same arguments, without those variables that are empty and are listed in
/// `names` or begin with `AWS_`. Returns if there is none.
///
/// An empty variable counts as unset. Command lines and the SDK read the environment by themselves and take an
/// empty value for a name, a region or a file.
pub fn restart_without_empty_variables(names: &[OsString]) -> std::io::Result<()> {
    restart_without_empty(|name| {
        names.iter().any(|it| it == name) || name.to_string_lossy().starts_with("AWS_")
    })
}

/// Restarts this program as [`restart_without_empty_variables`] does, without `AWS_ENDPOINT_URL` if it is empty.
///
/// The SAM CLI sets every variable that the template declares, and this one to nothing unless it is given a value:
/// the SDK would panic.
pub(crate) fn restart_without_empty_endpoint() -> std::io::Result<()> {
    restart_without_empty(|name| name == AWS_ENDPOINT_URL)
}

fn restart_without_empty(is_relevant: impl Fn(&OsStr) -> bool) -> std::io::Result<()> {
    let empty: Vec<_> = std::env::vars_os()
        .filter(|(name, value)| value.is_empty() && is_relevant(name))
        .map(|it| it.0)
        .collect();
    if empty.is_empty() {
        return Ok(());
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1));
    for name in empty {
        command.env_remove(name);
    }
    exec(command)
}

#[cfg(unix)]
fn exec(mut command: Command) -> std::io::Result<()> {
    Err(std::os::unix::process::CommandExt::exec(&mut command))
}

#[cfg(not(unix))]
fn exec(mut command: Command) -> std::io::Result<()> {
    // There is no `exec` here: run the child and pass on its exit code.
    std::process::exit(command.status()?.code().unwrap_or(1))
}

/// The configuration that all functions share.
#[derive(Clone, Debug)]
pub struct CommonConfig {
    /// `INBOX_TABLE`: the name of the table.
    pub table: String,
    /// `EVENTS_QUEUE_URL`: the queue `events`.
    pub queue_url: String,
    /// `RETENTION_DAYS`: days for which a finished record is kept.
    pub retention_days: u64,
    /// `METRICS_NAMESPACE`: the CloudWatch namespace of the metrics.
    pub metrics_namespace: String,
    /// `LOG_LEVEL`: error, warn, info, debug or trace.
    pub log_level: Level,
}

impl CommonConfig {
    /// Reads the configuration. `INBOX_TABLE` and `EVENTS_QUEUE_URL` must be set; the others have defaults.
    pub fn from_env(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            table: env.required("INBOX_TABLE")?,
            queue_url: env.required("EVENTS_QUEUE_URL")?,
            retention_days: env.parsed_or("RETENTION_DAYS", RETENTION_MIN_DAYS)?,
            metrics_namespace: env.parsed_or("METRICS_NAMESPACE", "BalanceInbox".to_owned())?,
            log_level: env.parsed_or("LOG_LEVEL", Level::INFO)?,
        })
    }
}

/// `POLL_FIRST_SECS`, `POLL_EVERY_SECS`, `POLL_GRACE_SECS`, `POLL_DEADLINE_SECS`: when Rightfoot is polled, and
/// for how long. None may be 0.
pub fn poll_timing(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<PollTiming, ConfigError> {
    let default = PollTiming::default();
    Ok(PollTiming {
        first: nonzero_secs(env, "POLL_FIRST_SECS", default.first)?,
        interval: nonzero_secs(env, "POLL_EVERY_SECS", default.interval)?,
        grace: nonzero_secs(env, "POLL_GRACE_SECS", default.grace)?,
        deadline: poll_deadline(env)?,
    })
}

/// `POLL_DEADLINE_SECS`: for how long Rightfoot is polled. It may not be 0.
pub fn poll_deadline(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Duration, ConfigError> {
    nonzero_secs(env, "POLL_DEADLINE_SECS", PollTiming::default().deadline)
}

/// `RIGHTFOOT_REVOKED_SUBJECTS`: the subjects whose URLs are no longer accepted, separated by commas.
pub fn revoked_subjects(
    env: &Env<impl Fn(&str) -> Option<String>>,
) -> Result<BTreeSet<Subject>, ConfigError> {
    const REVOKED: &str = "RIGHTFOOT_REVOKED_SUBJECTS";
    let revoked = env.parsed_or(REVOKED, String::new())?;
    let invalid = |why: InvalidSubject| ConfigError::Invalid {
        name: REVOKED,
        value: revoked.clone(),
        why: why.to_string(),
    };
    let subjects = revoked.split(',').map(str::trim).filter(|subject| !subject.is_empty());
    subjects.map(|subject| subject.parse().map_err(invalid)).collect()
}

fn nonzero_secs(
    env: &Env<impl Fn(&str) -> Option<String>>,
    name: &'static str,
    default: Duration,
) -> Result<Duration, ConfigError> {
    match env.parsed_or(name, default.as_secs())? {
        0 => Err(ConfigError::Invalid { name, value: "0".to_owned(), why: "must not be 0".to_owned() }),
        secs => Ok(Duration::from_secs(secs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(set: &'a [(&'a str, &'a str)]) -> Env<impl Fn(&str) -> Option<String> + 'a> {
        Env(|name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn unset_variables_have_defaults() {
        let common =
            CommonConfig::from_env(&env(&[("INBOX_TABLE", "t"), ("EVENTS_QUEUE_URL", "q")])).unwrap();
        assert_eq!((common.retention_days, common.log_level), (30, Level::INFO));
    }

    #[test]
    fn poll_timing_is_in_seconds() {
        assert_eq!(poll_timing(&env(&[])), Ok(PollTiming::default()));
        let timing = poll_timing(&env(&[("POLL_EVERY_SECS", "7")])).unwrap();
        assert_eq!((timing.interval, timing.first), (Duration::from_secs(7), Duration::from_secs(600)));
        assert!(poll_timing(&env(&[("POLL_GRACE_SECS", "0")])).is_err());
    }

    #[test]
    fn revoked_subjects_are_separated_by_commas() {
        let read = |value: &str| revoked_subjects(&env(&[("RIGHTFOOT_REVOKED_SUBJECTS", value)]));
        let subjects = |names: &[&str]| Ok(names.iter().map(|name| name.parse().unwrap()).collect());
        assert_eq!(revoked_subjects(&env(&[])), subjects(&[]));
        assert_eq!(read(" nightly, payroll ,,"), subjects(&["nightly", "payroll"]));
        let wrong = read("nightly,pay roll").unwrap_err().to_string();
        assert_eq!(
            wrong,
            "environment variable RIGHTFOOT_REVOKED_SUBJECTS is not valid: \"nightly,pay roll\": a subject is 1 to 64 characters of A-Z a-z 0-9 _ -"
        );
    }

    #[test]
    fn a_base_url_has_a_scheme_and_a_host() {
        for (url, normalized) in [
            ("https://inbox.example.com", "https://inbox.example.com"),
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
            ("https://[::1]:9000/a/b//", "https://[::1]:9000/a/b"),
        ] {
            assert_eq!(url.parse(), Ok(BaseUrl(normalized.to_owned())), "{url}");
        }
        for wrong in [
            "",
            "inbox.example.com",
            "inbox.example.com:443",
            "localhost:9001",
            "//inbox.example.com",
            "/webhooks",
            "https://",
            "https:///path",
            "ftp://inbox.example.com",
            "https://ada:secret@inbox.example.com",
            "https://inbox.example.com?x=1",
            "https://inbox.example.com#x",
            "https://inbox example.com",
            " https://inbox.example.com",
        ] {
            assert_eq!(wrong.parse::<BaseUrl>(), Err(InvalidBaseUrl), "{wrong:?}");
        }
    }

    #[test]
    fn an_error_names_the_variable_and_its_value() {
        let missing = CommonConfig::from_env(&env(&[("INBOX_TABLE", "")])).unwrap_err();
        assert_eq!(missing.to_string(), "environment variable INBOX_TABLE is not set");
        let wrong = poll_deadline(&env(&[("POLL_DEADLINE_SECS", "5m")])).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "environment variable POLL_DEADLINE_SECS is not valid: \"5m\": invalid digit found in string"
        );
    }
}
