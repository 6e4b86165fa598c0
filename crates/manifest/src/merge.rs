//! Overlays: RFC 7386 merges between values that already have their type.
//!
//! Maps merge key by key, everything else is replaced, `null` deletes; nothing is concatenated.
//! A key that may be written short (`scale: 3`) or long (`scale: {min: 3}`) merges only when both
//! sides are long, as a merge of the texts would.
//! Invariant: every value keeps the place where it was written.

use std::collections::BTreeMap;

use crate::span::{Span, Spanned};

/// A key of a map: not written, written as `null`, or written with a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Field<T> {
    #[default]
    Absent,
    Null(Span),
    Set(Spanned<T>),
}

impl<T> Field<T> {
    /// The value with its place.
    pub(crate) fn get(&self) -> Option<&Spanned<T>> {
        match self {
            Field::Set(spanned) => Some(spanned),
            Field::Absent | Field::Null(_) => None,
        }
    }

    /// The value alone.
    pub(crate) fn value(&self) -> Option<&T> {
        self.get().map(|spanned| &spanned.value)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.get().is_some()
    }
}

/// A map whose keys the language chooses.
pub(crate) trait Written {
    /// The keys that have a value, with the place of the value.
    fn written(&self) -> Vec<(&'static str, Span)>;
}

/// What an overlay may change.
pub(crate) trait Merge: Clone {
    /// Puts an overlay on top.
    fn merge(&mut self, over: &Self);
}

impl<T: Merge> Merge for Field<T> {
    fn merge(&mut self, over: &Field<T>) {
        match (&mut *self, over) {
            (_, Field::Absent) => {}
            (Field::Set(base), Field::Set(over)) => {
                base.value.merge(&over.value);
                base.span = over.span;
            }
            (base, over) => *base = over.clone(),
        }
    }
}

/// A map whose keys the user chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table<K, V>(pub(crate) BTreeMap<K, Row<V>>);

/// One entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row<V> {
    /// Where the key is; in a merged table, the one of the base.
    pub(crate) key: Span,
    pub(crate) field: Field<V>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table(BTreeMap::new())
    }
}

impl<K: Ord, V> Table<K, V> {
    /// The entries that are not deleted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, Span, &Spanned<V>)> {
        self.0.iter().filter_map(|(key, row)| row.field.get().map(|field| (key, row.key, field)))
    }
}

impl<K: Ord + Clone, V: Merge> Merge for Table<K, V> {
    fn merge(&mut self, over: &Table<K, V>) {
        for (key, row) in &over.0 {
            match self.0.get_mut(key) {
                Some(base) => base.field.merge(&row.field),
                None => {
                    self.0.insert(key.clone(), row.clone());
                }
            }
        }
    }
}

/// A map that may also be written as a single value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loose<T> {
    /// Whether it was written as a single value.
    pub(crate) is_short: bool,
    pub(crate) value: T,
}

impl<T: Merge> Merge for Loose<T> {
    fn merge(&mut self, over: &Loose<T>) {
        if self.is_short || over.is_short {
            *self = over.clone();
        } else {
            self.value.merge(&over.value);
        }
    }
}

/// Scalars, lists and alternatives are replaced.
macro_rules! replaced {
    ($($type:ty),* $(,)?) => {$(
        impl crate::merge::Merge for $type {
            fn merge(&mut self, over: &$type) {
                self.clone_from(over);
            }
        }
    )*};
}

pub(crate) use replaced;

impl<T: Clone> Merge for Vec<T> {
    fn merge(&mut self, over: &Vec<T>) {
        self.clone_from(over);
    }
}
