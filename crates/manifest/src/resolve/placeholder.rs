//! `${…}` in texts: read, checked against what exists, and turned into the parts of a template.

use super::{Resolver, uses::Edges};
use crate::{
    diagnostics::{Code, Problem},
    names::{ResourceName, SecretName, ServiceName, is_issued_credential, shortened},
    plan::{Target, UseTarget},
    span::{Span, Spanned},
    suggest,
    template::{Output, Part, ServiceOutput, Template},
};

/// A text between placeholders, or the inside of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Literal(String),
    Placeholder(&'a str),
}

/// Splits a text; `$$` is `$`, and a `$` before anything but `{` is itself.
/// Gives back the unfinished placeholder when one has no end.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, &str> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        literal.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(inside) = after.strip_prefix('{') {
            let end = inside.find('}').ok_or(&rest[dollar..])?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Placeholder(&inside[..end]));
            rest = &inside[end + 1..];
        } else {
            literal.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

impl Resolver<'_> {
    /// A text with placeholders.
    pub(super) fn template(&mut self, text: &Spanned<String>, edges: &Edges<'_>) -> Template {
        if is_issued_credential(&text.value) {
            self.tell(
                Problem::error(
                    Code::SecretLiteral,
                    "this looks like a secret's value, in a file that everybody reads",
                )
                .at(text.span, "")
                .help(
                    "keep it in a secret provider, write `${secret:NAME}` here, and replace it: \
                     it has been in a file",
                ),
            );
        }
        let pieces = match pieces(&text.value) {
            Ok(pieces) => pieces,
            Err(open) => {
                let message = format!("the placeholder `{}` has no end", shortened(open));
                let problem = Problem::error(Code::MalformedPlaceholder, message);
                let span = self.within(text.span, open);
                self.tell(problem.at(span, "").help("close it with `}`, or write `$$` for a `$`"));
                return Template::default();
            }
        };
        let mut parts = Vec::new();
        for piece in pieces {
            let part = match piece {
                Piece::Literal(text) => Some(Part::Literal(text)),
                Piece::Placeholder(inside) => self.part(inside, text.span, edges),
            };
            match (part, parts.last_mut()) {
                (Some(Part::Literal(more)), Some(Part::Literal(text))) => text.push_str(&more),
                (Some(part), _) => parts.push(part),
                (None, _) => {}
            }
        }
        Template(parts)
    }

    fn part(&mut self, inside: &str, whole: Span, edges: &Edges<'_>) -> Option<Part> {
        let span = self.within(whole, &format!("${{{inside}}}"));
        if let Some(name) = inside.strip_prefix("secret:") {
            return match name.parse::<SecretName>() {
                Ok(name) => Some(Part::Secret { name }),
                Err(malformed) => {
                    let problem = Problem::error(Code::SecretLiteral, malformed.message);
                    self.tell(problem.at(span, "").help(malformed.help));
                    None
                }
            };
        }
        let words: Vec<&str> = inside.split('.').collect();
        match words.as_slice() {
            ["env", key] => self.environment_part(key, span),
            ["resources", name, output] => self.resource_part(name, output, span, edges),
            ["services", name, output] => self.service_part(name, output, span, edges),
            _ => {
                let message = format!("the placeholder `${{{}}}` names nothing", shortened(inside));
                let help = if inside.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    "environment variables are the shell's: write `{shell: …}`, or `$$` for a `$`"
                } else {
                    "write `${resources.<name>.<output>}`, `${services.<name>.<output>}`, \
                     `${env.name}`, `${env.domain}` or `${secret:<name>}`; `$$` is a `$`"
                };
                let problem = Problem::error(Code::UnknownPlaceholder, message);
                self.tell(problem.at(span, "").help(help));
                None
            }
        }
    }

    fn environment_part(&mut self, key: &str, span: Span) -> Option<Part> {
        const KEYS: [&str; 4] = ["domain", "name", "region", "target"];
        let raw = self.environment.raw.as_ref().map(|raw| &raw.value);
        let target = raw.and_then(|raw| raw.target.value().copied()).unwrap_or(Target::Local);
        let value = match key {
            "name" => Some(self.environment.name.to_string()),
            "target" => Some(target.to_string()),
            "domain" => raw
                .and_then(|raw| raw.domain.value().map(ToString::to_string))
                .or_else(|| (target == Target::Local).then(|| "localhost".to_owned())),
            "region" => raw.and_then(|raw| raw.cloud.value()?.region.value().cloned()),
            _ => {
                let message = format!("`${{env.{}}}` names nothing", shortened(key));
                let help = suggest::help(key, KEYS);
                let problem = Problem::error(Code::UnknownPlaceholder, message);
                self.tell(problem.at(span, "").help(help));
                return None;
            }
        };
        if value.is_none() {
            let name = &self.environment.name;
            let message = format!("environment `{name}` has no `{key}` to fill in here");
            let help = format!("add `{key}` to `environments.{name}`");
            let problem = Problem::error(Code::UnknownPlaceholder, message);
            self.tell(problem.at(span, "").help(help));
        }
        value.map(Part::Literal)
    }

    fn resource_part(
        &mut self,
        name: &str,
        output: &str,
        span: Span,
        edges: &Edges<'_>,
    ) -> Option<Part> {
        let found = self.merged.resources.iter().find(|(known, ..)| known.as_str() == name);
        let Some((resource, _, raw)) = found else {
            let known = self.merged.resources.0.keys().map(ResourceName::as_str);
            let message = format!("there is no resource `{}`", shortened(name));
            self.tell(unknown(message, suggest::help(name, known), span));
            return None;
        };
        let outputs = raw.value.kind.value().map_or(Output::ALL, |kind| kind.outputs());
        let Some(output) = outputs.iter().copied().find(|known| known.as_str() == output) else {
            let help = suggest::help(output, outputs.iter().map(|known| known.as_str()));
            let message = format!("resource `{name}` has no `{}`", shortened(output));
            self.tell(unknown(message, help, span));
            return None;
        };
        self.check_declared(&UseTarget::Resource(resource.clone()), name, span, edges);
        Some(Part::Resource { resource: resource.clone(), output })
    }

    fn service_part(
        &mut self,
        name: &str,
        output: &str,
        span: Span,
        edges: &Edges<'_>,
    ) -> Option<Part> {
        let found = self.merged.services.iter().find(|(known, ..)| known.as_str() == name);
        let Some((service, _, raw)) = found else {
            let known = self.merged.services.0.keys().map(ServiceName::as_str);
            let message = format!("there is no service `{}`", shortened(name));
            self.tell(unknown(message, suggest::help(name, known), span));
            return None;
        };
        let outputs = ServiceOutput::ALL;
        let Some(output) = outputs.iter().copied().find(|known| known.as_str() == output) else {
            let help = suggest::help(output, outputs.iter().map(|known| known.as_str()));
            let message = format!("a service has no `{}`", shortened(output));
            self.tell(unknown(message, help, span));
            return None;
        };
        let (missing, key) = match output {
            ServiceOutput::PublicUrl => (raw.value.route.value().is_none(), "route"),
            _ => (!self.has_address(service), "port"),
        };
        if missing {
            let message =
                format!("service `{service}` has no `{key}`, and so no `{}`", output.as_str());
            let problem = Problem::error(Code::NotApplicable, message).at(span, "");
            self.tell(problem.help(format!("give `services.{service}` a `{key}`")));
        } else if output != ServiceOutput::PublicUrl {
            self.check_declared(&UseTarget::Service(service.clone()), name, span, edges);
        }
        Some(Part::Service { service: service.clone(), output })
    }

    /// An address that is used without being in `uses` would have no start order, probe and
    /// network edge.
    fn check_declared(&mut self, target: &UseTarget, name: &str, span: Span, edges: &Edges<'_>) {
        let Edges::Service { service, uses } = edges else { return };
        if !uses.contains(target) && *target != UseTarget::Service((*service).clone()) {
            let message =
                format!("service `{service}` reads an address of `{name}` without using it");
            let help = format!("add `{name}` to `services.{service}.uses`");
            self.tell(Problem::error(Code::UndeclaredUse, message).at(span, "").help(help));
        }
    }

    /// The place of `part` in what was written at `whole`, if it can be found there.
    fn within(&self, whole: Span, part: &str) -> Span {
        let range = whole.start as usize..whole.end as usize;
        let found = self.manifest.text.get(range).and_then(|written| written.find(part));
        let small = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
        match found {
            Some(byte) => {
                let start = whole.start + small(byte);
                Span { start, end: start + small(part.len()) }
            }
            None => whole,
        }
    }
}

/// A placeholder that names what is not there.
fn unknown(message: String, help: String, span: Span) -> Problem {
    Problem::error(Code::UnknownPlaceholder, message).at(span, "").help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_told_from_placeholders() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        assert_eq!(pieces("a"), Ok(vec![literal("a")]));
        assert_eq!(pieces("$$"), Ok(vec![literal("$")]));
        assert_eq!(
            pieces("$5 ${x}$"),
            Ok(vec![literal("$5 "), Piece::Placeholder("x"), literal("$")])
        );
        assert_eq!(pieces("$${x}"), Ok(vec![literal("${x}")]));
        assert_eq!(pieces("a${x"), Err("${x"));
        assert_eq!(pieces(""), Ok(vec![]));
    }
}
