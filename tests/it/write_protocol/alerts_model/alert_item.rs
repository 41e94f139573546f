//! The item of one authorizer's alert, and every write to it: what `shared/aws/src/inbox` does to `effect#alert`.

/// Replays of one event at the most.
pub(crate) const MAX_REPLAYS: u8 = 2;

/// What the code would be without one of its conditions. Each must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlertMutant {
    /// An item remembers its last publisher only.
    LastPublisherOnly,
    /// Whether an alert is published is told by there being no claim, not by what says so.
    PublishedIsUnclaimed,
    /// An event that was never replayed publishes unless it has itself.
    EachEventOnce,
    /// A claim takes the place of a younger one of the same event.
    OlderClaim,
}

/// The item of one authorizer's alert. Tags are bits, see [`Publisher::tag`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ModelAlert {
    /// Who has claimed it.
    pub(crate) claim: u8,
    /// For which event.
    pub(crate) claim_event: u8,
    /// Whether that claim has run out.
    pub(crate) claim_expired: bool,
    /// Whether it has a `published_at`.
    pub(crate) published: bool,
    /// Who has published it.
    pub(crate) tags: u8,
}

/// Who publishes: an event, under a claim, in one of its replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Publisher {
    /// The event: 0 or 1.
    pub(crate) event: u8,
    /// The replay; 0 for none.
    pub(crate) replay: u8,
    /// The claim.
    pub(crate) claim: u8,
}

impl Publisher {
    /// The event and its replay, as a bit.
    pub(crate) fn tag(self) -> u8 {
        1 << (self.event * (MAX_REPLAYS + 1) + self.replay)
    }
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimOutcome {
    /// It is this event's to publish.
    Acquired,
    /// It has been published.
    Published,
    /// Another event's worker is about to publish it.
    HeldByOther,
}

impl ModelAlert {
    /// Claims it. `over` is the claim that had run out when the request was made, and the request is younger than a claim of
    /// the same event, or not: it may arrive late.
    pub(crate) fn claim(
        &mut self,
        by: Publisher,
        expired_claim: u8,
        is_younger: bool,
        mutant: Option<AlertMutant>,
    ) -> ClaimOutcome {
        let is_younger = is_younger || mutant == Some(AlertMutant::OlderClaim);
        let is_free = self.claim == 0
            || (self.claim_expired && self.claim == expired_claim)
            || (self.claim_event == by.event && is_younger)
            || self.claim == by.claim;
        let is_published = if by.replay == 0 && mutant != Some(AlertMutant::EachEventOnce) {
            self.published
        } else {
            self.tags & by.tag() != 0
        };
        if is_free && !is_published {
            // The same claim made again ends when it would have ended.
            self.claim_expired = self.claim_expired && self.claim == by.claim;
            (self.claim, self.claim_event) = (by.claim, by.event);
            return ClaimOutcome::Acquired;
        }
        let is_said =
            if mutant == Some(AlertMutant::PublishedIsUnclaimed) { self.claim == 0 } else { is_published };
        if is_said { ClaimOutcome::Published } else { ClaimOutcome::HeldByOther }
    }

    /// Writes down who has published it. Refused without the claim.
    pub(crate) fn mark(&mut self, by: Publisher, mutant: Option<AlertMutant>) -> bool {
        if self.claim != by.claim {
            return false;
        }
        (self.claim, self.claim_event, self.claim_expired) = (0, 0, false);
        self.add_publisher(by, mutant);
        true
    }

    /// The same for who has lost the claim.
    pub(crate) fn add_publisher(&mut self, by: Publisher, mutant: Option<AlertMutant>) {
        let others = if mutant == Some(AlertMutant::LastPublisherOnly) { 0 } else { self.tags };
        (self.published, self.tags) = (true, others | by.tag());
    }
}
