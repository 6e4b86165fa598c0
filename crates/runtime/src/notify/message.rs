//! What a datagram on the notify socket says. Pure.
//!
//! Lines of `KEY=value`; what we have no use for (`MAINPID`, `FDSTORE`, `ERRNO`) is ignored, as the
//! protocol wants. Invariant: whatever the bytes, a few bounded words come of them.

use std::time::Duration;

/// Longest text of `STATUS=` that is kept, characters.
const STATUS_CHARS_MAX: usize = 256;
/// The longest that a worker may ask to be left alone.
const EXTEND_MAX: Duration = Duration::from_secs(3600);

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`.
    Reloading,
    /// `STOPPING=1`.
    Stopping,
    /// `WATCHDOG=1`.
    Watchdog,
    /// `STATUS=`; none when empty.
    Status(Option<String>),
    /// `EXTEND_TIMEOUT_USEC=`, cut to an hour.
    Extend(Duration),
}

/// The words of a datagram, in order.
#[must_use]
pub fn parse(datagram: &[u8]) -> Vec<Word> {
    let lines = datagram.split(|byte| *byte == b'\n' || *byte == 0);
    lines.filter_map(|line| word(&String::from_utf8_lossy(line))).collect()
}

fn word(line: &str) -> Option<Word> {
    match line.split_once('=')? {
        ("READY", "1") => Some(Word::Ready),
        ("RELOADING", "1") => Some(Word::Reloading),
        ("STOPPING", "1") => Some(Word::Stopping),
        ("WATCHDOG", "1") => Some(Word::Watchdog),
        ("STATUS", text) => {
            let text = text.trim().chars().filter(|c| !c.is_control());
            let text: String = text.take(STATUS_CHARS_MAX).collect();
            Some(Word::Status(Some(text).filter(|text| !text.is_empty())))
        }
        ("EXTEND_TIMEOUT_USEC", microseconds) => {
            let extension = Duration::from_micros(microseconds.trim().parse().ok()?);
            Some(Word::Extend(extension.min(EXTEND_MAX)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_datagram_may_say_several_things() {
        let said = parse(b"MAINPID=7\nREADY=1\nSTATUS= serving 3 \nWATCHDOG=1\n");
        let status = Word::Status(Some("serving 3".into()));
        assert_eq!(said, [Word::Ready, status, Word::Watchdog]);
        assert_eq!(parse(b"STOPPING=1\nSTATUS="), [Word::Stopping, Word::Status(None)]);
    }

    #[test]
    fn an_extension_has_a_bound() {
        assert_eq!(parse(b"EXTEND_TIMEOUT_USEC=2000000"), [Word::Extend(Duration::from_secs(2))]);
        let most = format!("EXTEND_TIMEOUT_USEC={}", u64::MAX);
        assert_eq!(parse(most.as_bytes()), [Word::Extend(EXTEND_MAX)]);
        assert_eq!(parse(b"EXTEND_TIMEOUT_USEC=-1"), []);
    }

    #[test]
    fn what_means_nothing_is_ignored() {
        assert_eq!(parse(b"READY=yes\nready=1\nREADY\n\xff=\xfe"), []);
    }

    proptest! {
        #[test]
        fn any_bytes_give_bounded_words(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            for word in parse(&bytes) {
                if let Word::Status(Some(text)) = word {
                    prop_assert!(text.chars().count() <= STATUS_CHARS_MAX);
                    prop_assert!(!text.contains('\n'));
                }
            }
        }
    }
}
