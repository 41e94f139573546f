//! The subject of a webhook URL.

use std::fmt;
use std::str::FromStr;

use crate::limits::SUBJECT_MAX_BYTES;

/// The name that a webhook URL is minted for: a caller's `submission_id`, or one that an operator chose. It
/// must not be derived from personal data. `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

/// The error of parsing a [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to {SUBJECT_MAX_BYTES} characters of A-Z a-z 0-9 _ -")]
pub struct InvalidSubject;

impl Subject {
    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(name: &str) -> Result<Self, InvalidSubject> {
        let fits = (1..=SUBJECT_MAX_BYTES).contains(&name.len());
        let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if fits && legal { Ok(Self(name.to_owned())) } else { Err(InvalidSubject) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
