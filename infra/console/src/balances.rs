//! Stored balances of a batch, once they are asked for. The table of balances is keyed by authorizer, so they are found
//! for known authorizers only: those of the batch's alerts, and one that the user names.

use aws_sdk_dynamodb::types::AttributeValue;
use inbox_aws::AwsError;
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;

use crate::app::Inbox;
use crate::time_text::TimeTag;

const QUERY: &str = "dynamodb:Query";
/// Most authorizers whose balances are read.
const AUTHORIZERS_MAX: usize = 25;
/// Checks of one authorizer that are read, the latest ones.
const CHECKS_MAX: i32 = 100;

/// A stored balance.
pub(crate) struct BalanceRow {
    pub(crate) authorizer: String,
    /// In dollars, as stored; a dash if the check failed.
    pub(crate) balance: String,
    pub(crate) status: String,
    pub(crate) checked_at: TimeTag,
}

/// Reads the balances of these authorizers in a batch, one query each. Also returns a note if some were left out.
pub(crate) async fn balances_of_batch(
    inbox: &Inbox,
    batch_id: &Id,
    authorizers: &[Id],
    now: UnixMillis,
) -> Result<(Vec<BalanceRow>, Option<String>), AwsError> {
    let Some(table) = &inbox.balances_table else { return Ok((Vec::new(), None)) };
    let mut rows = Vec::new();
    for authorizer in authorizers.iter().take(AUTHORIZERS_MAX) {
        let query = inbox
            .dynamodb
            .query()
            .table_name(table)
            .key_condition_expression("pk = :authorizer")
            .expression_attribute_values(":authorizer", AttributeValue::S(authorizer.as_str().to_owned()))
            .scan_index_forward(false)
            .limit(CHECKS_MAX);
        let page = query.send().await.map_err(|error| AwsError::from_sdk_error(QUERY, &error))?;
        let of_batch = page.items().iter().filter_map(|item| {
            let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str);
            let (at, batch) = text("sk")?.split_once('#')?;
            (batch == batch_id.as_str()).then(|| BalanceRow {
                authorizer: authorizer.as_str().to_owned(),
                balance: match item.get("balance").and_then(|value| value.as_n().ok()) {
                    Some(amount) => format!("{amount} $"),
                    None => "–".to_owned(),
                },
                status: text("status").unwrap_or_default().to_owned(),
                checked_at: TimeTag::new(UnixMillis(at.parse().unwrap_or_default()), now),
            })
        });
        rows.extend(of_batch);
    }
    let note = (authorizers.len() > AUTHORIZERS_MAX).then(|| {
        format!("Only the first {AUTHORIZERS_MAX} of {} authorizers with an alert.", authorizers.len())
    });
    Ok((rows, note))
}
