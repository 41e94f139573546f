//! What the program that serves the console provides: its checks, and the sending of test deliveries.

use futures::future::BoxFuture;
use inbox_core::delivery::Provider;

use crate::last_hour::LastHour;

/// The program that serves the console.
pub trait Host: Send + Sync {
    /// Runs the checks of `inboxctl doctor` that do not read the whole table.
    ///
    /// # Errors
    ///
    /// The inbox cannot be reached; the text says why.
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>, String>>;

    /// Reads the metrics of the last hour, in one call.
    ///
    /// # Errors
    ///
    /// They cannot be read; the text says why, and names a permission that is missing.
    fn last_hour(&self) -> BoxFuture<'_, Result<LastHour, String>>;

    /// Sends a test delivery, as `inboxctl send` does.
    ///
    /// # Errors
    ///
    /// It could not be built or sent; the text says why.
    fn send_test(&self, delivery: TestDelivery) -> BoxFuture<'_, Result<SentDelivery, String>>;

    /// Checks that this machine's clock agrees with AWS's, as far as the last answers show: it decides what is written.
    ///
    /// # Errors
    ///
    /// The clocks differ; the text says by how much.
    fn check_clock(&self) -> Result<(), String>;

    /// The kinds of defects that a test delivery of this provider can have.
    fn defects(&self, provider: Provider) -> Vec<Defect>;
}

/// Result of one check of `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the check.
    pub check: String,
    /// Its status.
    pub status: FindingStatus,
    /// What was found.
    pub finding: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Status of a check, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingStatus {
    /// As the promises need it.
    Ok,
    /// Not made: it does not apply here, or reads the whole table.
    Skipped,
    /// Possibly intended; an operator should check.
    Warn,
    /// The check could not be made.
    Unknown,
    /// A promise is broken, or cannot be kept.
    Fail,
}

impl FindingStatus {
    /// The word for the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "not checked",
            Self::Warn => "warning",
            Self::Unknown => "unknown",
            Self::Fail => "failed",
        }
    }
}

/// A test delivery to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestDelivery {
    /// Provider to send as.
    pub provider: Provider,
    /// True if it is sent twice.
    pub is_twice: bool,
    /// Name of its defect, if it is to have one.
    pub defect: Option<String>,
    /// True for a threshold alert of Rightfoot's instead of a completion.
    pub is_alert: bool,
}

/// A kind of defect of a test delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Its name, as `inboxctl send --spoil` takes it.
    pub name: String,
    /// Its description.
    pub description: String,
}

/// A test delivery that was sent, and the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentDelivery {
    /// Id of its event; `None` if it was spoilt.
    pub event_id: Option<String>,
    /// The answer to each sending.
    pub answers: Vec<Answer>,
}

/// Answer to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status and body.
    pub actual: String,
    /// Acceptable answers, in the same form.
    pub expected: Vec<String>,
    /// Time until the answer, in milliseconds.
    pub took_ms: u64,
    /// True if the answer is acceptable.
    pub is_expected: bool,
}
