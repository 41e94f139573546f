//! Types of Rightfoot's API answers, in its documents' terms (shared/providers/rightfoot.md, "Read balances" and "History of an authorizer").
//!
//! Ids are opaque, money is decimal, and an undocumented status code is accepted as a number.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use crate::id::Id;
use crate::time::UnixMillis;

/// An exact amount in dollars; may be negative. Compared by value (`150` equals `150.00`), printed with its
/// original decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(Decimal);

/// The error for text that is not a decimal number, or has more than 28 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a decimal number of at most 28 digits")]
pub struct InvalidAmount;

impl Amount {
    /// Parses a JSON number exactly, without a binary float in between.
    pub fn from_json(number: &RawValue) -> Result<Self, InvalidAmount> {
        number.get().parse()
    }

    /// Parses a JSON number, or a string that holds one and nothing but surrounding blanks: an API answer may
    /// have either form. Thousands separators, currency signs and decimal commas are rejected, not guessed.
    pub fn from_json_or_text(value: &RawValue) -> Result<Self, InvalidAmount> {
        if !value.get().starts_with('"') {
            return Self::from_json(value);
        }
        serde_json::from_str::<String>(value.get()).map_err(|_| InvalidAmount)?.trim().parse()
    }

    /// Converts to an integer, if `i64` holds it exactly: `3300.0`, too.
    pub fn to_integer(self) -> Option<i64> {
        self.0.is_integer().then(|| i64::try_from(self.0).ok()).flatten()
    }

    /// Converts to a JSON number, digit for digit.
    pub fn to_json(self) -> Box<RawValue> {
        // Cannot fail: a decimal's text is a JSON number.
        RawValue::from_string(self.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        // Checked here, because the decimal library also accepts `+1`, `1_000` and `.5`.
        let is_json = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
            && text.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit());
        if !is_json {
            return Err(InvalidAmount);
        }
        // `from_str_exact` fails where other functions would round.
        let exact = |text| Decimal::from_str_exact(text).map_err(|_| InvalidAmount);
        match text.split_once(['e', 'E']) {
            None => exact(text).map(Self),
            Some((digits, exponent)) => shifted(exact(digits)?, exponent.parse().map_err(|_| InvalidAmount)?),
        }
    }
}

/// Multiplies a number by ten to the power of `exponent`.
fn shifted(number: Decimal, exponent: i32) -> Result<Amount, InvalidAmount> {
    let decimals = i64::from(number.scale()) - i64::from(exponent);
    let (whole, scale) = match u32::try_from(decimals) {
        Ok(scale) => (Some(number.mantissa()), scale),
        Err(_) => {
            let zeros = u32::try_from(-decimals).unwrap_or(u32::MAX);
            (10_i128.checked_pow(zeros).and_then(|power| number.mantissa().checked_mul(power)), 0)
        }
    };
    let shifted = whole.and_then(|whole| Decimal::try_from_i128_with_scale(whole, scale).ok());
    shifted.map(Amount).ok_or(InvalidAmount)
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One row of `GET /v1/balances`.
#[derive(Clone, PartialEq, Eq)]
pub struct Balance {
    /// The authorizer whose balance it is.
    pub authorizer: Id,
    /// The balance; `None` if the check failed.
    pub amount: Option<Amount>,
    /// 0 for success; any other number, documented or not, is a failed check.
    pub status_code: i64,
    /// The time of the check, if Rightfoot returns one.
    pub checked_at: Option<UnixMillis>,
}

/// One entry of `GET /v1/monitoring/authorizers/{id}/history`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryEntry {
    /// The time of the check.
    pub run_at: UnixMillis,
    /// The batch of the check.
    pub batch_id: Id,
}

/// The answer of `GET /v1/monitoring/schedules/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleState {
    /// The time of the last run; `None` if there was none.
    pub last_run_at: Option<UnixMillis>,
    /// The time of the next run; `None` if there will be none.
    pub next_run_at: Option<UnixMillis>,
    /// The number of authorizers that a run checks.
    pub total_authorizers: u64,
}

/// Leaves out authorizer and amount: personal data (P8).
impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Balance(status {})", self.status_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_amount_keeps_its_digits_and_is_compared_by_value() {
        for text in ["150.00", "150", "-83.68", "0.10", "7922816251426433759354395033.5"] {
            assert_eq!(text.parse::<Amount>().unwrap().to_string(), text);
            assert_eq!(text.parse::<Amount>().unwrap().to_json().get(), text);
        }
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        assert_eq!(amount("150"), amount("150.00"));
        assert_eq!(amount("1.5e2"), amount("150"));
        assert_eq!(amount("15E-1").to_string(), "1.5");
        assert_eq!(amount("-1.50e+0").to_string(), "-1.50");
        assert!(amount("-0.01") < amount("0") && amount("99.99") < amount("100"));
    }

    #[test]
    fn what_is_no_json_number_is_no_amount() {
        for text in
            ["", "-", "\"1\"", "null", "1_000", "+1", ".5", "1e99", "1e-29", "1e", "1,5", "NaN", " 1", "--1"]
        {
            assert_eq!(text.parse::<Amount>(), Err(InvalidAmount), "{text}");
        }
    }

    #[test]
    fn an_amount_as_text_is_taken_where_it_has_one_meaning() {
        let read = |json: &str| {
            let raw = RawValue::from_string(json.to_owned()).unwrap();
            Amount::from_json_or_text(&raw).ok().map(|amount| amount.to_string())
        };
        for (json, amount) in [
            ("150.00", "150.00"),
            (r#""150.00""#, "150.00"),
            (r#""-83.68""#, "-83.68"),
            (r#"" 1523.47\n""#, "1523.47"),
            (r#""0.0""#, "0.0"),
            (r#""1.5e2""#, "150"),
            (r#""9007199254740993.01""#, "9007199254740993.01"),
            (r#""\u0031""#, "1"),
        ] {
            assert_eq!(read(json).as_deref(), Some(amount), "{json}");
        }
        for odd in [
            r#""""#,
            r#"" ""#,
            r#""1,523.47""#,
            r#""1 523""#,
            r#""1_523""#,
            r#""150,00""#,
            r#""$150""#,
            r#""150 USD""#,
            r#""NaN""#,
            r#""null""#,
            r#""+1""#,
            r#"".5""#,
            r#""0x10""#,
            r#""(5)""#,
            r#""\u0661""#,
            r#""--1""#,
            r#""0.12345678901234567890123456789012345""#,
            r#""\ud800""#,
            "true",
            "null",
            "[1]",
            r#"{"amount":1}"#,
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_integer_may_be_written_as_a_decimal_number() {
        let integer = |text: &str| text.parse::<Amount>().unwrap().to_integer();
        for (text, value) in
            [("0", 0), ("0.0", 0), ("-0", 0), ("3300", 3_300), ("3300.00", 3_300), ("33e2", 3_300)]
        {
            assert_eq!(integer(text), Some(value), "{text}");
        }
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        for odd in ["0.5", "3300.01", "9223372036854775808", "1e-1"] {
            assert_eq!(integer(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_amount_is_never_rounded() {
        for too_long in ["0.12345678901234567890123456789012345", "12345678901234567890123456789.55"] {
            assert_eq!(too_long.parse::<Amount>(), Err(InvalidAmount), "{too_long}");
        }
        assert_eq!("1.1e28".parse::<Amount>().unwrap().to_string(), "11000000000000000000000000000");
    }

    #[test]
    fn p8_debug_shows_no_balance() {
        let row = Balance {
            authorizer: Id::new("jane").unwrap(),
            amount: Some("150.00".parse().unwrap()),
            status_code: 0,
            checked_at: None,
        };
        assert_eq!(format!("{row:?}"), "Balance(status 0)");
    }

    proptest! {
        #[test]
        fn text_is_the_amount_that_the_same_number_is_and_nothing_else_is_one(
            number in "-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,6})?([eE][+-]?[0-9])?", text in "[0-9.,' $€_-]{0,12}|\\PC{0,12}"
        ) {
            let read = |json: String| Amount::from_json_or_text(&RawValue::from_string(json).unwrap());
            let as_number = read(number.clone()).unwrap();
            prop_assert_eq!(read(format!("\"{number}\"")), Ok(as_number));
            let read = read(serde_json::to_string(&text).unwrap());
            let plain = text.trim().bytes().all(|byte| b"0123456789.-+eE".contains(&byte));
            prop_assert!(read.is_err() || plain, "{text:?}");
        }
    }
}
