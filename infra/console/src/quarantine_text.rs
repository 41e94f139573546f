//! What each reason of the quarantine means, and what to do about it (infra/OPERATIONS.md, "Quarantine").

use inbox_core::quarantine::QuarantineReason;

/// Meaning of a reason.
pub(crate) const fn meaning(reason: QuarantineReason) -> &'static str {
    match reason {
        QuarantineReason::Unreadable => "It is not JSON, or a required field is missing.",
        QuarantineReason::UnknownType => "This version does not know the type of the event.",
        QuarantineReason::UnusableId => "Its id is too long, or reserved.",
        QuarantineReason::SubjectMismatch => {
            "Its batch was submitted under another subject than that of the URL."
        }
        QuarantineReason::Stale => "Its signature is valid, but its time is outside the tolerance.",
        QuarantineReason::QueueRefused => "SQS has rejected its message ten times.",
        QuarantineReason::Unconfirmed => "Rightfoot's API does not confirm one of its alerts.",
        QuarantineReason::Incomplete => "Its batch was not complete at the deadline.",
        QuarantineReason::BusRefused => "EventBridge has rejected it.",
        QuarantineReason::ReplayLimit => "One of its alerts was published 500 times, by replays.",
        QuarantineReason::PayloadGone => "Its stored payload has expired or was erased.",
        QuarantineReason::UntrackedLimit => {
            "Its subject had 200 open events about untracked batches on that day already."
        }
        QuarantineReason::SubjectRevoked => "Its subject was revoked before it was processed.",
    }
}

/// The same inside a sentence.
pub(crate) fn meaning_in_sentence(reason: QuarantineReason) -> String {
    let text = meaning(reason).trim_end_matches('.');
    // Every meaning begins with an English word or a name; only the words are lowered.
    match text.split_once(' ') {
        Some((first @ ("It" | "Its" | "This" | "One"), rest)) => format!("{} {rest}", first.to_lowercase()),
        Some(_) | None => text.to_owned(),
    }
}

/// What to do about a reason.
pub(crate) const fn advice(reason: QuarantineReason) -> &'static str {
    match reason {
        QuarantineReason::Unreadable | QuarantineReason::UnknownType | QuarantineReason::UnusableId => {
            "Look at the payload. Deploy a version that accepts it. Then replay."
        }
        QuarantineReason::SubjectMismatch => {
            "Look at the batch. If a URL leaked, revoke its subject (RightfootRevokedSubjects), and close the items with \
             `inboxctl quarantine discard --subject SUBJECT --by NAME --why '…'`."
        }
        QuarantineReason::Stale => {
            "If the signature is hours old, somebody may be replaying a captured delivery: ask Fynapse first. If these are \
             late retries of Fynapse's, raise the parameter FynapseToleranceSecs, and replay."
        }
        QuarantineReason::QueueRefused | QuarantineReason::BusRefused => {
            "The event's content is not accepted. This is a defect of Balance Inbox. Replay after the fix."
        }
        QuarantineReason::Unconfirmed => {
            "Look at the batch. Have its schedule tracked (`track_schedule`). Or, if Rightfoot has corrected its data, replay: \
             it checks again. If the URL leaked, revoke it."
        }
        QuarantineReason::Incomplete => {
            "Look at the batch. If Rightfoot shows it complete later, the poller makes it due again, and a replay closes the \
             item. Otherwise ask Rightfoot; a replay checks again."
        }
        QuarantineReason::ReplayLimit => {
            "Further replays cannot be distinguished. Act on the balance that the API shows."
        }
        QuarantineReason::PayloadGone => "It cannot be processed again.",
        QuarantineReason::UntrackedLimit => {
            "If the batches are yours, have them tracked, then replay. If not, the URL leaked: revoke it."
        }
        QuarantineReason::SubjectRevoked => {
            "Nothing, if it is not yours. Otherwise replay: it is processed although its subject is revoked."
        }
    }
}
