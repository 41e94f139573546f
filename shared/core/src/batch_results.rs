//! The results of a batch, as operators see them: how many were found and published, and by whom.

use strum::IntoStaticStr;

use crate::origin::Origin;
use crate::poll::batch::ResultsFound;
use crate::time::UnixMillis;

/// The results of a batch: expected, found and published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchResults {
    /// The number of results that there must be; `None` if the batch is not tracked.
    pub expected: Option<u64>,
    /// The largest number that was found, if any number is known.
    pub found: Option<FoundResults>,
    /// Its completion on the bus, if that was published.
    pub published: Option<PublishedResults>,
}

/// A number of results, and where it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundResults {
    /// The number of results.
    pub count: u64,
    /// The reader that has seen it.
    pub by: ResultsReader,
    /// The time at which this number was first seen.
    pub since: UnixMillis,
}

/// A reader of a batch's balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ResultsReader {
    /// A poll of the batch.
    Poll,
    /// The worker that processes its completion.
    Worker,
}

impl ResultsReader {
    /// The name shown to operators.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A completion on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedResults {
    /// The number of results in it.
    pub count: u64,
    /// The origin of its event.
    pub origin: Origin,
    /// The time at which its event was done.
    pub at: UnixMillis,
}

/// The results that the event of a batch's completion knows of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompletionResults {
    /// Those that a worker found when it last requeued the event.
    pub found: Option<ResultsFound>,
    /// Those that were published.
    pub published: Option<PublishedResults>,
}

impl BatchResults {
    /// The results of a batch of which `polled` were found by polls, and those of its completion by webhook or poll.
    pub fn of(expected: Option<u64>, polled: Option<ResultsFound>, completion: CompletionResults) -> Self {
        let CompletionResults { found: read, published } = completion;
        let by = |by| move |found: ResultsFound| FoundResults { count: found.count, by, since: found.since };
        let worker = |count, since| FoundResults { count, by: ResultsReader::Worker, since };
        let found = [
            polled.map(by(ResultsReader::Poll)),
            read.map(by(ResultsReader::Worker)),
            published.map(|published| worker(published.count, published.at)),
        ];
        // Results do not disappear, so the largest number is the newest one. Of equal numbers, the earliest reader counts.
        let found = found.into_iter().flatten().reduce(|best, next| {
            let is_better =
                (next.count, std::cmp::Reverse(next.since)) > (best.count, std::cmp::Reverse(best.since));
            if is_better { next } else { best }
        });
        Self { expected, found, published }
    }

    /// The number found of the number expected: `2 / 3`, with `?` for what is not known.
    pub fn to_short_text(&self) -> String {
        let text = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        format!("{} / {}", text(self.found.map(|found| found.count)), text(self.expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(count: u64, since: i64) -> Option<ResultsFound> {
        Some(ResultsFound { count, since: UnixMillis(since) })
    }

    fn published(count: u64, at: i64) -> Option<PublishedResults> {
        Some(PublishedResults { count, origin: Origin::Webhook, at: UnixMillis(at) })
    }

    /// Number, reader and time of what was found.
    fn of(
        polled: Option<ResultsFound>,
        found: Option<ResultsFound>,
        published: Option<PublishedResults>,
    ) -> Option<(u64, ResultsReader, i64)> {
        let results = BatchResults::of(Some(3), polled, CompletionResults { found, published });
        assert_eq!((results.expected, results.published), (Some(3), published));
        results.found.map(|found| (found.count, found.by, found.since.0))
    }

    #[test]
    fn the_largest_number_of_results_counts_and_its_earliest_reader() {
        use ResultsReader::{Poll, Worker};
        assert_eq!(of(None, None, None), None);
        assert_eq!(of(found(2, 10), None, None), Some((2, Poll, 10)));
        assert_eq!(of(found(0, 10), None, None), Some((0, Poll, 10)), "an answer without results");
        assert_eq!(of(None, found(1, 20), None), Some((1, Worker, 20)));
        assert_eq!(of(found(2, 10), found(3, 20), None), Some((3, Worker, 20)));
        assert_eq!(of(found(2, 10), found(1, 20), None), Some((2, Poll, 10)));
        assert_eq!(
            of(found(3, 10), None, published(3, 20)),
            Some((3, Poll, 10)),
            "found by poll, then published"
        );
        assert_eq!(of(None, found(2, 10), published(3, 20)), Some((3, Worker, 20)));
        assert_eq!(
            of(found(3, 30), found(1, 5), published(2, 20)),
            Some((3, Poll, 30)),
            "a correction is due"
        );
    }

    #[test]
    fn a_number_that_is_not_known_is_a_question_mark() {
        let results = |expected, polled| BatchResults::of(expected, polled, CompletionResults::default());
        assert_eq!(results(Some(3), found(2, 1)).to_short_text(), "2 / 3");
        assert_eq!(results(Some(3), None).to_short_text(), "? / 3");
        assert_eq!(results(None, found(2, 1)).to_short_text(), "2 / ?");
    }
}
