//! One table per map of the language: from it come the struct, the decoder, the merge, the JSON
//! Schema and the reference page.

/// Declares a map of the language.
///
/// A line is `field ["key"]: Type = "default, in words";` with its meaning as doc comment.
macro_rules! keys {
    ($(
        $(#[doc = $doc:literal])*
        $type:ident, $noun:literal {
            $(
                $(#[doc = $meaning:literal])*
                $field:ident [$key:literal]: $value:ty = $default:literal;
            )*
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $type {
            $($(#[doc = $meaning])* pub(crate) $field: crate::merge::Field<$value>,)*
        }

        impl $type {
            /// The keys, in the order of the reference page.
            pub(crate) const KEYS: &[&str] = &[$($key,)*];
        }

        impl crate::merge::Written for $type {
            fn written(&self) -> Vec<(&'static str, crate::span::Span)> {
                let keys = [$(($key, self.$field.get().map(|field| field.span)),)*];
                keys.into_iter().filter_map(|(key, span)| Some((key, span?))).collect()
            }
        }

        impl crate::decode::Decode for $type {
            const NOUN: &'static str = $noun;

            fn decode(
                node: &crate::syntax::Node,
                reader: &mut crate::decode::Reader,
            ) -> Option<$type> {
                let mut decoded = $type::default();
                for (key, value) in reader.entries(node, $noun)? {
                    match key.value.as_str() {
                        $($key => decoded.$field = crate::merge::Field::decode(value, reader),)*
                        _ => reader.unknown_key(key, $noun, $type::KEYS),
                    }
                }
                Some(decoded)
            }
        }

        impl crate::merge::Merge for $type {
            fn merge(&mut self, over: &$type) {
                $(self.$field.merge(&over.$field);)*
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let properties = [$((
                    $key,
                    generator.subschema_for::<$value>(),
                    concat!($($meaning),*),
                    $default,
                ),)*];
                crate::schema::object(concat!($($doc),*), properties)
            }
        }
    )*};
}

pub(crate) use keys;
