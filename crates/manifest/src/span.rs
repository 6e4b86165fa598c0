//! Where a value was written.
//!
//! Invariant: a span lies within its text and on character borders, `start <= end`.

use serde::Serialize;

/// A range of bytes in the manifest's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The smallest span that holds both.
    #[must_use]
    pub fn join(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Whether `other` lies within.
    #[must_use]
    pub fn holds(self, other: Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// A value with the place it was written at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    /// What was written.
    pub(crate) value: T,
    /// Where.
    pub(crate) span: Span,
}

impl<T> Spanned<T> {
    /// A value with its place.
    pub(crate) const fn new(value: T, span: Span) -> Spanned<T> {
        Spanned { value, span }
    }
}

/// Finds the line of a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineIndex {
    /// First byte of every line after the first.
    starts: Vec<u32>,
}

impl LineIndex {
    pub(crate) fn new(text: &[u8]) -> LineIndex {
        let newlines = text.iter().zip(1u32..).filter(|(byte, _)| **byte == b'\n');
        LineIndex { starts: newlines.map(|(_, next)| next).collect() }
    }

    /// The line, from 1.
    pub(crate) fn line(&self, byte: u32) -> u32 {
        let before = self.starts.partition_point(|start| *start <= byte);
        u32::try_from(before).unwrap_or(u32::MAX - 1) + 1
    }
}
