//! `inboxctl person show|erase`.

mod erase;
mod report;
mod show;

use clap::Subcommand;
use inbox_aws::stores::{FoundPersonalData, PersonalData};
use inbox_core::id::Id;

use super::dead_letters::count_dead_letters_of;
use crate::aws_error::WithResource;
use crate::output::{Rendered, pluralize};
use crate::target::Target;
use crate::terminal;
use erase::ErasePersonArgs;
use show::ShowPersonArgs;

/// Items between two lines of progress.
const PROGRESS_EVERY: u64 = 100_000;

#[derive(Subcommand)]
pub(crate) enum PersonCommand {
    /// Show where a person's id is stored, without amounts.
    ///
    /// Reads the whole table `inbox`, because most items hold the id inside a payload, and prints beforehand how much that is. An
    /// item holds the id if a field's value or name is the id and nothing else. A longer text that mentions the id does not count,
    /// except in answers to submissions, reasons in the audit trail, and deliveries that are not JSON.
    Show(ShowPersonArgs),
    /// Erase what is stored of a person: balances, alerts, payloads, thresholds, probes.
    ///
    /// First have the person deleted at the provider: whatever it shows or sends afterwards is stored again. Use --dry-run first. A
    /// payload is erased as a whole, with the other people that it names, and its event cannot be processed again. What is still at
    /// work is left and listed: events that are not done, and batches that are still polled. Then repeat the command later. It is
    /// safe to repeat, also after an interruption.
    Erase(ErasePersonArgs),
}

impl PersonCommand {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Rendered> {
        match self {
            Self::Show(args) => target.render(&show::show(target, args).await?),
            Self::Erase(args) => target.render(&erase::erase(target, args).await?),
        }
    }
}

/// Finds what is stored of a person. Says beforehand how much is read, and reports the progress. Also returns the number of dead
/// letters that name the person; `None` if the dead-letter queue could not be read.
async fn find(
    target: &Target,
    store: &PersonalData,
    person: &Id,
) -> anyhow::Result<(FoundPersonalData, Option<usize>)> {
    let table = target.inbox_table()?;
    let notice = |text: String| {
        // With --json, stderr is for the error alone.
        if !target.is_json {
            terminal::print_notice(&text);
        }
    };
    notice(match store.inbox_bytes().await {
        Ok(bytes) => format!("reads all of {table}: {}\n", cost_text(bytes)),
        // The permission is for this notice only.
        Err(_) => format!("reads all of {table}; its size is not known\n"),
    });
    let mut reported = 0;
    let on_page = |examined: u64| {
        if examined / PROGRESS_EVERY > reported / PROGRESS_EVERY {
            notice(format!("{} examined\n", pluralize(examined, "item", "items")));
        }
        reported = examined;
    };
    let mut found = store.find_in_inbox(person, target.now(), on_page).await.with_resource(&table)?;
    store.add_balances(person, &mut found).await.with_resource(&target.balances_table()?)?;
    Ok((found, count_dead_letters_of(target, person).await.ok()))
}

/// The size of a table, and what it costs to read it with strong consistency: a read unit for each 4 KB.
fn cost_text(bytes: u64) -> String {
    /// List price of a million read units in us-east-1, in thousandths of a dollar.
    const MILLION_READ_UNITS: u64 = 125;
    let tenths_mb = bytes.div_ceil(100_000);
    let cents = bytes.div_ceil(4_096).saturating_mul(MILLION_READ_UNITS) / 10_000_000;
    format!("{}.{} MB, about ${}.{:02}", tenths_mb / 10, tenths_mb % 10, cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_reading_a_table_follows_from_its_size() {
        assert_eq!(cost_text(0), "0.0 MB, about $0.00");
        assert_eq!(cost_text(1_250_000), "1.3 MB, about $0.00");
        // 2^30 / 4,096 = 262,144 read units.
        assert_eq!(cost_text(1 << 30), "1073.8 MB, about $0.03");
        assert_eq!(cost_text(100 << 30), "107374.2 MB, about $3.27");
    }
}
