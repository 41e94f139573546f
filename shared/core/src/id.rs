//! A provider's opaque id.

use crate::limits::ID_MAX_BYTES;

/// A provider's opaque id of 1 to 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// Takes an id; `None` if it is empty or longer than [`ID_MAX_BYTES`].
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        (1..=ID_MAX_BYTES).contains(&id.len()).then_some(Self(id))
    }

    /// The id as the provider wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
