//! Tracked schedules.

use std::time::Duration;

use inbox_core::audit::AuditEntry;
use inbox_core::id::Id;
use inbox_core::list_kind::ListKind;
use inbox_core::poll::schedule::TrackedSchedule;
use inbox_core::time::UnixMillis;

use super::{StoredPayload, TrackingState};
use crate::table::attribute::Attribute;
use crate::table::key::{Key, SCHEDULE_PK_PREFIX};
use crate::table::value::{Item, read, read_list};

/// A tracked schedule, as stored.
#[derive(Clone, Debug)]
pub struct ScheduleItem {
    /// The schedule and its last known state.
    pub schedule: TrackedSchedule,
    /// Its `rev` and times.
    pub tracking: TrackingState,
    /// Time at which tracking ended because everything was known.
    pub done_at: Option<UnixMillis>,
    /// Location of its thresholds.
    pub thresholds: StoredPayload,
    /// The audit entries of operators.
    pub audit_entries: Vec<AuditEntry>,
}

impl ScheduleItem {
    /// A schedule whose tracking begins.
    pub(crate) fn new(schedule: TrackedSchedule, thresholds: StoredPayload, due_at: UnixMillis) -> Self {
        let tracking = TrackingState::new(Key::schedule(&schedule.schedule_id), due_at);
        Self { schedule, tracking, done_at: None, thresholds, audit_entries: Vec::new() }
    }

    /// The attributes of a schedule whose tracking begins.
    pub(crate) fn to_item(&self) -> Item {
        self.tracking
            .to_new_item()
            .listed(ListKind::Schedule, self.tracking.key(), self.schedule.since)
            .set_some(Attribute::Subject, self.schedule.subject.as_ref())
            .set(Attribute::Probes, &self.schedule.probes)
            .set(Attribute::Since, &self.schedule.since)
            .set(Attribute::IntervalSecs, &self.schedule.interval.as_secs())
            .set(Attribute::ScheduleExpiresAt, &self.schedule.expires_at)
            .set(Attribute::Polls, &self.schedule.polls)
            .extend(self.thresholds.attributes())
            .build()
    }

    /// Reads a schedule; `None` if the item is not one.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let tracking = TrackingState::from_item(item)?;
        let schedule_id = tracking.key().pk.strip_prefix(SCHEDULE_PK_PREFIX).and_then(Id::new)?;
        Some(Self {
            schedule: TrackedSchedule {
                schedule_id,
                subject: read(item, Attribute::Subject),
                probes: read(item, Attribute::Probes)?,
                since: read(item, Attribute::Since)?,
                last_run_seen: read(item, Attribute::LastRunSeen),
                interval: Duration::from_secs(read(item, Attribute::IntervalSecs)?),
                expires_at: read(item, Attribute::ScheduleExpiresAt)?,
                polls: read(item, Attribute::Polls)?,
            },
            tracking,
            done_at: read(item, Attribute::DoneAt),
            thresholds: StoredPayload::from_item(item)?,
            audit_entries: read_list(item, Attribute::AuditEntries),
        })
    }
}
