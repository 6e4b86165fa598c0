//! Strings with placeholders, checked: a `Template` names only things that exist in its plan.
//!
//! `${env.…}` is filled in already. Addresses stay parts, since a local port is only known once it
//! runs; secrets stay parts, since they are never resolved at render time.
//! Invariant: `Display` gives a text that means the same template.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer};

use crate::names::{ResourceName, SecretName, ServiceName};

/// A string in which addresses and secrets are still open.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template(pub Vec<Part>);

/// One piece of a template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Text that stays as it is.
    Literal(String),
    /// `${resources.<name>.<output>}`.
    Resource {
        /// The resource; it exists in the plan.
        resource: ResourceName,
        /// What of it; its type has this output.
        output: Output,
    },
    /// `${services.<name>.<output>}`.
    Service {
        /// The service; it exists in the plan.
        service: ServiceName,
        /// What of it.
        output: ServiceOutput,
    },
    /// `${secret:<name>}`, resolved by `run` when the process starts.
    Secret {
        /// The key that providers are asked for.
        name: SecretName,
    },
}

macro_rules! outputs {
    (
        $(#[doc = $doc:literal])*
        $type:ident { $($(#[doc = $each:literal])* $name:ident = $text:literal,)* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[doc = $each])* $name,)* }

        impl $type {
            /// Every one of them, in the order of the reference page.
            pub const ALL: &[$type] = &[$($type::$name,)*];

            /// The word in a placeholder.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$name => $text,)* }
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

outputs!(
    /// What a resource tells those who use it. Which type has which is in `plan::ResourceType`.
    Output {
        /// A connection URL, credentials included.
        Url = "url",
        /// Host name or address.
        Host = "host",
        /// Port number.
        Port = "port",
        /// Login name.
        User = "user",
        /// Login password.
        Password = "password",
        /// Database, bucket or queue name.
        Name = "name",
        /// Kafka bootstrap list, `host:port` joined by commas.
        Brokers = "brokers",
        /// Directory of a volume, as the service sees it.
        Path = "path",
        /// Address of the API, where it is not the provider's own.
        Endpoint = "endpoint",
        /// The provider's region.
        Region = "region",
    }
);

outputs!(
    /// What a service tells those who use it.
    ServiceOutput {
        /// Where the other services reach it: `http://host:port`.
        Url = "url",
        /// Host name or address, for the other services.
        Host = "host",
        /// Port number, for the other services.
        Port = "port",
        /// Where people reach it: the first route, with scheme.
        PublicUrl = "public_url",
    }
);

impl Template {
    /// A template without placeholders.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Template {
        Template(vec![Part::Literal(text.into())])
    }

    /// The whole text, if no placeholder is open.
    #[must_use]
    pub fn as_literal(&self) -> Option<Cow<'_, str>> {
        match self.0.as_slice() {
            [] => Some(Cow::Borrowed("")),
            [Part::Literal(text)] => Some(Cow::Borrowed(text)),
            parts => {
                let mut whole = String::new();
                for part in parts {
                    let Part::Literal(text) = part else { return None };
                    whole.push_str(text);
                }
                Some(Cow::Owned(whole))
            }
        }
    }

    /// Fills in every open part.
    ///
    /// # Errors
    /// The first error that `value_of` gives.
    pub fn fill<E>(
        &self,
        mut value_of: impl FnMut(&Part) -> Result<String, E>,
    ) -> Result<String, E> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => filled.push_str(text),
                open => filled.push_str(&value_of(open)?),
            }
        }
        Ok(filled)
    }

    /// The secrets that it needs, in order of appearance.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.0.iter().filter_map(|part| match part {
            Part::Secret { name } => Some(name),
            Part::Literal(_) | Part::Resource { .. } | Part::Service { .. } => None,
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Literal(text) => f.write_str(&text.replace('$', "$$")),
            Part::Resource { resource, output } => {
                write!(f, "${{resources.{resource}.{}}}", output.as_str())
            }
            Part::Service { service, output } => {
                write!(f, "${{services.{service}.{}}}", output.as_str())
            }
            Part::Secret { name } => write!(f, "${{secret:{name}}}"),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| part.fmt(f))
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
