//! The origin of an event.

/// The way in which an event was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A webhook delivered it.
    Webhook,
    /// The poller found it.
    Poll,
    /// An operator replayed it out of quarantine.
    Replay,
}

impl Origin {
    /// The name used in records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
            Self::Replay => "replay",
        }
    }

    /// The origin with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Webhook, Self::Poll, Self::Replay].into_iter().find(|origin| origin.as_str() == name)
    }
}
