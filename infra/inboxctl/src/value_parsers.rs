//! Parsers of values on the command line. Their errors list the accepted forms.

use anyhow::bail;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use inbox_aws::config::BaseUrl;
use inbox_aws::stores::TimeRange;
use inbox_core::audit::OperatorAction;
use inbox_core::delivery::Provider;
use inbox_core::fynapse_api::finding::MissedReason;
use inbox_core::id::Id;
use inbox_core::lifecycle::EventState;
use inbox_core::origin::Origin;
use inbox_core::quarantine::{QuarantineId, QuarantineReason};
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::{BatchStatus, SubmissionState};

use crate::output::Timestamp;

/// A time on the command line: RFC 3339, or an age such as `36h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeArg {
    At(UnixMillis),
    SecsAgo(u64),
}

impl std::str::FromStr for TimeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(at) = UnixMillis::from_rfc3339(text) {
            return Ok(Self::At(at));
        }
        let unit = |last| match last {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3_600),
            'd' => Some(86_400),
            _ => None,
        };
        // By characters: the last one may be longer than a byte.
        let mut digits = text.chars();
        let secs = digits.next_back().and_then(unit).zip(digits.as_str().parse::<u64>().ok());
        let age = secs.map(|(unit, count)| Self::SecsAgo(count.saturating_mul(unit)));
        age.ok_or("a time is RFC 3339 (2026-01-02T03:04:05Z) or an age (45s, 90m, 36h, 7d)".to_owned())
    }
}

/// Times between which listed items are.
#[derive(Args)]
pub(crate) struct TimeRangeArgs {
    /// Only items of this time or later: RFC 3339, or an age such as 90m, 36h, 7d.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<TimeArg>,
    /// Only items before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<TimeArg>,
}

impl TimeRangeArgs {
    /// The times, with ages before `now`.
    ///
    /// # Errors
    ///
    /// The range holds no time.
    pub(crate) fn resolve(&self, now: UnixMillis) -> anyhow::Result<TimeRange> {
        let since = self.since.map(|since| since.resolve(now));
        let until = self.until.map(|until| until.resolve(now));
        if let Some((since, until)) = since.zip(until).filter(|(since, until)| until <= since) {
            let [since, until] = [since, until].map(|at| Timestamp(at).with_age(now));
            bail!("--until ({until}) is not after --since ({since}): no time is between them");
        }
        Ok(TimeRange { since, until })
    }
}

impl TimeArg {
    pub(crate) fn resolve(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::At(at) => at,
            Self::SecsAgo(secs) => now.minus(std::time::Duration::from_secs(secs)),
        }
    }
}

pub(crate) fn provider_parser() -> impl TypedValueParser<Value = Provider> {
    one_of(Provider::ALL, Provider::as_str)
}

pub(crate) fn origin_parser() -> impl TypedValueParser<Value = Origin> {
    one_of(Origin::ALL, Origin::as_str)
}

pub(crate) fn action_parser() -> impl TypedValueParser<Value = OperatorAction> {
    one_of(OperatorAction::ALL, OperatorAction::as_str)
}

pub(crate) fn state_parser() -> impl TypedValueParser<Value = EventState> {
    one_of(EventState::ALL, EventState::as_str)
}

pub(crate) fn batch_status_parser() -> impl TypedValueParser<Value = BatchStatus> {
    one_of(BatchStatus::ALL, BatchStatus::as_str)
}

pub(crate) fn submission_state_parser() -> impl TypedValueParser<Value = SubmissionState> {
    one_of(SubmissionState::ALL, SubmissionState::as_str)
}

pub(crate) fn submission_kind_parser() -> impl TypedValueParser<Value = SubmissionKind> {
    one_of(&[SubmissionKind::Batch, SubmissionKind::Schedule], SubmissionKind::as_str)
}

pub(crate) fn reason_parser() -> impl TypedValueParser<Value = QuarantineReason> {
    one_of(QuarantineReason::ALL, QuarantineReason::as_str)
}

pub(crate) fn missed_reason_parser() -> impl TypedValueParser<Value = MissedReason> {
    one_of(MissedReason::ALL, MissedReason::as_str)
}

pub(crate) fn parse_base_url(url: &str) -> Result<String, String> {
    url.parse::<BaseUrl>().map(String::from).map_err(|error| error.to_string())
}

/// A parser of the names of these values. It offers them to the shell's completion.
fn one_of<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name_of: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let names = all.iter().map(move |one| name_of(*one));
    PossibleValuesParser::new(names).try_map(move |name| {
        let found = all.iter().copied().find(|one| name_of(*one) == name);
        found.ok_or_else(|| format!("{name} is unknown"))
    })
}

/// A quarantined item on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QuarantineRef {
    /// Its id.
    Id(QuarantineId),
    /// The beginning of its hash, in hexadecimal.
    Short(String),
}

pub(crate) fn parse_quarantine_ref(name: &str) -> Result<QuarantineRef, String> {
    if let Some(id) = QuarantineId::from_name(name) {
        return Ok(QuarantineRef::Id(id));
    }
    let is_short = !name.is_empty() && name.len() < 64 && name.bytes().all(|it| it.is_ascii_hexdigit());
    is_short.then(|| QuarantineRef::Short(name.to_owned())).ok_or_else(|| {
        "an item is <provider>/<sha256>, <provider>/<subject>/<sha256>, or a short id as `quarantine list` prints it"
            .to_owned()
    })
}

/// Parses the name of a secret or subscription at Fynapse, by its rule for subscriptions.
pub(crate) fn parse_fynapse_name(name: &str) -> Result<String, String> {
    let is_valid = (1..=255).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_valid { Ok(name.to_owned()) } else { Err("a name has 1 to 255 characters".to_owned()) }
}

pub(crate) fn parse_id(text: &str) -> Result<Id, String> {
    Id::new(text).ok_or_else(|| "an id has 1 to 512 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_ends_before_it_begins_is_an_error() {
        let range = |since: &str, until: &str| {
            let range = TimeRangeArgs { since: since.parse().ok(), until: until.parse().ok() };
            range.resolve(UnixMillis(1_767_323_045_000)).map_err(|error| error.to_string())
        };
        assert!(range("3d", "2d").is_ok() && range("3d", "").is_ok() && range("", "3d").is_ok());
        assert_eq!(
            range("2h", "3h").unwrap_err(),
            "--until (2026-01-02T00:04:05.000Z (3 h ago)) is not after --since (2026-01-02T01:04:05.000Z (2 h ago)): \
             no time is between them"
        );
        assert!(range("3d", "3d").is_err());
    }

    #[test]
    fn a_time_is_a_date_or_an_age() {
        assert_eq!("36h".parse(), Ok(TimeArg::SecsAgo(129_600)));
        assert_eq!("7d".parse(), Ok(TimeArg::SecsAgo(604_800)));
        assert_eq!("2026-01-02T03:04:05Z".parse(), Ok(TimeArg::At(UnixMillis(1_767_323_045_000))));
        for wrong in ["", "h", "5", "5w", "-5m", "yesterday", "é"] {
            assert!(wrong.parse::<TimeArg>().is_err(), "{wrong}");
        }
        assert_eq!(TimeArg::SecsAgo(5).resolve(UnixMillis(7_000)), UnixMillis(2_000));
    }
}
