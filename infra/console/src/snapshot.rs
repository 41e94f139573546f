//! What several tabs ask for at once is read once: values are kept for a few seconds.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Values that are kept. Each filtered list has its own.
const KEPT_MAX: usize = 200;

/// Values by name, each with the time at which it was made. A name always has a value of the same type.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(Mutex<HashMap<String, Arc<Slot>>>);

/// A value, and the time at which it was made.
type Kept = (Instant, Box<dyn Any + Send>);

#[derive(Debug, Default)]
struct Slot {
    kept: Mutex<Option<Kept>>,
    /// Held while a value is made.
    making: tokio::sync::Mutex<()>,
}

impl Snapshots {
    /// The value of this name, if it is younger than `max_age`; otherwise a new one. Those who ask meanwhile wait for the
    /// same one.
    pub(crate) async fn get<T: Clone + Send + 'static, E>(
        &self,
        name: &str,
        max_age: Duration,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let slot = self.slot(name);
        let _making = slot.making.lock().await;
        if let Some(value) = slot.kept(max_age) {
            return Ok(value);
        }
        let value = make.await?;
        *slot.lock() = Some((Instant::now(), Box::new(value.clone())));
        Ok(value)
    }

    /// The value of this name, if it is younger than `max_age`. Waits for nothing.
    pub(crate) fn peek<T: Clone + 'static>(&self, name: &str, max_age: Duration) -> Option<T> {
        self.slot(name).kept(max_age)
    }

    fn slot(&self, name: &str) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEPT_MAX && !slots.contains_key(name) {
            slots.clear();
        }
        slots.entry(name.to_owned()).or_default().clone()
    }
}

impl Slot {
    fn kept<T: Clone + 'static>(&self, max_age: Duration) -> Option<T> {
        let kept = self.lock();
        let (_, value) = kept.as_ref().filter(|(made_at, _)| made_at.elapsed() < max_age)?;
        value.downcast_ref().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_value_is_made_once_for_all_tabs_and_again_when_it_is_old() {
        let snapshots = Snapshots::default();
        let made = std::sync::atomic::AtomicUsize::new(0);
        let make = async || {
            let nth = made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, ()>(format!("#{nth}"))
        };
        let (one, other) =
            tokio::join!(snapshots.get("a", MINUTE, make()), snapshots.get("a", MINUTE, make()));
        assert_eq!((one.as_deref(), other.as_deref()), (Ok("#0"), Ok("#0")));
        assert_eq!(snapshots.get("b", MINUTE, make()).await.as_deref(), Ok("#1"));
        assert_eq!(snapshots.get("a", Duration::ZERO, make()).await.as_deref(), Ok("#2"));
        let failed = snapshots.get("a", Duration::ZERO, async { Err::<String, _>("no") }).await;
        assert_eq!(failed, Err("no"));
        assert_eq!(
            snapshots.get("a", MINUTE, make()).await.as_deref(),
            Ok("#2"),
            "an error replaces nothing"
        );
    }

    #[tokio::test]
    async fn a_peek_sees_the_last_value_while_a_new_one_is_made() {
        let snapshots = Snapshots::default();
        assert_eq!(snapshots.peek::<u8>("a", MINUTE), None);
        let _ = snapshots.get("a", MINUTE, async { Ok::<_, ()>(1_u8) }).await;
        let seen = snapshots.get("a", Duration::ZERO, async { snapshots.peek::<u8>("a", MINUTE).ok_or(()) });
        assert_eq!(seen.await, Ok(1));
        assert_eq!(snapshots.peek::<u8>("a", Duration::ZERO), None, "too old");
        assert_eq!(snapshots.peek::<String>("a", MINUTE), None, "of another type");
    }
}
