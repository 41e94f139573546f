//! The details, as they stand in the JSON. Their documentation is what the schemas say; fields may be added.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::value::RawValue;

/// A detail and the name of its type.
pub trait Detail: Serialize + JsonSchema {
    /// EventBridge's `detail-type`.
    const TYPE: &'static str;
}

/// The event that this tells the effect of.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceEvent<'a> {
    /// Id of the event in the inbox.
    pub event_id: &'a str,
    /// How the event came to be recorded.
    #[schemars(extend("enum" = ["webhook", "poll", "replay"]))]
    pub origin: &'static str,
    /// When the event reached the inbox.
    #[schemars(extend("format" = "date-time"))]
    pub received_at: String,
    /// How often the event was replayed on purpose. Absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1))]
    pub replay: Option<u64>,
}

/// A batch is complete, and its balances stand in the table of balances.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BalanceBatchCompleted<'a> {
    /// What this tells. Two of the same id and revision tell the same.
    pub id: &'a str,
    #[serde(flatten)]
    /// The event that this tells the effect of.
    pub source_event: SourceEvent<'a>,
    /// Rightfoot's id of the batch.
    pub batch_id: &'a str,
    /// Rightfoot's id of the schedule whose run the batch is. Absent if it is none, or not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub schedule_id: Option<&'a str>,
    /// The submission_id, or the name that the webhook URL was minted for. Absent if the batch is tracked under none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub subject: Option<&'a str>,
    /// How many results there had to be. Absent if the batch is not tracked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub expected: Option<u64>,
    /// 2 if the batch was told before, by the same id, when it was not tracked yet and results were missing: this replaces
    /// that. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 2))]
    pub revision: Option<u64>,
    /// How many authorizers have a result.
    pub found: u64,
    /// How many results have which status code; 0 is success, any other one a failed check.
    pub by_status_code: BTreeMap<String, u64>,
}

/// A balance met its threshold.
#[derive(Serialize, JsonSchema)]
pub struct BalanceThresholdMet<'a> {
    /// What this tells, made of batch and authorizer. Two of the same id tell the same: act on one of them.
    pub id: &'a str,
    #[serde(flatten)]
    /// The event that this tells the effect of.
    pub source_event: SourceEvent<'a>,
    /// Rightfoot's id of the batch.
    pub batch_id: &'a str,
    /// Rightfoot's id of the schedule whose run the batch is. Absent if it is not known. If the batch is not tracked, it is
    /// the webhook's word, which nothing confirms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub schedule_id: Option<&'a str>,
    /// The submission_id, or the name that the webhook URL was minted for. Absent if the batch is tracked under none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub subject: Option<&'a str>,
    /// Whose balance it is.
    pub authorizer_unique_id: &'a str,
    /// Where the account is, in the webhook's words, which nothing confirms. Absent if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub institution_name: Option<&'a str>,
    /// The balance in dollars, exact.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub balance: String,
    /// The threshold in dollars, exact. The balance is as much or more.
    #[schemars(regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub threshold: String,
    /// Who names the threshold: the schedule, as it was submitted or tracked, or the webhook alone. Whoever knows the webhook's
    /// URL can name any threshold, so compare the balance with one of your own.
    #[schemars(extend("enum" = ["schedule", "webhook"]))]
    pub threshold_source: &'static str,
    /// Whether Rightfoot's API has shown this balance. False only if alerts are not verified.
    pub confirmed: bool,
}

/// A Fynapse event.
#[derive(Serialize, JsonSchema)]
pub struct BalanceExtracted<'a> {
    /// What this tells. Two of the same id tell the same.
    pub id: &'a str,
    #[serde(flatten)]
    /// The event that this tells the effect of.
    pub source_event: SourceEvent<'a>,
    /// Fynapse's own name of the event's type.
    pub event_type: &'a str,
    /// Where the exact bytes are: the record of the event in the inbox.
    pub dataref: String,
    /// The payload as it was received. Absent if EventBridge does not take it, for its size, its nesting or its numbers:
    /// then only dataref leads to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawPayload<'a>")]
    pub data: Option<RawPayload<'a>>,
}

/// A payload as it was received.
#[derive(Clone, Copy, Serialize)]
#[serde(transparent)]
pub struct RawPayload<'a>(pub &'a RawValue);

impl JsonSchema for RawPayload<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Received".into()
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

/// The JSON Schema of every type of detail, by its name.
pub fn schemas() -> [(&'static str, Schema); 3] {
    [
        schema_of::<BalanceBatchCompleted<'_>>(),
        schema_of::<BalanceThresholdMet<'_>>(),
        schema_of::<BalanceExtracted<'_>>(),
    ]
}

fn schema_of<D: Detail>() -> (&'static str, Schema) {
    // What is left out is absent, and never null.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    (D::TYPE, generator.into_root_schema_for::<D>())
}
