//! What several tabs ask for at once is read once: fragments are kept for a few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Fragments that are kept. Each filtered list has its own.
const KEPT_MAX: usize = 200;

type Slot = Arc<tokio::sync::Mutex<Option<(Instant, String)>>>;

/// Fragments by name, each with the time at which it was made.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(Mutex<HashMap<String, Slot>>);

impl Snapshots {
    /// The fragment of this name, if it is younger than `max_age`; otherwise a new one. Those who ask meanwhile wait
    /// for the same one.
    pub(crate) async fn get<E>(
        &self,
        name: &str,
        max_age: Duration,
        make: impl Future<Output = Result<String, E>>,
    ) -> Result<String, E> {
        let slot = self.slot(name);
        let mut kept = slot.lock().await;
        if let Some((_, text)) = kept.as_ref().filter(|(made_at, _)| made_at.elapsed() < max_age) {
            return Ok(text.clone());
        }
        let text = make.await?;
        *kept = Some((Instant::now(), text.clone()));
        Ok(text)
    }

    fn slot(&self, name: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEPT_MAX && !slots.contains_key(name) {
            slots.clear();
        }
        slots.entry(name.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fragment_is_made_once_for_all_tabs_and_again_when_it_is_old() {
        let snapshots = Snapshots::default();
        let made = std::sync::atomic::AtomicUsize::new(0);
        let make = async || {
            let nth = made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, ()>(format!("#{nth}"))
        };
        let minute = Duration::from_secs(60);
        let (one, other) =
            tokio::join!(snapshots.get("a", minute, make()), snapshots.get("a", minute, make()));
        assert_eq!((one.as_deref(), other.as_deref()), (Ok("#0"), Ok("#0")));
        assert_eq!(snapshots.get("b", minute, make()).await.as_deref(), Ok("#1"));
        assert_eq!(snapshots.get("a", Duration::ZERO, make()).await.as_deref(), Ok("#2"));
        let failed = snapshots.get("a", Duration::ZERO, async { Err::<String, _>("no") }).await;
        assert_eq!(failed, Err("no"));
        assert_eq!(
            snapshots.get("a", minute, make()).await.as_deref(),
            Ok("#2"),
            "an error replaces nothing"
        );
    }
}
