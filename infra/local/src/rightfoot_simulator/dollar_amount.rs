//! Dollar amounts with their exact value and literal: a float would turn `150.00` into `150`.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A dollar amount that keeps its literal.
#[derive(Clone, Debug)]
pub(super) struct DollarAmount {
    literal: Box<RawValue>,
    decimal: Decimal,
}

impl DollarAmount {
    /// Parses a JSON number; `None` for any other JSON, and for numbers that `Decimal` cannot hold.
    pub(super) fn from_json(literal: &RawValue) -> Option<Self> {
        let text = literal.get();
        // JSON numbers may have an exponent, which only `from_scientific` reads.
        let decimal = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()?;
        Some(Self { literal: literal.to_owned(), decimal })
    }

    /// Parses the text of a JSON number; see [`Self::from_json`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::from_json(&RawValue::from_string(text.to_owned()).ok()?)
    }

    /// Creates an amount of cents, written with two decimals.
    pub(super) fn from_cents(cents: i64) -> Option<Self> {
        Self::parse(&Decimal::new(cents, 2).to_string())
    }

    /// The literal.
    pub(super) fn as_str(&self) -> &str {
        self.literal.get()
    }

    /// Returns `true` if the amount meets or exceeds the threshold.
    pub(super) fn meets(&self, threshold: &Self) -> bool {
        self.decimal >= threshold.decimal
    }
}

impl Serialize for DollarAmount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.literal.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_stays_as_it_was_written() {
        for text in ["150.00", "150", "-83.68", "0.10", "1.50E+2", "1e2", "12345678901234567.89"] {
            let amount = DollarAmount::parse(text).unwrap();
            assert_eq!((amount.as_str(), serde_json::to_string(&amount).unwrap().as_str()), (text, text));
        }
        assert_eq!(DollarAmount::from_cents(15_000).unwrap().as_str(), "150.00");
        assert_eq!(DollarAmount::from_cents(-5).unwrap().as_str(), "-0.05");
    }

    #[test]
    fn other_json_than_numbers_is_no_amount() {
        for text in ["", "null", "true", "\"1\"", "[1]", "+1", "1_000", ".5", "NaN", "1e99"] {
            assert!(DollarAmount::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn amounts_are_compared_exactly() {
        let meets = |balance, threshold| {
            DollarAmount::parse(balance).unwrap().meets(&DollarAmount::parse(threshold).unwrap())
        };
        assert!(meets("150", "150.00") && meets("1.5E+2", "150") && meets("-1", "-1.01"));
        assert!(!meets("99.99", "100") && !meets("12345678901234567.88", "12345678901234567.89"));
    }
}
