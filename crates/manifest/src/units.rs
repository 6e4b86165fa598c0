//! Quantities as exact integers: parts per million, milli-CPU, bytes, milliseconds, ports.
//!
//! Deliberately no floats: `99.9` is 999,000 ppm, so that the same manifest gives the same bytes.
//! Invariant: `Display` of a value parses to the same value.

use std::{fmt, num::NonZeroU16, str::FromStr, time::Duration};

use serde::{Serialize, Serializer};

use crate::names::{Malformed, not_a};

macro_rules! shown_as_text {
    ($($type:ident),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

shown_as_text!(Millis, Bytes, MilliCpu, Ppm);

/// A span of time in milliseconds. Written `300ms`, `20s`, `1h30m`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// Longest span of time that is accepted: ten years.
const MILLIS_MAX: u64 = 10 * 365 * 86_400_000;

const TIME_UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1000),
];

impl Millis {
    /// A whole number of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Millis {
        Millis(secs * 1000)
    }

    /// The same span for the standard library.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Millis {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Millis, Malformed> {
        let help = "write a number with a unit: `300ms`, `20s`, `15m`, `1h30m`, `7d`";
        let malformed = || Malformed::new(not_a(text, "a duration"), help);
        if text == "0" {
            return Ok(Millis(0));
        }
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
            let number: u64 = rest[..digits].parse().map_err(|_| malformed())?;
            rest = &rest[digits..];
            let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (unit, tail) = rest.split_at(end);
            let (_, factor) =
                TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(malformed)?;
            total = number
                .checked_mul(*factor)
                .and_then(|part| total.checked_add(part))
                .filter(|sum| *sum <= MILLIS_MAX)
                .ok_or_else(malformed)?;
            rest = tail;
        }
        if text.is_empty() { Err(malformed()) } else { Ok(Millis(total)) }
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, factor) in
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
        {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

/// An amount of memory or disk in bytes. Written `512Mi`, `512MiB`, `10GB`, `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

const SIZE_UNITS: [(&str, u64); 19] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("KB", 1000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1000),
    ("B", 1),
    ("", 1),
];

impl Bytes {
    /// A whole number of mebibytes.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Bytes {
        Bytes(mib << 20)
    }
}

impl FromStr for Bytes {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Bytes, Malformed> {
        let help = "write a number with a unit: `512Mi`, `2Gi`, `10GB`";
        let malformed = || Malformed::new(not_a(text, "a size"), help);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (_, factor) =
            SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(malformed)?;
        scaled(number, *factor).map(Bytes).ok_or_else(malformed)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in
            [("Ti", 1u64 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)]
        {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Processor time in thousandths of a core. Written `500m`, `2`, `0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliCpu(pub u32);

impl FromStr for MilliCpu {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<MilliCpu, Malformed> {
        let help = "write cores or thousandths of one: `2`, `0.5`, `500m`";
        let malformed = || Malformed::new(not_a(text, "an amount of processor"), help);
        let milli = match text.strip_suffix('m') {
            Some(number) => scaled(number, 1),
            None => scaled(text, 1000),
        };
        milli
            .and_then(|milli| u32::try_from(milli).ok())
            .filter(|milli| *milli > 0)
            .map(MilliCpu)
            .ok_or_else(malformed)
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

/// A share in parts per million, never above the whole. Written as percent: `99.9`, `70%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppm(u32);

impl Ppm {
    /// Everything: 100 %.
    pub const WHOLE: Ppm = Ppm(1_000_000);

    /// A whole number of percent; more than 100 is 100.
    #[must_use]
    pub const fn from_percent(percent: u32) -> Ppm {
        Ppm(if percent > 100 { 1_000_000 } else { percent * 10_000 })
    }

    /// The number of parts, 0 to 1,000,000.
    #[must_use]
    pub const fn parts(self) -> u32 {
        self.0
    }
}

impl FromStr for Ppm {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Ppm, Malformed> {
        let help = "write percent, 0 to 100, with at most four decimals: `99.9`, `70%`";
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        scaled(number, 10_000)
            .and_then(|parts| u32::try_from(parts).ok())
            .filter(|parts| *parts <= Ppm::WHOLE.0)
            .map(Ppm)
            .ok_or_else(|| Malformed::new(not_a(text, "a percentage"), help))
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 10_000, self.0 % 10_000);
        if fraction == 0 {
            write!(f, "{whole}%")
        } else {
            write!(f, "{whole}.{}%", format!("{fraction:04}").trim_end_matches('0'))
        }
    }
}

/// A TCP port, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Port(NonZeroU16);

impl Port {
    /// A port, unless it is 0.
    #[must_use]
    pub const fn new(port: u16) -> Option<Port> {
        match NonZeroU16::new(port) {
            Some(port) => Some(Port(port)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl FromStr for Port {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Port, Malformed> {
        let plain = text.chars().all(|c| c.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| plain).and_then(Port::new).ok_or_else(|| {
            Malformed::new(not_a(text, "a port"), "write a number from 1 to 65535: `8080`")
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A decimal text times a factor, if the result is a whole number that fits.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let dangling = number.ends_with('.') || whole.is_empty();
    if dangling || !is_digits(whole) || !is_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let places = u32::try_from(fraction.len()).ok()?;
    let shift = 10u128.pow(places);
    let parts = whole.parse::<u64>().ok()?;
    let tail: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let product = (u128::from(parts) * shift + u128::from(tail)) * u128::from(factor);
    product.is_multiple_of(shift).then(|| u64::try_from(product / shift).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact() {
        assert_eq!("99.9".parse::<Ppm>().unwrap().parts(), 999_000);
        assert_eq!("99.9999".parse::<Ppm>().unwrap().parts(), 999_999);
        assert_eq!("0.5".parse::<MilliCpu>().unwrap(), MilliCpu(500));
        assert_eq!("1h30m".parse::<Millis>().unwrap(), Millis(5_400_000));
        assert_eq!("1.5Gi".parse::<Bytes>().unwrap(), Bytes(1_610_612_736));
    }

    #[test]
    fn what_is_not_exact_or_not_a_quantity_is_refused() {
        for text in ["", "100.1", "-1", "99.99999", "1e2", ".5", "5."] {
            assert!(text.parse::<Ppm>().is_err(), "{text}");
        }
        for text in ["", "5", "s", "5 s", "1y", "99999999999d", "1.5s"] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
        for text in ["0", "65536", "+80", "", "8O80"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
        for text in ["", "0", "0.0001", "m"] {
            assert!(text.parse::<MilliCpu>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same_value(n in 0u64..1 << 38, ppm in 0u32..=1_000_000) {
            proptest::prop_assert_eq!(Millis(n).to_string().parse::<Millis>(), Ok(Millis(n)));
            proptest::prop_assert_eq!(Bytes(n).to_string().parse::<Bytes>(), Ok(Bytes(n)));
            proptest::prop_assert_eq!(Ppm(ppm).to_string().parse::<Ppm>(), Ok(Ppm(ppm)));
            let cpu = MilliCpu(ppm + 1);
            proptest::prop_assert_eq!(cpu.to_string().parse::<MilliCpu>(), Ok(cpu));
        }
    }
}
