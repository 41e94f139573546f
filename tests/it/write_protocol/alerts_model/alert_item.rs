//! The item of one authorizer's alert and every write to it, as `shared/aws/src/stores/processing/alert_claims.rs` writes `effect#alert`.

/// Most replays of one event.
pub(crate) const MAX_REPLAYS: u8 = 2;

/// Conditions of the code that a test drops, one at a time. The exploration must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlertMutant {
    /// An item remembers only its last publisher.
    LastPublisherOnly,
    /// An alert counts as published when it has no claim, instead of by `published_at` or its set of publishers.
    PublishedIsUnclaimed,
    /// An event that was never replayed publishes unless it has published itself.
    EachEventOnce,
    /// An older claim replaces a younger one of the same event.
    OlderClaim,
}

/// The item of one authorizer's alert. `tags` has the bits of [`Publisher::tag`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ModelAlert {
    /// Number of the claim; 0 for none.
    pub(crate) claim: u8,
    /// Event of the claim.
    pub(crate) claim_event: u8,
    /// True if the claim has expired.
    pub(crate) claim_expired: bool,
    /// True if it has a `published_at`.
    pub(crate) published: bool,
    /// Its publishers.
    pub(crate) tags: u8,
}

/// A publisher: an event, under a claim, in one of its replays.
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
    /// Bit for the event and its replay.
    pub(crate) fn tag(self) -> u8 {
        1 << (self.event * (MAX_REPLAYS + 1) + self.replay)
    }
}

/// Result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimOutcome {
    /// This event is to publish the alert.
    Acquired,
    /// The alert has been published.
    Published,
    /// Another event's worker is about to publish it.
    HeldByOther,
}

impl ModelAlert {
    /// Claims the alert. `expired_claim` is the claim that had expired when the request was made. `is_younger` is
    /// false if the request arrives after a younger claim of the same event.
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
            // A repeated claim keeps its original expiry.
            self.claim_expired = self.claim_expired && self.claim == by.claim;
            (self.claim, self.claim_event) = (by.claim, by.event);
            return ClaimOutcome::Acquired;
        }
        let is_reported =
            if mutant == Some(AlertMutant::PublishedIsUnclaimed) { self.claim == 0 } else { is_published };
        if is_reported { ClaimOutcome::Published } else { ClaimOutcome::HeldByOther }
    }

    /// Records the publisher and ends its claim. Fails if the claim is not its own.
    pub(crate) fn mark(&mut self, by: Publisher, mutant: Option<AlertMutant>) -> bool {
        if self.claim != by.claim {
            return false;
        }
        (self.claim, self.claim_event, self.claim_expired) = (0, 0, false);
        self.add_publisher(by, mutant);
        true
    }

    /// Records a publisher that has lost its claim.
    pub(crate) fn add_publisher(&mut self, by: Publisher, mutant: Option<AlertMutant>) {
        let others = if mutant == Some(AlertMutant::LastPublisherOnly) { 0 } else { self.tags };
        (self.published, self.tags) = (true, others | by.tag());
    }
}
