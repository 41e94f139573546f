//! The item of one authorizer's alert, and every write to it: what `shared/aws/src/inbox` does to `effect#alert`.

/// Replays of one event at the most.
pub(crate) const REPLAYS: u8 = 2;

/// What the code would be without one of its conditions. Each must be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
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
pub(crate) struct Alert {
    /// Who has claimed it.
    pub(crate) claim: u8,
    /// For which event.
    pub(crate) claim_event: u8,
    /// Whether that claim has run out.
    pub(crate) claim_over: bool,
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
        1 << (self.event * (REPLAYS + 1) + self.replay)
    }
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// It is this event's to publish.
    Ours,
    /// It has been published.
    Published,
    /// Another event's worker is about to publish it.
    Taken,
}

impl Alert {
    /// Claims it. `over` is the claim that had run out when the request was made, and the request is younger than a claim of
    /// the same event, or not: it may arrive late.
    pub(crate) fn claim(
        &mut self,
        by: Publisher,
        over: u8,
        is_younger: bool,
        mutant: Option<Mutant>,
    ) -> Claimed {
        let is_younger = is_younger || mutant == Some(Mutant::OlderClaim);
        let is_free = self.claim == 0
            || (self.claim_over && self.claim == over)
            || (self.claim_event == by.event && is_younger)
            || self.claim == by.claim;
        let is_published = if by.replay == 0 && mutant != Some(Mutant::EachEventOnce) {
            self.published
        } else {
            self.tags & by.tag() != 0
        };
        if is_free && !is_published {
            // The same claim made again ends when it would have ended.
            self.claim_over = self.claim_over && self.claim == by.claim;
            (self.claim, self.claim_event) = (by.claim, by.event);
            return Claimed::Ours;
        }
        let is_said =
            if mutant == Some(Mutant::PublishedIsUnclaimed) { self.claim == 0 } else { is_published };
        if is_said { Claimed::Published } else { Claimed::Taken }
    }

    /// Writes down who has published it. Refused without the claim.
    pub(crate) fn mark(&mut self, by: Publisher, mutant: Option<Mutant>) -> bool {
        if self.claim != by.claim {
            return false;
        }
        (self.claim, self.claim_event, self.claim_over) = (0, 0, false);
        self.remember(by, mutant);
        true
    }

    /// The same for who has lost the claim.
    pub(crate) fn remember(&mut self, by: Publisher, mutant: Option<Mutant>) {
        let others = if mutant == Some(Mutant::LastPublisherOnly) { 0 } else { self.tags };
        (self.published, self.tags) = (true, others | by.tag());
    }
}
