//! `docs/PORTS.md`: which port leads where.

use askama::Template;
use manifest::Plan;
use manifest::plan::UseTarget;

use super::compose::{self, Published};
use crate::address::port;
use crate::artifact::Files;
use crate::platform::Platform;
use crate::text::Mark;

/// `docs/PORTS.md`.
#[derive(Template)]
#[template(path = "PORTS.md", escape = "none")]
struct Ports {
    local: String,
    rows: Vec<Row>,
    /// The files of environments that serve users.
    others: Vec<Other>,
    inside: Vec<Inside>,
    admin: u16,
}

struct Row {
    marks: Vec<Mark>,
    host: u16,
    what: String,
    container: u16,
    because: String,
}

struct Other {
    file: String,
    has_edge: bool,
}

struct Inside {
    mark: Mark,
    name: String,
    port: u16,
    routes: String,
}

pub(super) fn render(platform: &Platform, plan: &Plan, files: &mut Files<'_>) {
    let rows = if compose::is_dev(plan) { compose::published(plan) } else { Vec::new() };
    let others = platform.plans().iter().filter(|plan| !compose::is_dev(plan));
    let others = others.map(|plan| Other {
        file: compose::file_name(platform, plan),
        has_edge: plan.services.values().any(|service| !service.route.is_empty()),
    });
    let released = platform.released();
    let inside = released.services.values().filter_map(|service| {
        let routes: Vec<String> = service.route.iter().map(|route| format!("`{route}`")).collect();
        Some(Inside {
            mark: Mark(format!("services.{}.port", service.name)),
            name: service.name.to_string(),
            port: service.port?.get(),
            routes: if routes.is_empty() { "-".to_owned() } else { routes.join(", ") },
        })
    });
    let ports = Ports {
        local: compose::file_name(platform, plan),
        rows: rows.into_iter().map(|published| row(plan, published)).collect(),
        others: others.collect(),
        inside: inside.collect(),
        admin: port::ADMIN,
    };
    let text = ports.render().expect("writing to a string does not fail");
    files.text("docs/PORTS.md", &text);
}

fn row(plan: &Plan, published: Published) -> Row {
    let Published { what, host, container, because, .. } = published;
    let mut marks = vec![Mark(because.clone())];
    if let Some(resource) = because.strip_prefix("resources.") {
        for service in plan.services.values() {
            for (name, used) in &service.uses {
                if matches!(&used.target, UseTarget::Resource(used) if used.as_str() == resource) {
                    marks.push(Mark(format!("services.{}.uses.{name}", service.name)));
                }
            }
        }
    }
    Row { marks, host, what, container, because }
}
