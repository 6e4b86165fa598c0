//! What answers in place of somebody else's API.
//!
//! With `via: mock` it always does. Without, a developer may let it: `--profile mocks` starts it,
//! and one variable sends the services there.

use std::collections::BTreeMap;

use manifest::Plan;
use manifest::plan::{Http, HttpVia, Resource, ResourceSpec};

use super::resource::{Server, ask};
use super::stack::{Stack, companion};
use crate::artifact::Files;
use crate::node::{Map, Node};
use crate::platform::Platform;

/// The port of a mock that stands in for a real API.
const PORT: u16 = 8080;

/// A mock that is there if a developer asks for it.
pub(super) fn optional(stack: &Stack<'_>, resource: &Resource) -> Option<(String, Node)> {
    let ResourceSpec::Http(Http { via: HttpVia::Url { url }, .. }) = &resource.spec else {
        return None;
    };
    if !stack.is_dev {
        return None;
    }
    url.as_literal()?;
    let name = name(stack.plan, resource);
    let variable = variable(resource);
    let server = server(Http::USUAL_MOCK, PORT, resource);
    let mut container = Map::new().with("profiles", Node::row(["mocks"]));
    container.0.extend(server.container(stack, resource).0);
    let comment =
        format!("Answers instead of `{}` with: {variable}=http://{name}:{PORT}", resource.name);
    let node = Node::from(container).because(format!("resources.{}", resource.name));
    Some((name, node.comment(comment)))
}

/// The mock of a resource that has no other server.
pub(super) fn server(image: &str, port: u16, resource: &Resource) -> Server {
    let mut server = Server::new(image, super::resource::MOCK);
    if image.starts_with("wiremock/") {
        let directory = directory(resource);
        server.command = vec!["--port".to_owned(), port.to_string()];
        server.mounts = vec![format!("./{directory}:/home/wiremock/mappings:ro")];
        server.health = Some(ask(port, "/__admin/health"));
    } else {
        server.health = Some(ask(port, "/"));
    }
    server
}

/// Where the answers of a mock are.
fn directory(resource: &Resource) -> String {
    format!("mocks/{}", resource.name.dns())
}

fn name(plan: &Plan, resource: &Resource) -> String {
    companion(plan, &resource.name.dns(), "mock")
}

/// The variable of a developer's shell that sends services to another address.
fn variable(resource: &Resource) -> String {
    format!("{}_URL", resource.name.upper())
}

/// APIs that a developer may replace by a mock: the resource, the variable that does, and the
/// address of the mock.
pub(in crate::target) fn redirections(plan: &Plan) -> Vec<(String, String, String)> {
    let optional = |resource: &Resource| match &resource.spec {
        ResourceSpec::Http(Http { via: HttpVia::Url { url }, .. }) => {
            url.as_literal()?;
            let mock = format!("http://{}:{PORT}", name(plan, resource));
            Some((resource.name.to_string(), variable(resource), mock))
        }
        _ => None,
    };
    plan.resources.values().filter_map(optional).collect()
}

/// Addresses of such APIs, the longest first: one may begin with another.
pub(super) fn redirected(plan: &Plan) -> Vec<(String, String)> {
    let mut known: Vec<(String, String)> = Vec::new();
    for resource in plan.resources.values() {
        if let ResourceSpec::Http(Http { via: HttpVia::Url { url }, .. }) = &resource.spec
            && let Some(url) = url.as_literal().filter(|url| !url.is_empty())
        {
            known.push((url.into_owned(), variable(resource)));
        }
    }
    known.sort_by_key(|(url, _)| std::cmp::Reverse(url.len()));
    known
}

/// A value in which such an address can be replaced from outside.
pub(super) fn redirectable(stack: &Stack<'_>, value: &str) -> String {
    if !value.contains("://") {
        return value.to_owned();
    }
    let mut written = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(letter) = rest.chars().next() {
        match stack.redirected.iter().find(|(url, _)| rest.starts_with(url.as_str())) {
            Some((url, variable)) => {
                written.push_str(&format!("${{{variable}:-{url}}}"));
                rest = &rest[url.len()..];
            }
            None => {
                written.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    written
}

/// The answer that a mock has before anybody wrote one.
pub(super) fn answers(platform: &Platform, files: &mut Files<'_>) {
    let mut mocked: BTreeMap<String, Node> = BTreeMap::new();
    for plan in platform.plans() {
        for resource in plan.resources.values() {
            if has_answers(plan, resource) {
                mocked.entry(directory(resource)).or_insert_with(|| anything(resource));
            }
        }
    }
    for (directory, stub) in mocked {
        files.json(format!("{directory}/anything.json"), &stub);
    }
}

/// Whether a mock of ours may answer in a plan.
fn has_answers(plan: &Plan, resource: &Resource) -> bool {
    let ResourceSpec::Http(http) = &resource.spec else { return false };
    match &http.via {
        HttpVia::Url { url } => super::is_dev(plan) && url.as_literal().is_some(),
        HttpVia::Mock { image, .. } => image.starts_with("wiremock/"),
    }
}

/// An empty document for every request that nothing better matches.
fn anything(resource: &Resource) -> Node {
    let request = Map::new().with("method", "ANY").with("urlPattern", ".*");
    let response = Map::new()
        .with("status", 200u32)
        .with("headers", Map::new().with("Content-Type", "application/json"))
        .with("jsonBody", Map::new());
    let stub =
        Map::new().with("priority", 10u32).with("request", request).with("response", response);
    Node::from(stub).because(format!("resources.{}", resource.name))
}
