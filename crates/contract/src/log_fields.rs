//! Table: the fields of a log line that `plimsoll run` writes.
//!
//! Every line is one JSON object. A line of the application that is an object keeps its bytes and
//! its order, and only what is missing is added; logfmt is read as an object, and any other line
//! becomes `msg`. The aliases are what other loggers call the same thing: a line with an alias is
//! not missing the field, but a level, a trace or a span is added in our form beside it. It
//! deliberately says nothing about parsing or redaction.
//!
//! Invariant: a name, or an alias, means one field.

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Key in the line.
    pub name: &'static str,
    /// Keys of other loggers that mean the same.
    pub aliases: &'static [&'static str],
    /// When a line has it.
    pub presence: Presence,
    /// What it holds, without a full stop.
    pub meaning: &'static str,
}

/// When a line has a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// In every line.
    Always,
    /// When its value is known.
    WhenKnown,
    /// In the line that the ingress writes for each request.
    Access,
}

impl Presence {
    /// The presence in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::WhenKnown => "when known",
            Self::Access => "access lines",
        }
    }
}

/// Time of the line.
pub const TS: Field = Field {
    name: "ts",
    aliases: &["time", "timestamp", "@timestamp"],
    presence: Presence::Always,
    meaning: "when the line was read (or what the application said), RFC 3339 in UTC with microseconds",
};
/// How bad it is.
pub const LEVEL: Field = Field {
    name: "level",
    aliases: &["severity", "levelname", "lvl", "log.level"],
    presence: Presence::Always,
    meaning: "`trace`, `debug`, `info`, `warn`, `error` or `fatal`",
};
/// What happened.
pub const MSG: Field = Field {
    name: "msg",
    aliases: &["message", "event"],
    presence: Presence::Always,
    meaning: "what happened; for a line that is neither JSON nor logfmt, the line",
};
/// Whose line it is.
pub const SERVICE: Field = Field {
    name: "service",
    aliases: &["service.name"],
    presence: Presence::Always,
    meaning: "name of the service",
};
/// Where it runs.
pub const ENV: Field = Field {
    name: "env",
    aliases: &["deployment.environment", "deployment.environment.name"],
    presence: Presence::WhenKnown,
    meaning: "name of the environment",
};
/// Which release it is.
pub const VERSION: Field = Field {
    name: "version",
    aliases: &["service.version"],
    presence: Presence::WhenKnown,
    meaning: "release of the application",
};
/// Which replica it is.
pub const INSTANCE: Field = Field {
    name: "instance",
    aliases: &["service.instance.id"],
    presence: Presence::Always,
    meaning: "name of this one process among the service's replicas",
};
/// Where the line came from.
pub const STREAM: Field = Field {
    name: "stream",
    aliases: &[],
    presence: Presence::Always,
    meaning: "`stdout` or `stderr` of the application; `plimsoll` for a line of its runtime",
};
/// Trace of the line.
pub const TRACE_ID: Field = Field {
    name: "trace_id",
    aliases: &["traceId", "trace.id", "otelTraceID", "dd.trace_id", "X-Trace-Id", "traceparent"],
    presence: Presence::WhenKnown,
    meaning: "trace that the line belongs to, 32 hexadecimal digits",
};
/// Span of the line.
pub const SPAN_ID: Field = Field {
    name: "span_id",
    aliases: &["spanId", "span.id", "otelSpanID", "dd.span_id"],
    presence: Presence::WhenKnown,
    meaning: "span that the line belongs to, 16 hexadecimal digits",
};
/// Flags of the trace.
pub const TRACE_FLAGS: Field = Field {
    name: "trace_flags",
    aliases: &[],
    presence: Presence::WhenKnown,
    meaning: "flags of the trace, 2 hexadecimal digits: `01` when it is recorded",
};
/// Whether the line was cut.
pub const TRUNCATED: Field = Field {
    name: "truncated",
    aliases: &[],
    presence: Presence::WhenKnown,
    meaning: "`true` when the line was longer than the limit and was cut",
};
/// Request id.
pub const REQUEST_ID: Field = Field {
    name: "request_id",
    aliases: &["requestId", "x-request-id"],
    presence: Presence::Access,
    meaning: "value of `x-request-id`, the client's or ours",
};
/// Method of the request.
pub const METHOD: Field = Field {
    name: "method",
    aliases: &[],
    presence: Presence::Access,
    meaning: "method of the request",
};
/// Path of the request.
pub const PATH: Field = Field {
    name: "path",
    aliases: &[],
    presence: Presence::Access,
    meaning: "path of the request, without its query",
};
/// Status of the answer.
pub const STATUS: Field = Field {
    name: "status",
    aliases: &[],
    presence: Presence::Access,
    meaning: "status code of the answer, a number",
};
/// Time the request took.
pub const DURATION_MS: Field = Field {
    name: "duration_ms",
    aliases: &[],
    presence: Presence::Access,
    meaning: "time from the head of the request until the last byte of the answer, milliseconds",
};
/// Bytes received.
pub const BYTES_IN: Field = Field {
    name: "bytes_in",
    aliases: &[],
    presence: Presence::Access,
    meaning: "bytes of the request's body",
};
/// Bytes sent.
pub const BYTES_OUT: Field = Field {
    name: "bytes_out",
    aliases: &[],
    presence: Presence::Access,
    meaning: "bytes of the answer's body",
};
/// Who asked.
pub const CLIENT: Field = Field {
    name: "client",
    aliases: &[],
    presence: Presence::Access,
    meaning: "address that the connection came from",
};

/// Every field, in the order in which a line has them.
pub const ALL: &[&Field] = &[
    &TS,
    &LEVEL,
    &MSG,
    &SERVICE,
    &ENV,
    &VERSION,
    &INSTANCE,
    &STREAM,
    &TRACE_ID,
    &SPAN_ID,
    &TRACE_FLAGS,
    &TRUNCATED,
    &REQUEST_ID,
    &METHOD,
    &PATH,
    &STATUS,
    &DURATION_MS,
    &BYTES_IN,
    &BYTES_OUT,
    &CLIENT,
];

/// The field that a key means: its own name or an alias.
pub fn find(key: &str) -> Option<&'static Field> {
    ALL.iter().copied().find(|field| field.name == key || field.aliases.contains(&key))
}

/// Longest line that is kept whole, bytes; a longer one is cut and counted.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_key_means_one_field() {
        let mut seen = BTreeSet::new();
        for field in ALL {
            for key in std::iter::once(&field.name).chain(field.aliases) {
                assert!(seen.insert(*key), "`{key}` means two fields");
            }
        }
    }

    #[test]
    fn own_names_need_no_escape_in_json() {
        for field in ALL {
            assert!(field.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        }
    }

    #[test]
    fn an_alias_finds_its_field() {
        assert_eq!(find("levelname"), Some(&LEVEL));
        assert_eq!(find("otelTraceID"), Some(&TRACE_ID));
        assert_eq!(find("colour"), None);
    }
}
