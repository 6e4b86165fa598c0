//! `docker-bake.json`: all images in one build, each with a tag that never moves.
//!
//! `VERSION` is `<semver>-<git sha>`: the same words as in the pipeline, in Compose and in a chart.

use crate::image::{Family, Image, stage};
use crate::node::{Map, Node};
use crate::platform::Platform;

/// The machines that images are made for.
const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// The tree of the file.
pub(super) fn tree(platform: &Platform, families: &[Family<'_>]) -> Node {
    let plan = platform.released();
    let image = plan.image.as_deref().unwrap_or(plan.app.as_str());
    let default = |value: &str| Map::new().with("default", value);
    let variables = Map::new()
        .with("IMAGE", default(image))
        .with("VERSION", default("0.0.0-dev"))
        .with("REVISION", default("unknown"))
        .with("SOURCE", default(""))
        .with("CACHE", default(""));
    let mut targets = Map::new().with("common", common());
    let mut names = Vec::new();
    for family in families {
        for service in &family.services {
            let Some(made) = Image::of(platform, plan, service) else { continue };
            let name = service.name.to_string();
            targets.put(name.clone(), target(family, &name, &stage(service), ""));
            names.push(name.clone());
            if !made.suffix.is_empty() {
                let with = format!("{name}{}", made.suffix);
                targets.put(with.clone(), target(family, &name, &made.stage, made.suffix));
                names.push(with);
            }
        }
    }
    names.sort_unstable();
    Map::new()
        .with("variable", variables)
        .with("group", Map::new().with("default", Map::new().with("targets", Node::list(names))))
        .with("target", targets)
        .into()
}

/// What all images have in common.
fn common() -> Map {
    let args = ["VERSION", "REVISION", "SOURCE"].map(|name| (name, format!("${{{name}}}")));
    Map::new()
        .with("platforms", Node::row(PLATFORMS))
        .with("args", args.into_iter().collect::<Map>())
}

fn target(family: &Family<'_>, name: &str, stage: &str, suffix: &str) -> Node {
    let cache = |options: &str| {
        format!(
            "${{CACHE != \"\" ? \"type=registry,ref=${{CACHE}}/{name}:cache{options}\" : \"\"}}"
        )
    };
    let tree: Node = Map::new()
        .with("inherits", Node::row(["common"]))
        .with("context", family.context.as_str())
        .with("dockerfile", family.dockerfile.as_str())
        .with("target", stage)
        .with("tags", Node::row([format!("${{IMAGE}}/{name}:${{VERSION}}{suffix}")]))
        .with("cache-from", Node::row([cache("")]))
        .with("cache-to", Node::row([cache(",mode=max")]))
        .into();
    tree.because(format!("services.{name}"))
}
