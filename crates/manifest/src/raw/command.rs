//! Commands as they are written: a line, words, or a script for a shell.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    decode::{Decode, Reader, Short},
    diagnostics::{Code, Problem},
    keys::keys,
    merge::{Field, replaced},
    span::Spanned,
    syntax::{Node, Shape},
    units::Millis,
};

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawCommand {
    /// `run: python -m app --name 'a b'`, split like a shell would, without being one.
    Line(Spanned<String>),
    /// `run: [python, -m, app]`.
    Words(Vec<Spanned<String>>),
    /// `run: {shell: "a | b"}`.
    Shell(String),
}

replaced!(RawCommand);

impl Decode for RawCommand {
    const NOUN: &'static str = "a command";

    fn decode(node: &Node, reader: &mut Reader) -> Option<RawCommand> {
        match &node.shape {
            Shape::Text(line) => Some(RawCommand::Line(Spanned::new(line.clone(), node.span))),
            Shape::List(_) => {
                let words: Vec<Spanned<String>> = Vec::decode(node, reader)?;
                if words.is_empty() {
                    let problem = Problem::error(Code::InvalidValue, "the command is empty");
                    reader.problems.push(problem.at(node.span, "").help("name a program"));
                    return None;
                }
                Some(RawCommand::Words(words))
            }
            Shape::Null | Shape::Map(_) => {
                let script = Script::decode(node, reader)?;
                let Some(shell) = script.shell.value() else {
                    reader.wrong_shape(
                        node,
                        "a command",
                        "write a line, a list of words, or `{shell: …}`",
                    );
                    return None;
                };
                Some(RawCommand::Shell(shell.clone()))
            }
        }
    }
}

impl JsonSchema for RawCommand {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let script = generator.subschema_for::<Script>();
        json_schema!({
            "description": "A line that is split into words like a shell would, without being \
                one: quotes and backslashes work, `$NAME`, `|`, `&&`, `*` do not. Or the words \
                themselves. Or `{shell: …}`, given to `sh -c` as it is.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"},
                "minItems": 1}, script],
        })
    }
}

keys! {
    /// A script for `sh -c`.
    Script, "a script" {
        /// The script. `$` is the shell's: placeholders are not filled in; use `env` for them.
        /// Begin the last command with `exec`, so that signals reach it.
        shell ["shell"]: String = "required";
    }

    /// Schema changes, run once per release before traffic moves. Short form: the command `run`.
    RawMigrate, "`migrate`" {
        /// Brings the schema forward, so that the old release still works.
        run ["run"]: RawCommand = "required";
        /// Short for `run: {shell: …}`.
        shell ["shell"]: String = "none";
        /// Removes what only the old release needed; a later step of its own.
        contract ["contract"]: RawCommand = "none";
        /// Undoes `run`; never executed without being asked for.
        down ["down"]: RawCommand = "none";
        /// Says by its exit code whether the schema is the wanted one.
        check ["check"]: RawCommand = "none";
        /// How long `run` may take before the deploy stops.
        timeout ["timeout"]: Millis = "10m";
        /// How long a statement waits for a lock before it is retried.
        lock_timeout ["lock_timeout"]: Millis = "100ms";
    }

    /// One of the app's own verbs, a target of its Makefile. Short form: the command `run`.
    RawVerb, "a verb" {
        /// What it executes in the service's directory.
        run ["run"]: RawCommand = "required";
        /// Short for `run: {shell: …}`.
        shell ["shell"]: String = "none";
        /// One line for `make help`.
        help ["help"]: String = "none";
        /// Whether a pull request must pass it, as an evaluation does.
        gate ["gate"]: bool = "false";
    }
}

/// Maps whose short form is a line or words.
macro_rules! short_command {
    ($($type:ident),*) => {$(
        impl Short for $type {
            fn short(node: &Node, reader: &mut Reader) -> Option<Option<$type>> {
                if matches!(node.shape, Shape::Map(_)) {
                    return None;
                }
                let Some(command) = RawCommand::decode(node, reader) else { return Some(None) };
                let run = Field::Set(Spanned::new(command, node.span));
                Some(Some($type { run, ..$type::default() }))
            }

            fn short_schema(generator: &mut SchemaGenerator) -> Schema {
                generator.subschema_for::<RawCommand>()
            }
        }
    )*};
}

short_command!(RawMigrate, RawVerb);
