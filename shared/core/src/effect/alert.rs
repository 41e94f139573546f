//! The confirmation of threshold alerts by the balances that the API shows.

use std::fmt;
use std::str::FromStr;

use strum::IntoStaticStr;

use crate::id::Id;
use crate::rightfoot_api::{Amount, Balance};
use crate::thresholds::Thresholds;

/// One alert in a recorded event. It is a hint, not yet confirmed.
#[derive(Clone, PartialEq, Eq)]
pub struct ReportedAlert {
    /// The authorizer whose balance it is.
    pub authorizer: Id,
    /// The institution's name. Only webhooks have it, and not all of them.
    pub institution: Option<String>,
    /// The reported balance, if it can be parsed.
    pub balance: Option<Amount>,
    /// The reported threshold, if it can be parsed.
    pub threshold: Option<Amount>,
}

/// A balance that met its threshold.
#[derive(Clone, PartialEq, Eq)]
pub struct ThresholdCrossing {
    /// The authorizer whose balance it is.
    pub authorizer: Id,
    /// The institution's name from the webhook, unconfirmed.
    pub institution: Option<String>,
    /// The balance.
    pub balance: Amount,
    /// The threshold.
    pub threshold: Amount,
    /// The source of that threshold.
    pub threshold_source: ThresholdSource,
}

/// The source of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ThresholdSource {
    /// The tracked schedule, as it was submitted or tracked.
    Schedule,
    /// The webhook alone, which is unsigned.
    Webhook,
}

impl ThresholdSource {
    /// The name used on the bus and in the table.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The handling of alerts about an untracked batch whose webhook URL belongs to a subject that nothing
/// tracked is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UntrackedAlertPolicy {
    /// Publish them as soon as the API confirms the balance, by the threshold in the webhook.
    #[default]
    PublishConfirmed,
    /// Wait until the batch is tracked; quarantine them at the deadline.
    Quarantine,
}

/// The error of parsing an [`UntrackedAlertPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use confirmed or quarantine")]
pub struct InvalidUntrackedAlertPolicy;

impl FromStr for UntrackedAlertPolicy {
    type Err = InvalidUntrackedAlertPolicy;

    fn from_str(name: &str) -> Result<Self, InvalidUntrackedAlertPolicy> {
        match name {
            "confirmed" => Ok(Self::PublishConfirmed),
            "quarantine" => Ok(Self::Quarantine),
            _ => Err(InvalidUntrackedAlertPolicy),
        }
    }
}

impl ReportedAlert {
    /// The crossing as reported, for a deployment that does not confirm alerts; `None` if balance or
    /// threshold is missing.
    pub fn to_unconfirmed(&self) -> Option<ThresholdCrossing> {
        Some(self.crossing(self.balance?, self.threshold?, ThresholdSource::Webhook))
    }

    /// Confirms the alert by the API's row: the check succeeded, and the balance meets the threshold.
    ///
    /// If the schedule's `thresholds` are known, they apply and the reported threshold is ignored: a webhook
    /// is unsigned.
    pub fn confirmed_by(&self, row: &Balance, thresholds: Option<&Thresholds>) -> Option<ThresholdCrossing> {
        // A failed check should have no amount. If it has one all the same, it proves nothing.
        let balance = row.amount.filter(|_| row.status_code == 0)?;
        let (threshold, source) = match thresholds {
            Some(thresholds) => (thresholds.of(&self.authorizer)?, ThresholdSource::Schedule),
            None => (self.threshold?, ThresholdSource::Webhook),
        };
        (balance >= threshold).then(|| self.crossing(balance, threshold, source))
    }

    fn crossing(
        &self,
        balance: Amount,
        threshold: Amount,
        threshold_source: ThresholdSource,
    ) -> ThresholdCrossing {
        let (authorizer, institution) = (self.authorizer.clone(), self.institution.clone());
        ThresholdCrossing { authorizer, institution, balance, threshold, threshold_source }
    }
}

/// Shows nothing of it: personal data (P8).
impl fmt::Debug for ReportedAlert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportedAlert")
    }
}

/// Shows nothing of it: personal data (P8).
impl fmt::Debug for ThresholdCrossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThresholdCrossing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    fn alert(balance: Option<&str>, threshold: Option<&str>) -> ReportedAlert {
        ReportedAlert {
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

    /// The confirmed balance and threshold, as text.
    fn confirmed(reported: &str, shown: &str, thresholds: Option<&Thresholds>) -> Option<(String, String)> {
        let crossing =
            alert(Some("999999"), Some(reported)).confirmed_by(&row(Some(shown), 0), thresholds)?;
        assert_eq!(crossing.institution.as_deref(), Some("First National Bank"));
        let source = if thresholds.is_some() { ThresholdSource::Schedule } else { ThresholdSource::Webhook };
        assert_eq!(crossing.threshold_source, source);
        Some((crossing.balance.to_string(), crossing.threshold.to_string()))
    }

    fn some(balance: &str, threshold: &str) -> Option<(String, String)> {
        Some((balance.to_owned(), threshold.to_owned()))
    }

    #[test]
    fn an_alert_is_confirmed_by_a_balance_that_meets_its_threshold() {
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
        assert_eq!(
            confirmed("1", "150", Some(&Thresholds::default())),
            None,
            "the schedule has no thresholds"
        );
    }

    #[test]
    fn an_unconfirmed_alert_needs_balance_and_threshold() {
        let crossing = alert(Some("150.00"), Some("100")).to_unconfirmed().unwrap();
        assert_eq!(
            (crossing.balance.to_string(), crossing.threshold.to_string()),
            ("150.00".to_owned(), "100".to_owned())
        );
        assert_eq!(alert(None, Some("100")).to_unconfirmed(), None);
        assert_eq!(alert(Some("150.00"), None).to_unconfirmed(), None);
    }

    #[test]
    fn the_untracked_alert_policy_parses() {
        assert_eq!("confirmed".parse(), Ok(UntrackedAlertPolicy::PublishConfirmed));
        assert_eq!("quarantine".parse(), Ok(UntrackedAlertPolicy::Quarantine));
        let wrong = "Confirmed".parse::<UntrackedAlertPolicy>().unwrap_err();
        assert_eq!(wrong.to_string(), "use confirmed or quarantine");
    }

    #[test]
    fn p8_debug_shows_no_personal_data() {
        assert_eq!(format!("{:?}", alert(Some("1"), Some("1"))), "ReportedAlert");
    }
}
