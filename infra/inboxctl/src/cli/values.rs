//! What a value on the command line may be.

use inbox_aws::config::BaseUrl;
use inbox_core::delivery::Provider;
use inbox_core::event::{EventKey, Id};
use inbox_core::inbox::QuarantineReason;
use inbox_core::quarantine::QuarantineId;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;

/// A time on the command line: RFC 3339, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(UnixMillis),
    SecsAgo(u64),
}

impl std::str::FromStr for When {
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
        let mut digits = text.chars();
        let secs = digits.next_back().and_then(unit).zip(digits.as_str().parse::<u64>().ok());
        let age = secs.map(|(unit, count)| Self::SecsAgo(count.saturating_mul(unit)));
        age.ok_or("a time is RFC 3339 (2026-01-02T03:04:05Z) or an age (45s, 90m, 36h, 7d)".to_owned())
    }
}

impl When {
    pub(crate) fn at(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::At(at) => at,
            Self::SecsAgo(secs) => now.minus(std::time::Duration::from_secs(secs)),
        }
    }
}

pub(super) fn provider(name: &str) -> Result<Provider, String> {
    one_of(name, Provider::from_name, Provider::ALL.map(Provider::as_str))
}

pub(super) fn state(name: &str) -> Result<EventState, String> {
    one_of(name, EventState::from_name, EventState::ALL.map(EventState::as_str))
}

pub(super) fn reason(name: &str) -> Result<QuarantineReason, String> {
    one_of(name, QuarantineReason::from_name, QuarantineReason::ALL.map(QuarantineReason::as_str))
}

pub(super) fn base_url(url: &str) -> Result<String, String> {
    url.parse::<BaseUrl>().map(String::from).map_err(|error| error.to_string())
}

fn one_of<T, const N: usize>(
    name: &str,
    read: impl Fn(&str) -> Option<T>,
    all: [&str; N],
) -> Result<T, String> {
    read(name).ok_or_else(|| format!("use one of {}", all.join(", ")))
}

/// An event on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventRef {
    /// By its whole id.
    Key(EventKey),
    /// By the bare id of a Fynapse event, or of a batch.
    Bare(Id),
}

pub(super) fn event(id: &str) -> Result<EventRef, String> {
    if let Some(key) = EventKey::from_event_id(id) {
        return Ok(EventRef::Key(key));
    }
    let is_meant_whole = id.starts_with("rightfoot/") || id.starts_with("fynapse/");
    Id::new(id).filter(|_| !is_meant_whole).map(EventRef::Bare).ok_or_else(|| {
        "an event's id is rightfoot/batch/<id>/completed, rightfoot/batch/<id>/alert/<id>, fynapse/event/<id>, \
         or the bare id of a batch or a Fynapse event (1 to 512 bytes)"
            .to_owned()
    })
}

pub(super) fn kept(name: &str) -> Result<QuarantineId, String> {
    QuarantineId::from_name(name).ok_or_else(|| {
        "an item is <provider>/<sha256> or <provider>/<subject>/<sha256>, as `quarantine list` prints it"
            .to_owned()
    })
}

/// What goes on the record for good: it has to say something.
pub(super) fn by(name: &str) -> Result<String, String> {
    said(name).ok_or_else(|| "say who does this, here or in INBOXCTL_BY: it goes on the record".to_owned())
}

/// The same.
pub(super) fn why(text: &str) -> Result<String, String> {
    said(text).ok_or_else(|| "say why: it goes on the record".to_owned())
}

fn said(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

pub(super) fn id(text: &str) -> Result<Id, String> {
    Id::new(text).ok_or_else(|| "an id has 1 to 512 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_an_age() {
        assert_eq!("36h".parse(), Ok(When::SecsAgo(129_600)));
        assert_eq!("7d".parse(), Ok(When::SecsAgo(604_800)));
        assert_eq!("2026-01-02T03:04:05Z".parse(), Ok(When::At(UnixMillis(1_767_323_045_000))));
        for wrong in ["", "h", "5", "5w", "-5m", "yesterday", "é"] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
        assert_eq!(When::SecsAgo(5).at(UnixMillis(7_000)), UnixMillis(2_000));
    }
}
