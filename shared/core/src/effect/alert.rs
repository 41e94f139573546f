//! Whose threshold was met: what an alert tells, held against what the API shows.

use std::fmt;
use std::str::FromStr;

use crate::event::Id;
use crate::poll::batch::Thresholds;
use crate::rightfoot::{Amount, Balance};

/// One alert, as an event tells it: a hint.
#[derive(Clone, PartialEq, Eq)]
pub struct Alert {
    /// Whose balance it is.
    pub authorizer: Id,
    /// Where the account is. Only webhooks say so, and not all of them.
    pub institution: Option<String>,
    /// The balance, as it is told.
    pub balance: Option<Amount>,
    /// The threshold, as it is told.
    pub threshold: Option<Amount>,
}

/// A balance that met its threshold.
#[derive(Clone, PartialEq, Eq)]
pub struct Met {
    /// Whose balance it is.
    pub authorizer: Id,
    /// Where the account is, in the webhook's words.
    pub institution: Option<String>,
    /// The balance.
    pub balance: Amount,
    /// The threshold.
    pub threshold: Amount,
    /// Who names that threshold.
    pub threshold_source: ThresholdSource,
}

/// Who names the threshold that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdSource {
    /// The tracked schedule: it is the one that was asked for.
    Schedule,
    /// The webhook alone, which is unsigned.
    Webhook,
}

impl ThresholdSource {
    /// The name used on the bus and in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Webhook => "webhook",
        }
    }
}

/// What becomes of alerts of a batch that nobody tracks, and that came by the URL of a subject that is not bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UntrackedAlerts {
    /// They are published as soon as the API confirms them, by the threshold that the webhook names.
    #[default]
    Confirmed,
    /// They wait until the batch is tracked, and go to quarantine at the deadline.
    Quarantine,
}

/// No such setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use confirmed or quarantine")]
pub struct UnknownSetting;

impl FromStr for UntrackedAlerts {
    type Err = UnknownSetting;

    fn from_str(name: &str) -> Result<Self, UnknownSetting> {
        match name {
            "confirmed" => Ok(Self::Confirmed),
            "quarantine" => Ok(Self::Quarantine),
            _ => Err(UnknownSetting),
        }
    }
}

impl Alert {
    /// The alert as it is told, for who does not have it confirmed; `None` if it does not say all.
    pub fn as_told(&self) -> Option<Met> {
        Some(self.met(self.balance?, self.threshold?, ThresholdSource::Webhook))
    }

    /// The alert, if the API's row confirms it: the check succeeded, and the balance meets the threshold.
    ///
    /// Where it is known which thresholds were `asked` for, they count, whatever is told: a webhook is unsigned.
    pub fn confirmed_by(&self, row: &Balance, asked: Option<&Thresholds>) -> Option<Met> {
        let balance = row.amount.filter(|_| row.status_code == 0)?;
        let (threshold, source) = match asked {
            Some(asked) => (asked.of(&self.authorizer)?, ThresholdSource::Schedule),
            None => (self.threshold?, ThresholdSource::Webhook),
        };
        (balance >= threshold).then(|| self.met(balance, threshold, source))
    }

    fn met(&self, balance: Amount, threshold: Amount, threshold_source: ThresholdSource) -> Met {
        let (authorizer, institution) = (self.authorizer.clone(), self.institution.clone());
        Met { authorizer, institution, balance, threshold, threshold_source }
    }
}

/// Personal data (P8).
impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alert")
    }
}

/// Personal data (P8).
impl fmt::Debug for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Met")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn alert(balance: Option<&str>, threshold: Option<&str>) -> Alert {
        Alert {
            authorizer: Id::new("a").unwrap(),
            institution: Some("First National Bank".to_owned()),
            balance: balance.map(amount),
            threshold: threshold.map(amount),
        }
    }

    fn row(balance: Option<&str>, status_code: i64) -> Balance {
        Balance {
            authorizer: Id::new("a").unwrap(),
            amount: balance.map(amount),
            status_code,
            checked_at: None,
        }
    }

    fn thresholds(default: Option<&str>, own: Option<&str>) -> Thresholds {
        let own = own.map(|own| (Id::new("a").unwrap(), amount(own)));
        Thresholds { default: default.map(amount), authorizers: own.into_iter().collect() }
    }

    /// Balance and threshold that are confirmed, as they are printed.
    fn confirmed(told: &str, shown: &str, asked: Option<&Thresholds>) -> Option<(String, String)> {
        let met = alert(Some("999999"), Some(told)).confirmed_by(&row(Some(shown), 0), asked)?;
        assert_eq!(met.institution.as_deref(), Some("First National Bank"));
        let source = if asked.is_some() { ThresholdSource::Schedule } else { ThresholdSource::Webhook };
        assert_eq!(met.threshold_source, source);
        Some((met.balance.to_string(), met.threshold.to_string()))
    }

    fn some(balance: &str, threshold: &str) -> Option<(String, String)> {
        Some((balance.to_owned(), threshold.to_owned()))
    }

    #[test]
    fn an_alert_is_confirmed_by_a_balance_that_meets_its_threshold_and_that_balance_is_told() {
        let unknown = None;
        assert_eq!(confirmed("100.00", "150.50", unknown), some("150.50", "100.00"));
        assert_eq!(confirmed("100", "100.00", unknown), some("100.00", "100"), "meets or exceeds");
        assert_eq!(confirmed("100", "99.99", unknown), None);
        let alert = alert(Some("1"), Some("0"));
        assert_eq!(alert.confirmed_by(&row(None, 3300), unknown), None, "a failed check");
        assert_eq!(
            alert.confirmed_by(&row(Some("5"), 3300), unknown),
            None,
            "an amount beside a failed check"
        );
        assert_eq!(self::alert(Some("1"), None).confirmed_by(&row(Some("5"), 0), unknown), None);
    }

    #[test]
    fn a_forged_threshold_neither_makes_an_alert_nor_hides_one() {
        let default = thresholds(Some("100"), None);
        assert_eq!(confirmed("0.01", "50", Some(&default)), None, "below what we have asked for");
        assert_eq!(confirmed("1000000", "150", Some(&default)), some("150", "100"), "above it");
        let own = thresholds(None, Some("200"));
        assert_eq!(confirmed("100", "150", Some(&own)), None);
        assert_eq!(confirmed("100", "250", Some(&own)), some("250", "200"));
        let both = thresholds(Some("100"), Some("500"));
        assert_eq!(confirmed("100", "150", Some(&both)), None, "the authorizer's own counts");
        let others = Thresholds { default: None, authorizers: [(Id::new("b").unwrap(), amount("1"))].into() };
        assert_eq!(confirmed("100", "150", Some(&others)), None, "this one has none");
        assert_eq!(confirmed("1", "150", Some(&Thresholds::default())), None, "nobody was asked for");
    }

    #[test]
    fn an_alert_that_is_not_to_be_confirmed_must_say_all() {
        let met = alert(Some("150.00"), Some("100")).as_told().unwrap();
        assert_eq!(
            (met.balance.to_string(), met.threshold.to_string()),
            ("150.00".to_owned(), "100".to_owned())
        );
        assert_eq!(alert(None, Some("100")).as_told(), None);
        assert_eq!(alert(Some("150.00"), None).as_told(), None);
    }

    #[test]
    fn what_becomes_of_untracked_alerts_is_one_of_two_words() {
        assert_eq!("confirmed".parse(), Ok(UntrackedAlerts::Confirmed));
        assert_eq!("quarantine".parse(), Ok(UntrackedAlerts::Quarantine));
        let wrong = "Confirmed".parse::<UntrackedAlerts>().unwrap_err();
        assert_eq!(wrong.to_string(), "use confirmed or quarantine");
    }

    #[test]
    fn p8_debug_shows_nobody() {
        assert_eq!(format!("{:?}", alert(Some("1"), Some("1"))), "Alert");
    }
}
