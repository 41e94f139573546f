//! The payload parts of the table: which items name them, and whether they name the person.

use std::collections::HashMap;

use inbox_core::id::Id;
use inbox_core::limits::BODY_MAX_BYTES;
use inbox_core::person::{is_old_orphan, names_person};
use inbox_core::time::{UnixMillis, UnixSecs};

use super::{FoundItem, PersonalDataKind, WhyLeft};
use crate::items::payload::inflate_beginning;
use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::value::{Item, read};

/// All parts that a search has seen, by their names.
#[derive(Debug, Default)]
pub(super) struct StoredParts(HashMap<String, PartInfo>);

#[derive(Debug, Default)]
struct PartInfo {
    /// Number of items that name it.
    references: usize,
    /// True if an interrupted erasure is to delete it.
    is_outdated: bool,
    /// The part itself; `None` while only items that name it were seen.
    stored: Option<StoredPart>,
}

#[derive(Clone, Copy, Debug)]
struct StoredPart {
    expires_at: UnixSecs,
    names_person: bool,
}

impl StoredParts {
    /// Adds a part. Its content is searched now, so that no part has to be read twice.
    pub(super) fn add_part(&mut self, name: &str, item: &Item, person: &Id) {
        let Some(expires_at) = read(item, Attribute::ExpiresAt) else { return };
        let piece = item.get(Attribute::Piece.name()).and_then(|piece| piece.as_b().ok());
        let bytes_max = u64::try_from(BODY_MAX_BYTES).unwrap_or(u64::MAX);
        let content = piece.and_then(|piece| inflate_beginning(piece.as_ref(), bytes_max));
        let names_person = content.is_some_and(|content| names_person(&content, person));
        self.0.entry(name.to_owned()).or_default().stored = Some(StoredPart { expires_at, names_person });
    }

    /// Counts an item that names this part.
    pub(super) fn add_reference(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_default().references += 1;
    }

    /// Notes that an item names this part only to have it deleted.
    pub(super) fn add_outdated(&mut self, name: &str) {
        self.0.entry(name.to_owned()).or_default().is_outdated = true;
    }

    /// Returns `true` if a payload that is this part alone names the person; `None` if the part was not seen.
    pub(super) fn names_person(&self, name: &str) -> Option<bool> {
        Some(self.0.get(name)?.stored?.names_person)
    }

    /// Removes the reference of an item that was erased.
    pub(super) fn release(&mut self, name: &str) {
        if let Some(part) = self.0.get_mut(name) {
            part.references = part.references.saturating_sub(1);
        }
    }

    /// Returns `true` if an item names the part.
    pub(super) fn is_referenced(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|part| part.references > 0)
    }

    /// The expiry of a part, as it was seen.
    pub(super) fn expiry(&self, name: &str) -> Option<UnixSecs> {
        Some(self.0.get(name)?.stored?.expires_at)
    }

    /// The parts that name the person, and that no item names.
    pub(super) fn orphans(&self, retention_days: u64, now: UnixMillis) -> Vec<FoundItem> {
        let orphans = self.0.iter().filter(|(_, part)| part.references == 0 && !part.is_outdated);
        let found = orphans.filter_map(|(name, part)| {
            let stored = part.stored.filter(|stored| stored.names_person)?;
            let is_old = is_old_orphan(stored.expires_at, retention_days, now);
            let left = (!is_old).then_some(WhyLeft::TooYoung);
            Some(FoundItem::new(PersonalDataKind::OrphanedPart, &Key::payload_part(name), left))
        });
        found.collect()
    }
}
