//! What a policy may ask of the clock: those of OPA's `time` functions that decisions need.
//!
//! The engine's own bring a database of time zones of a megabyte, which every image would carry;
//! these read the one of the system, where a policy names a zone. What only formats text
//! (`time.format`, `time.parse_ns`, `time.diff`) is deliberately absent, so that a policy that
//! calls it does not compile.
//!
//! Invariant: as in OPA, what cannot be computed is undefined, and so allows nothing.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, Zoned};
use regorus::{Engine, Value};

use super::PolicyError;

/// Name, number of arguments, and what it does with them.
type Function = (&'static str, u8, fn(&[Value]) -> Option<Value>);

const FUNCTIONS: &[Function] = &[
    ("time.now_ns", 0, |_| nanoseconds(Timestamp::now())),
    ("time.clock", 1, |it| {
        let time = moment(&it[0])?.time();
        Some(numbers([time.hour().into(), time.minute().into(), time.second().into()]))
    }),
    ("time.date", 1, |it| {
        let date = moment(&it[0])?.date();
        Some(numbers([date.year().into(), date.month().into(), date.day().into()]))
    }),
    ("time.weekday", 1, |it| Some(moment(&it[0])?.strftime("%A").to_string().into())),
    ("time.add_date", 4, |it| {
        let [years, months, days] = [1, 2, 3].map(|index: usize| it[index].as_i64().ok());
        let span = Span::new().try_years(years?).ok()?.try_months(months?).ok()?;
        let sum = moment(&it[0])?.checked_add(span.try_days(days?).ok()?).ok()?;
        nanoseconds(sum.timestamp())
    }),
    ("time.parse_rfc3339_ns", 1, |it| nanoseconds(it[0].as_string().ok()?.parse().ok()?)),
    ("time.parse_duration_ns", 1, |it| {
        let duration: SignedDuration = it[0].as_string().ok()?.parse().ok()?;
        i64::try_from(duration.as_nanos()).ok().map(Value::from)
    }),
];

/// Gives an engine all of them.
pub(super) fn add(engine: &mut Engine) -> Result<(), PolicyError> {
    for &(name, n_arguments, function) in FUNCTIONS {
        let function = move |arguments: Vec<Value>| {
            let is_whole = arguments.len() == usize::from(n_arguments);
            let value = is_whole.then(|| function(&arguments)).flatten();
            Ok(value.unwrap_or(Value::Undefined))
        };
        engine
            .add_extension(name.to_owned(), n_arguments, Box::new(function))
            .map_err(|error| PolicyError::Compile(error.to_string()))?;
    }
    Ok(())
}

/// Nanoseconds since 1970 in UTC, or a pair of them and the name of a zone.
fn moment(value: &Value) -> Option<Zoned> {
    let (nanoseconds, zone) = match value.as_array() {
        Err(_) => (value, TimeZone::UTC),
        Ok(pair) => match pair.as_slice() {
            [nanoseconds] => (nanoseconds, TimeZone::UTC),
            [nanoseconds, zone] => (nanoseconds, zone_named(zone.as_string().ok()?)?),
            _ => return None,
        },
    };
    let nanoseconds = nanoseconds.as_i64().ok()?;
    Some(Timestamp::from_nanosecond(nanoseconds.into()).ok()?.to_zoned(zone))
}

fn zone_named(name: &str) -> Option<TimeZone> {
    match name {
        "" | "UTC" => Some(TimeZone::UTC),
        "Local" => Some(TimeZone::system()),
        name => TimeZone::get(name).ok(),
    }
}

fn nanoseconds(timestamp: Timestamp) -> Option<Value> {
    i64::try_from(timestamp.as_nanosecond()).ok().map(Value::from)
}

fn numbers(numbers: [i64; 3]) -> Value {
    Value::from(numbers.map(Value::from).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of an expression of Rego.
    fn value(expression: &str) -> Result<Value, String> {
        let mut engine = Engine::new();
        add(&mut engine).map_err(|error| error.to_string())?;
        let policy = format!("package t\nx := {expression}");
        engine.add_policy("t.rego".to_owned(), policy).map_err(|error| error.to_string())?;
        engine.eval_rule("data.t.x".to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_functions_do_what_those_of_opa_do() {
        // 2026-11-30T13:14:15Z, a Monday.
        let ns = "1796044455000000000";
        for (expression, expected) in [
            (format!("time.clock({ns})"), "[13,14,15]"),
            (format!("time.date([{ns}, \"UTC\"])"), "[2026,11,30]"),
            (format!("time.weekday({ns})"), "\"Monday\""),
            (format!("time.date(time.add_date({ns}, 1, 1, 2))"), "[2028,1,1]"),
            ("time.parse_rfc3339_ns(\"2026-11-30T14:14:15+01:00\")".to_owned(), ns),
            ("time.parse_duration_ns(\"1h30m\")".to_owned(), "5400000000000"),
            ("time.now_ns() > 1760000000000000000".to_owned(), "true"),
        ] {
            let value = value(&expression).expect("it can be asked");
            assert_eq!(value.to_string().replace(", ", ","), expected, "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_computed_is_undefined() {
        for expression in [
            "time.clock(\"noon\")",
            "time.clock([1, \"Atlantis/Poseidonis\"])",
            "time.clock([1, \"UTC\", \"RFC3339\"])",
            "time.add_date(1, 1000000, 0, 0)",
            "time.parse_rfc3339_ns(\"tomorrow\")",
            "time.parse_duration_ns(\"long\")",
        ] {
            assert_eq!(value(expression), Ok(Value::Undefined), "{expression}");
        }
    }

    #[test]
    fn a_function_that_is_absent_does_not_compile() {
        assert!(value("time.format(1)").is_err());
    }
}
