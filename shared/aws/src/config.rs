//! Configuration from the environment. An error names the variable; secrets are not configuration.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use tracing::Level;

use inbox_core::delivery::{NotASubject, Subject};
use inbox_core::limits::{RETENTION_MIN_DAYS, TOLERANCE_SECS};
use inbox_core::poll::Cadence;

/// A variable is missing or does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not set, or empty.
    #[error("environment variable {0} is not set")]
    Missing(&'static str),
    /// It is set to something else than it should be.
    #[error("environment variable {name} is not valid: {why}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// Where variables are read from.
#[derive(Clone, Copy)]
pub struct Env<F>(pub F);

impl Env<fn(&str) -> Option<String>> {
    /// The process's own environment.
    pub fn process() -> Self {
        Self(|name| std::env::var(name).ok())
    }
}

impl<F: Fn(&str) -> Option<String>> Env<F> {
    /// A variable that must be set.
    pub fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.set(name).ok_or(ConfigError::Missing(name))
    }

    /// A variable that may be left out.
    pub fn parsed_or<T>(&self, name: &'static str, default: T) -> Result<T, ConfigError>
    where
        T: FromStr<Err: ToString>,
    {
        self.set(name).map_or(Ok(default), |value| {
            value.trim().parse().map_err(|why: T::Err| ConfigError::Invalid { name, why: why.to_string() })
        })
    }

    fn set(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }
}

/// What every function is told.
#[derive(Clone, Debug)]
pub struct Common {
    /// `INBOX_TABLE`: the name of the table.
    pub table: String,
    /// `EVENTS_QUEUE_URL`: the queue `events`.
    pub queue_url: String,
    /// `RETENTION_DAYS`: how long a finished record is kept.
    pub retention_days: u64,
    /// `METRICS_NAMESPACE`: where CloudWatch files the metrics.
    pub metrics_namespace: String,
    /// `LOG_LEVEL`: error, warn, info, debug or trace.
    pub log_level: Level,
}

impl Common {
    /// Reads it.
    pub fn read(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            table: env.required("INBOX_TABLE")?,
            queue_url: env.required("EVENTS_QUEUE_URL")?,
            retention_days: env.parsed_or("RETENTION_DAYS", RETENTION_MIN_DAYS)?,
            metrics_namespace: env.parsed_or("METRICS_NAMESPACE", "BalanceInbox".to_owned())?,
            log_level: env.parsed_or("LOG_LEVEL", Level::INFO)?,
        })
    }
}

/// `FYNAPSE_TOLERANCE_SECS`: how far a signature's time may lie from now.
pub fn tolerance_secs(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<u64, ConfigError> {
    env.parsed_or("FYNAPSE_TOLERANCE_SECS", TOLERANCE_SECS)
}

/// `POLL_FIRST_SECS`, `POLL_EVERY_SECS`, `POLL_GRACE_SECS`, `POLL_DEADLINE_SECS`: when Rightfoot is asked, and how
/// long. None may be 0.
pub fn cadence(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Cadence, ConfigError> {
    let default = Cadence::default();
    Ok(Cadence {
        first: span(env, "POLL_FIRST_SECS", default.first)?,
        every: span(env, "POLL_EVERY_SECS", default.every)?,
        grace: span(env, "POLL_GRACE_SECS", default.grace)?,
        deadline: deadline(env)?,
    })
}

/// `POLL_DEADLINE_SECS`: how long Rightfoot is asked. It may not be 0.
pub fn deadline(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Duration, ConfigError> {
    span(env, "POLL_DEADLINE_SECS", Cadence::default().deadline)
}

/// `RIGHTFOOT_REVOKED_SUBJECTS`: subjects whose URLs are no longer accepted, separated by commas.
pub fn revoked_subjects(
    env: &Env<impl Fn(&str) -> Option<String>>,
) -> Result<BTreeSet<Subject>, ConfigError> {
    const REVOKED: &str = "RIGHTFOOT_REVOKED_SUBJECTS";
    let revoked = env.parsed_or(REVOKED, String::new())?;
    let invalid = |why: NotASubject| ConfigError::Invalid { name: REVOKED, why: why.to_string() };
    let subjects = revoked.split(',').map(str::trim).filter(|subject| !subject.is_empty());
    subjects.map(|subject| subject.parse().map_err(invalid)).collect()
}

fn span(
    env: &Env<impl Fn(&str) -> Option<String>>,
    name: &'static str,
    default: Duration,
) -> Result<Duration, ConfigError> {
    match env.parsed_or(name, default.as_secs())? {
        0 => Err(ConfigError::Invalid { name, why: "it may not be 0".to_owned() }),
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
    fn defaults_stand_for_what_is_left_out() {
        let common = Common::read(&env(&[("INBOX_TABLE", "t"), ("EVENTS_QUEUE_URL", "q")])).unwrap();
        assert_eq!((common.retention_days, common.log_level), (30, Level::INFO));
        assert_eq!(tolerance_secs(&env(&[])), Ok(300));
    }

    #[test]
    fn the_cadence_is_told_in_seconds() {
        assert_eq!(cadence(&env(&[])), Ok(Cadence::default()));
        let told = cadence(&env(&[("POLL_EVERY_SECS", "7")])).unwrap();
        assert_eq!((told.every, told.first), (Duration::from_secs(7), Duration::from_secs(600)));
        assert!(cadence(&env(&[("POLL_GRACE_SECS", "0")])).is_err());
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
            "environment variable RIGHTFOOT_REVOKED_SUBJECTS is not valid: a subject is 1 to 64 characters of A-Z a-z 0-9 _ -"
        );
    }

    #[test]
    fn an_error_names_the_variable() {
        let missing = Common::read(&env(&[("INBOX_TABLE", "")])).unwrap_err();
        assert_eq!(missing.to_string(), "environment variable INBOX_TABLE is not set");
        let wrong = tolerance_secs(&env(&[("FYNAPSE_TOLERANCE_SECS", "5m")])).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "environment variable FYNAPSE_TOLERANCE_SECS is not valid: invalid digit found in string"
        );
    }
}
