//! Results of actions, kept for a while: an action redirects to its result, so that a reload does not repeat it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Number of results that are kept.
const KEPT: usize = 50;

/// Result of an action on several things.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActionResult {
    /// Title of the page.
    pub(crate) title: String,
    /// One sentence about the whole.
    pub(crate) summary: String,
    /// What became of each thing.
    pub(crate) rows: Vec<ResultRow>,
    /// Link back, and its text.
    pub(crate) back: Option<(String, &'static str)>,
    /// True while the action goes on.
    pub(crate) is_running: bool,
}

/// What became of one thing.
#[derive(Clone, Debug)]
pub(crate) struct ResultRow {
    /// The thing.
    pub(crate) name: String,
    /// Link to its page, if it has one.
    pub(crate) link: Option<String>,
    /// What became of it.
    pub(crate) outcome: String,
    /// True if it was done.
    pub(crate) is_good: bool,
}

/// The last results. They are gone when the console stops.
#[derive(Debug, Default)]
pub(crate) struct Results(Mutex<VecDeque<(String, ActionResult)>>);

impl Results {
    /// Keeps a result, and returns its name.
    pub(crate) fn keep(&self, result: ActionResult) -> String {
        let name = Uuid::new_v4().simple().to_string();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((name.clone(), result));
        while kept.len() > KEPT {
            kept.pop_front();
        }
        name
    }

    /// Changes a result that is still kept.
    pub(crate) fn update(&self, name: &str, change: impl FnOnce(&mut ActionResult)) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, result)) = kept.iter_mut().find(|it| it.0 == name) {
            change(result);
        }
    }

    /// The result of this name; `None` if it is not kept any more.
    pub(crate) fn get(&self, name: &str) -> Option<ActionResult> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|it| it.0 == name).map(|it| it.1.clone())
    }
}
