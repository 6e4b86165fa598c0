//! A text that may hold a secret: a header field, an address with credentials.
//!
//! It crosses the socket from guard to engine as it is and is shown nowhere. It deliberately does
//! not wipe its memory: what it holds came from the environment, which keeps a copy anyway.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that `Debug` does not show.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_shown() {
        let hidden = Hidden::from("Bearer hunter2");
        assert_eq!(format!("{hidden:?}"), "[REDACTED]");
        assert_eq!(serde_json::to_string(&hidden).unwrap(), "\"Bearer hunter2\"");
    }
}
