//! The details as serialized to JSON. Their doc comments are the descriptions in the schemas; fields may be added.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::value::RawValue;

/// A detail, and the name of its type.
pub trait Detail: Serialize + JsonSchema {
    /// EventBridge's `detail-type`.
    const TYPE: &'static str;
}

/// The inbox event that this results from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceEvent<'a> {
    /// Id of the event in the inbox.
    pub event_id: &'a str,
    /// The way in which the event was received: by webhook, by polling, or by an operator's replay.
    #[schemars(extend("enum" = ["webhook", "poll", "replay"]))]
    pub origin: &'static str,
    /// The time at which the inbox received the event.
    #[schemars(extend("format" = "date-time"))]
    pub received_at: String,
    /// The number of times that an operator had the event processed again. Absent if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1))]
    pub replay: Option<u64>,
}

/// A batch is complete, and its balances are in the balances table.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BalanceBatchCompleted<'a> {
    /// Idempotency key. Process each id and revision once.
    pub id: &'a str,
    #[serde(flatten)]
    /// The inbox event that this results from.
    pub source_event: SourceEvent<'a>,
    /// Rightfoot's id of the batch.
    pub batch_id: &'a str,
    /// Rightfoot's id of the schedule whose run the batch is. Absent if there is none, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub schedule_id: Option<&'a str>,
    /// The submission_id, or the name that the webhook URL was minted for. Absent if the batch is tracked
    /// under none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub subject: Option<&'a str>,
    /// The number of results that there had to be. Absent if the batch is not tracked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub expected: Option<u64>,
    /// 2 if this replaces an earlier event of the same id, which was published with results missing before
    /// the batch was tracked. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 2))]
    pub revision: Option<u64>,
    /// The number of authorizers that have a result.
    pub found: u64,
    /// The number of results by status code; 0 is success, any other code a failed check.
    pub by_status_code: BTreeMap<String, u64>,
}

/// A balance met its threshold.
#[derive(Serialize, JsonSchema)]
pub struct BalanceThresholdMet<'a> {
    /// Idempotency key, derived from batch and authorizer. Process each id once.
    pub id: &'a str,
    #[serde(flatten)]
    /// The inbox event that this results from.
    pub source_event: SourceEvent<'a>,
    /// Rightfoot's id of the batch.
    pub batch_id: &'a str,
    /// Rightfoot's id of the schedule whose run the batch is. Absent if it is not known. If the batch is not
    /// tracked, it comes from the webhook alone, unconfirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub schedule_id: Option<&'a str>,
    /// The submission_id, or the name that the webhook URL was minted for. Absent if the batch is tracked under none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub subject: Option<&'a str>,
    /// The authorizer whose balance it is.
    pub authorizer_unique_id: &'a str,
    /// The institution's name, from the webhook alone, unconfirmed. Absent if the webhook has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub institution_name: Option<&'a str>,
    /// The balance in dollars, exact.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub balance: String,
    /// The threshold in dollars, exact. The balance is equal or higher.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub threshold: String,
    /// The source of the threshold: the schedule, as it was submitted or tracked, or the webhook alone.
    /// Anybody who knows the webhook's URL can send any threshold, so compare the balance with one of your
    /// own.
    #[schemars(extend("enum" = ["schedule", "webhook"]))]
    pub threshold_source: &'static str,
    /// True if Rightfoot's API has shown this balance. False only if alerts are not verified.
    pub confirmed: bool,
}

/// A Fynapse event.
#[derive(Serialize, JsonSchema)]
pub struct BalanceExtracted<'a> {
    /// Idempotency key. Process each id once.
    pub id: &'a str,
    #[serde(flatten)]
    /// The inbox event that this results from.
    pub source_event: SourceEvent<'a>,
    /// Fynapse's own name of the event's type.
    pub event_type: &'a str,
    /// Reference to the exact bytes: the record of the event in the inbox.
    pub dataref: String,
    /// The payload as it was received. Absent if EventBridge does not accept it because of its size, nesting
    /// or numbers: then use dataref.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawPayload<'a>")]
    pub data: Option<RawPayload<'a>>,
}

/// A payload, embedded byte for byte.
#[derive(Clone, Copy, Serialize)]
#[serde(transparent)]
pub struct RawPayload<'a>(pub &'a RawValue);

impl JsonSchema for RawPayload<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RawPayload".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

impl Detail for BalanceBatchCompleted<'_> {
    const TYPE: &'static str = "BalanceBatchCompleted";
}

impl Detail for BalanceThresholdMet<'_> {
    const TYPE: &'static str = "BalanceThresholdMet";
}

impl Detail for BalanceExtracted<'_> {
    const TYPE: &'static str = "BalanceExtracted";
}

/// The names of all types.
pub const DETAIL_TYPES: [&str; 3] =
    [BalanceBatchCompleted::TYPE, BalanceThresholdMet::TYPE, BalanceExtracted::TYPE];

/// The JSON Schema of every detail type, by name.
pub fn schemas() -> [(&'static str, Schema); 3] {
    schemas_with(&SchemaSettings::draft2020_12())
}

/// The schema of every detail type in another dialect, by name.
pub(super) fn schemas_with(settings: &SchemaSettings) -> [(&'static str, Schema); 3] {
    [
        schema_of::<BalanceBatchCompleted<'_>>(settings),
        schema_of::<BalanceThresholdMet<'_>>(settings),
        schema_of::<BalanceExtracted<'_>>(settings),
    ]
}

fn schema_of<D: Detail>(settings: &SchemaSettings) -> (&'static str, Schema) {
    // For serializing: an optional field is absent, never null.
    let generator = settings.clone().for_serialize().into_generator();
    (D::TYPE, generator.into_root_schema_for::<D>())
}
