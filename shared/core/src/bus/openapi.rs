//! OpenAPI 3 documents of the events, in the form that EventBridge's schema registry needs for code bindings.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Value, json};

use super::SOURCE;
use super::detail::schemas_with;

/// The OpenAPI document of every detail type, by name.
///
/// The schema `AWSEvent` is the whole event as EventBridge delivers it, in the form of AWS's own schemas. Its extensions
/// `x-amazon-events-source` and `x-amazon-events-detail-type` name the events that it describes.
pub fn documents() -> [(&'static str, Value); 3] {
    let mut settings = SchemaSettings::openapi3().with_transform(RecursiveTransform(use_signed_format));
    settings.meta_schema = None;
    schemas_with(&settings).map(|(name, detail)| (name, document(name, detail)))
}

/// Code generators know `int64`, and map it to an integer type. They ignore `uint64`.
fn use_signed_format(schema: &mut Schema) {
    if schema.get("format").is_some_and(|format| format == "uint64") {
        schema.insert("format".to_owned(), "int64".into());
    }
}

fn document(name: &str, mut detail: Schema) -> Value {
    // The component's name is the title.
    detail.remove("title");
    json!({
        "openapi": "3.0.0",
        "info": {"title": name, "version": "1.0.0"},
        "paths": {},
        "components": {"schemas": {"AWSEvent": envelope(name), name: detail}},
    })
}

fn envelope(detail_type: &str) -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["detail-type", "resources", "detail", "id", "source", "time", "region", "version", "account"],
        "x-amazon-events-source": SOURCE,
        "x-amazon-events-detail-type": detail_type,
        "properties": {
            "detail": {"$ref": format!("#/components/schemas/{detail_type}")},
            "detail-type": text,
            "resources": {"type": "array", "items": text},
            "id": text,
            "source": text,
            "time": {"type": "string", "format": "date-time"},
            "region": text,
            "version": text,
            "account": text,
        },
    })
}
