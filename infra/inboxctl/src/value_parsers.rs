//! Parsers of values on the command line. Their errors list the accepted forms.

use clap::Args;
use inbox_aws::config::BaseUrl;
use inbox_aws::stores::TimeRange;
use inbox_core::audit::OperatorAction;
use inbox_core::delivery::Provider;
use inbox_core::id::Id;
use inbox_core::lifecycle::EventState;
use inbox_core::origin::Origin;
use inbox_core::quarantine::{QuarantineId, QuarantineReason};
use inbox_core::requests::submission::SubmissionKind;
use inbox_core::time::UnixMillis;
use inbox_core::timeline_status::{BatchStatus, SubmissionState};

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
    pub(crate) fn resolve(&self, now: UnixMillis) -> TimeRange {
        TimeRange {
            since: self.since.map(|since| since.resolve(now)),
            until: self.until.map(|until| until.resolve(now)),
        }
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

pub(crate) fn parse_provider(name: &str) -> Result<Provider, String> {
    parse_one_of(name, Provider::ALL, Provider::as_str)
}

pub(crate) fn parse_origin(name: &str) -> Result<Origin, String> {
    parse_one_of(name, Origin::ALL, Origin::as_str)
}

pub(crate) fn parse_action(name: &str) -> Result<OperatorAction, String> {
    parse_one_of(name, OperatorAction::ALL, OperatorAction::as_str)
}

pub(crate) fn parse_state(name: &str) -> Result<EventState, String> {
    parse_one_of(name, EventState::ALL, EventState::as_str)
}

pub(crate) fn parse_batch_status(name: &str) -> Result<BatchStatus, String> {
    parse_one_of(name, BatchStatus::ALL, BatchStatus::as_str)
}

pub(crate) fn parse_submission_state(name: &str) -> Result<SubmissionState, String> {
    parse_one_of(name, SubmissionState::ALL, SubmissionState::as_str)
}

pub(crate) fn parse_submission_kind(name: &str) -> Result<SubmissionKind, String> {
    parse_one_of(name, &[SubmissionKind::Batch, SubmissionKind::Schedule], SubmissionKind::as_str)
}

pub(crate) fn parse_reason(name: &str) -> Result<QuarantineReason, String> {
    parse_one_of(name, QuarantineReason::ALL, QuarantineReason::as_str)
}

pub(crate) fn parse_base_url(url: &str) -> Result<String, String> {
    url.parse::<BaseUrl>().map(String::from).map_err(|error| error.to_string())
}

/// Parses the name of one of these values.
fn parse_one_of<T: Copy>(name: &str, all: &[T], name_of: fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().copied().find(|one| name_of(*one) == name);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().copied().map(name_of).collect();
        format!("use one of {}", names.join(", "))
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

pub(crate) fn parse_id(text: &str) -> Result<Id, String> {
    Id::new(text).ok_or_else(|| "an id has 1 to 512 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
