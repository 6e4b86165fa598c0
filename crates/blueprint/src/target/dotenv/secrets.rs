//! Which secrets each environment needs as files, and how they are made and replaced.

use askama::Template;

use super::super::compose::{self, Maker};
use crate::artifact::Files;
use crate::platform::Platform;
use crate::text::Mark;

/// Nothing below `secrets/` is ever committed, except what says so.
const IGNORE: &str = "# Values of secrets are never committed.\n*\n!*/\n!.gitignore\n!README.md\n";

/// `secrets/README.md`.
#[derive(Template)]
#[template(path = "secrets.md", escape = "none")]
struct Readme {
    environments: Vec<Needed>,
}

/// What one environment needs.
struct Needed {
    name: String,
    compose: String,
    is_cluster: bool,
    secrets: Vec<Row>,
}

/// One secret.
struct Row {
    mark: Mark,
    file: String,
    about: String,
    readers: String,
    is_made_here: bool,
}

impl Needed {
    /// The files that `openssl` fills.
    fn made_here(&self) -> Vec<&str> {
        let made = self.secrets.iter().filter(|secret| secret.is_made_here);
        made.map(|secret| secret.file.as_str()).collect()
    }

    /// The files that values of somebody else's go into.
    fn given(&self) -> Vec<&str> {
        let given = self.secrets.iter().filter(|secret| !secret.is_made_here);
        given.map(|secret| secret.file.as_str()).collect()
    }
}

pub(super) fn render(platform: &Platform, files: &mut Files<'_>) {
    let environments = platform.plans().iter().map(|plan| {
        let row = |(name, secret): (manifest::names::SecretName, compose::Secret)| Row {
            mark: Mark(secret.because),
            file: compose::secret_file(&name),
            about: secret.about,
            readers: secret.services.into_iter().collect::<Vec<_>>().join(", "),
            is_made_here: secret.maker == Maker::Us,
        };
        Needed {
            name: plan.environment.name.to_string(),
            compose: compose::file_name(platform, plan),
            is_cluster: plan.environment.target == manifest::plan::Target::Kubernetes,
            secrets: compose::secrets(plan).into_iter().map(row).collect(),
        }
    });
    let readme = Readme { environments: environments.collect() };
    let text = readme.render().expect("writing to a string does not fail");
    files.text("secrets/README.md", &text);
    files.verbatim("secrets/.gitignore", IGNORE);
}

#[cfg(test)]
mod tests {
    use crate::{Pins, Platform, Repository, detect, render};

    #[test]
    fn the_script_writes_every_secret_that_the_table_names() {
        let text = "
plimsoll: 1
app: shop
services:
  api:
    language: python
    run: serve
    port: 8080
    env: {STRIPE: '${secret:STRIPE_KEY}', MAIL: '${secret:MAIL_TOKEN}', MAP: '${secret:MAP_KEY}'}
environments: {dev: {target: local}}
";
        let plan = manifest::resolve(&manifest::parse(text).unwrap(), "dev").unwrap().plan;
        let sources = detect(&plan, &Repository::new()).unwrap();
        let artifacts = render(&Platform::new(vec![plan], sources, Pins::new()));
        let readme = &artifacts.get("secrets/README.md").unwrap().text;
        let told: Vec<&str> =
            readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(told.len(), 3, "{readme}");
        for file in told {
            let line = format!("\ncat >{file}\n");
            assert_eq!(readme.matches(&line).count(), 1, "{file}: {readme}");
        }
    }
}
