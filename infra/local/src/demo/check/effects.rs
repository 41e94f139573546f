//! P10: every event was worked on to its end, and what it brought about is there, once.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::delivery::Provider;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::submitted::completion_id;
use super::{Evidence, Part, Problem};
use crate::demo::rightfoot::COMPLETED;
use crate::inspect::{PublishedEvent, StoredBalance, PublishedDetail};
use crate::rightfoot::{BatchSeen, RowSeen};
use crate::connector::CallOutcome;

/// Why an event is given up whose alerts Rightfoot does not show.
const UNCONFIRMED: &str = "unconfirmed";

/// What has to be brought about.
#[derive(Default)]
pub(in crate::demo) struct Owed<'a> {
    /// The batches that are told to be complete.
    pub(in crate::demo) completed: BTreeMap<&'a str, &'a BatchSeen>,
    /// Balance and threshold, by batch and authorizer.
    pub(in crate::demo) met: BTreeMap<(String, String), (String, String)>,
    /// Payloads, by event.
    pub(in crate::demo) extracted: BTreeMap<&'a str, &'a [u8]>,
    /// Events that tell what Rightfoot does not show.
    pub(in crate::demo) unconfirmed: BTreeSet<&'a str>,
}

/// What an alert's body tells.
#[derive(Deserialize)]
struct Told {
    r#type: String,
    #[serde(default)]
    alerts: Vec<ToldOf>,
}

#[derive(Deserialize)]
struct ToldOf {
    authorizer_unique_id: String,
    threshold_amount: Box<RawValue>,
}

/// What something on the bus is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Completed(String),
    Met(String, String),
    Extracted(String),
    Else(String),
}

/// Everything that is wrong with it.
pub(super) fn problems(seen: &Evidence) -> Vec<Problem> {
    let owed = seen.owed();
    [ends(seen, &owed), balances(seen, &owed), bus(seen, &owed)].concat()
}

impl Evidence {
    /// What had to be brought about, by what was sent and what Rightfoot knows.
    pub(in crate::demo) fn owed(&self) -> Owed<'_> {
        let mut owed = Owed::default();
        for batch in &self.truth.batches {
            owed.completed.insert(&batch.batch_id, batch);
        }
        for (batch_id, authorizer) in &self.truth.due_alerts {
            let batch = self.truth.batch(batch_id);
            let balance = batch.and_then(|batch| row(batch, authorizer)?.balance.clone());
            let threshold = self.thresholds.get(authorizer).copied();
            let amounts = (balance.unwrap_or_default(), threshold.unwrap_or_default().to_owned());
            owed.met.insert((batch_id.clone(), authorizer.clone()), amounts);
        }
        for part in self.events() {
            match part.provider() {
                Provider::Fynapse => drop(owed.extracted.insert(&part.outgoing.id, &part.outgoing.body)),
                Provider::Rightfoot => self.owe(part, &mut owed),
            }
        }
        owed
    }

    /// What comes of what the cast's Rightfoot told.
    fn owe<'a>(&'a self, part: &'a Part, owed: &mut Owed<'a>) {
        let batch_id = part.outgoing.id.split('/').nth(2).unwrap_or_default();
        let batch = self.truth.others.iter().find(|batch| batch.batch_id == batch_id);
        let Ok(told) = serde_json::from_slice::<Told>(&part.outgoing.body) else { return };
        if told.r#type == COMPLETED {
            owed.completed.extend(batch.map(|batch| (batch.batch_id.as_str(), batch)));
            return;
        }
        for ToldOf { authorizer_unique_id: authorizer, threshold_amount } in told.alerts {
            let row = batch.and_then(|batch| row(batch, &authorizer)).filter(|row| row.status_code == 0);
            let threshold = threshold_amount.get();
            match row.and_then(|row| row.balance.as_deref()) {
                Some(balance) if decimal(balance) >= decimal(threshold) => {
                    let amounts = (balance.to_owned(), threshold.to_owned());
                    owed.met.insert((batch_id.to_owned(), authorizer), amounts);
                }
                Some(_) | None => drop(owed.unconfirmed.insert(&part.outgoing.id)),
            }
        }
    }

    /// How often each effect is on the bus, with the events that it is told by, and its different ids.
    fn effects(&self) -> BTreeMap<About, Vec<&PublishedEvent>> {
        let mut effects: BTreeMap<About, Vec<&PublishedEvent>> = BTreeMap::new();
        for announced in &self.announced {
            effects.entry(About::of(announced)).or_default().push(announced);
        }
        effects
    }

    /// How many times more than once an effect may have been announced: as often as somebody could not know, or could
    /// not write down, that it had been.
    fn excuses(&self, about: &[&PublishedEvent]) -> usize {
        let names: BTreeSet<&str> =
            about.iter().flat_map(|it| [it.id.as_str(), it.event_id.as_str()]).collect();
        let unknown = self.worked_log.iter().filter(|(call, fate)| {
            let writes = call.operation == "UpdateItem";
            let is_excuse = match fate {
                CallOutcome::Pending | CallOutcome::Delayed | CallOutcome::AppliedLate(_) => true,
                CallOutcome::Faulted(fault) => writes || fault.leaves_outcome_unknown(),
                CallOutcome::Answered(_) => false,
            };
            let concerns_it = call.event_ids.iter().any(|id| names.contains(id.as_str()));
            (writes || call.operation == "PutEvents") && is_excuse && concerns_it
        });
        let cut_off = names.iter().filter_map(|name| self.worked.cut_off.get(*name)).sum::<usize>();
        unknown.count() + cut_off
    }
}

impl About {
    fn of(announced: &PublishedEvent) -> Self {
        match &announced.detail {
            PublishedDetail::BatchCompleted { batch_id, .. } => Self::Completed(batch_id.clone()),
            PublishedDetail::ThresholdMet { batch_id, authorizer, .. } => {
                Self::Met(batch_id.clone(), authorizer.clone())
            }
            PublishedDetail::BalanceExtracted { .. } => Self::Extracted(announced.event_id.clone()),
            PublishedDetail::Other(detail_type) => Self::Else(detail_type.clone()),
        }
    }

    fn is_owed(&self, owed: &Owed<'_>) -> bool {
        match self {
            Self::Completed(batch_id) => owed.completed.contains_key(batch_id.as_str()),
            Self::Met(batch_id, authorizer) => owed.met.contains_key(&(batch_id.clone(), authorizer.clone())),
            Self::Extracted(event_id) => owed.extracted.contains_key(event_id.as_str()),
            Self::Else(_) => false,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Completed(batch_id) => format!("completion of {batch_id}"),
            Self::Met(batch_id, authorizer) => format!("alert of {authorizer} in {batch_id}"),
            Self::Extracted(event_id) | Self::Else(event_id) => event_id.clone(),
        }
    }
}

/// Every event was worked on to the end that it deserves.
fn ends(seen: &Evidence, owed: &Owed<'_>) -> Vec<Problem> {
    let records = |what, is_wrong: &dyn Fn(&str, bool, bool) -> bool| {
        let wrong =
            seen.table.records.iter().filter(|(id, record)| is_wrong(id, record.is_done, record.is_quarantined));
        Problem { what, ids: wrong.map(|(id, _)| id.clone()).collect() }
    };
    let is_kept = |id: &str| {
        let kept = seen.table.quarantined.iter();
        kept.filter(|kept| kept.event_id.as_deref() == Some(id)).any(|kept| kept.reason == UNCONFIRMED)
    };
    vec![
        records("recorded, and never worked on to its end", &|_, done, quarantined| !done && !quarantined),
        records("given up, although Rightfoot shows what it tells", &|id, _, quarantined| {
            quarantined && !owed.unconfirmed.contains(id)
        }),
        records("done, although Rightfoot does not show what it tells", &|id, done, _| {
            done && owed.unconfirmed.contains(id)
        }),
        records("given up, and not in quarantine as unconfirmed", &|id, _, quarantined| {
            quarantined && owed.unconfirmed.contains(id) && !is_kept(id)
        }),
    ]
}

/// Row by row, what is stored is what Rightfoot holds.
fn balances(seen: &Evidence, owed: &Owed<'_>) -> Vec<Problem> {
    let mut stored: BTreeMap<(&str, &str), Vec<&StoredBalance>> = BTreeMap::new();
    for balance in &seen.stored {
        stored.entry((&balance.batch_id, &balance.authorizer)).or_default().push(balance);
    }
    let rows: BTreeMap<(&str, &str), &RowSeen> = owed
        .completed
        .values()
        .flat_map(|batch| {
            batch.rows.iter().map(|row| ((batch.batch_id.as_str(), row.authorizer.as_str()), row))
        })
        .collect();
    let name = |(batch_id, authorizer): &(&str, &str)| format!("{authorizer} in {batch_id}");
    let is_other = |place: &(&str, &str), stored: &[&StoredBalance]| {
        rows.get(place).is_some_and(|row| stored.iter().any(|stored| !is_stored_as(row, stored)))
    };
    vec![
        Problem {
            what: "a balance that Rightfoot shows, and that is not stored",
            ids: rows.keys().filter(|place| !stored.contains_key(place)).map(name).collect(),
        },
        Problem {
            what: "a balance that is stored, and that Rightfoot does not show",
            ids: stored.keys().filter(|place| !rows.contains_key(place)).map(name).collect(),
        },
        Problem {
            what: "stored more than once",
            ids: stored.iter().filter(|(_, stored)| stored.len() > 1).map(|(place, _)| name(place)).collect(),
        },
        Problem {
            what: "stored with another balance or status than Rightfoot's",
            ids: stored
                .iter()
                .filter(|(place, stored)| is_other(place, stored))
                .map(|(place, _)| name(place))
                .collect(),
        },
    ]
}

/// What is on the bus: every effect, each under one id, once.
fn bus(seen: &Evidence, owed: &Owed<'_>) -> Vec<Problem> {
    let effects = seen.effects();
    let completed = owed.completed.keys().map(|batch_id| About::Completed((*batch_id).to_owned()));
    let met = owed.met.keys().map(|(batch_id, authorizer)| About::Met(batch_id.clone(), authorizer.clone()));
    let extracted = owed.extracted.keys().map(|event_id| About::Extracted((*event_id).to_owned()));
    let all = completed.chain(met).chain(extracted);
    let named = |what, is_wrong: &dyn Fn(&About, &[&PublishedEvent]) -> bool| {
        let wrong = effects.iter().filter(|(about, copies)| is_wrong(about, copies));
        Problem { what, ids: wrong.map(|(about, _)| about.name()).collect() }
    };
    vec![
        Problem {
            what: "LOST: an effect that is owed, and not on the bus",
            ids: all.filter(|about| !effects.contains_key(about)).map(|about| about.name()).collect(),
        },
        named("on the bus, and nobody's effect", &|about, _| !about.is_owed(owed)),
        named("on the bus under several ids", &|_, copies| {
            copies.iter().map(|copy| copy.id.as_str()).collect::<BTreeSet<_>>().len() > 1
        }),
        named("on the bus more often than steps of unknown outcome explain", &|_, copies| {
            copies.len() > 1 + seen.excuses(copies)
        }),
        named("on the bus with other contents than it should", &|about, copies| {
            about.is_owed(owed) && !copies.iter().all(|copy| is_as_owed(copy, owed))
        }),
        named("on the bus with another origin than recorded", &|_, copies| {
            copies
                .iter()
                .any(|copy| seen.origin_of(&copy.event_id).is_some_and(|origin| origin != copy.origin))
        }),
    ]
}

fn is_as_owed(announced: &PublishedEvent, owed: &Owed<'_>) -> bool {
    match &announced.detail {
        PublishedDetail::BatchCompleted { batch_id, expected, found, by_status_code } => {
            let Some(batch) = owed.completed.get(batch_id.as_str()) else { return false };
            let mut codes: BTreeMap<String, usize> = BTreeMap::new();
            for row in &batch.rows {
                *codes.entry(row.status_code.to_string()).or_default() += 1;
            }
            announced.event_id == completion_id(batch_id)
                && *found == batch.rows.len()
                && *by_status_code == codes
                && expected.is_none_or(|expected| expected == batch.rows.len())
        }
        PublishedDetail::ThresholdMet { batch_id, authorizer, balance, threshold, confirmed } => {
            let amounts = owed.met.get(&(batch_id.clone(), authorizer.clone()));
            *confirmed && amounts == Some(&(balance.clone(), threshold.clone()))
        }
        PublishedDetail::BalanceExtracted { data, referenced } => {
            let payload = owed.extracted.get(announced.event_id.as_str()).copied();
            let is_carried = data.as_deref().is_none_or(|data| Some(data) == payload.map(<[u8]>::trim_ascii));
            is_carried && referenced.as_deref() == payload
        }
        PublishedDetail::Other(_) => false,
    }
}

fn is_stored_as(row: &RowSeen, stored: &StoredBalance) -> bool {
    let is_equal = match (&row.balance, &stored.balance) {
        (Some(shown), Some(stored)) => decimal(shown).is_some() && decimal(shown) == decimal(stored),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    is_equal && stored.status_code == row.status_code.to_string()
}

fn row<'a>(batch: &'a BatchSeen, authorizer: &str) -> Option<&'a RowSeen> {
    batch.rows.iter().find(|row| row.authorizer == authorizer)
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}
