//! The origin of an event.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// The way in which an event was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Origin {
    /// A webhook delivered it.
    Webhook,
    /// The poller found it.
    Poll,
    /// An operator replayed it out of quarantine.
    Replay,
}

impl Origin {
    /// Every origin.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name used in records and messages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The origin with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}
