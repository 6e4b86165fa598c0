//! Java and Kotlin: one jar, by Maven or Gradle, on the runtime of distroless.

use askama::Template;
use contract::env_vars;
use manifest::plan::{Command, PackageManager};

use super::recipe::{Base, Recipe, headers};
use super::{native, written};
use crate::detect::Toolchain;
use crate::image::{self, Family};
use crate::platform::Platform;

/// The runtimes that distroless has; a program runs on the first that is not older than it asks.
const RUNTIMES: &[u32] = &[17, 21, 25];

#[derive(Template)]
#[template(path = "docker/manifests.stage", escape = "none")]
struct Manifests<'a> {
    image: &'a str,
    keep: &'static str,
}

#[derive(Template)]
#[template(path = "docker/java.stages", escape = "none")]
struct Stages {
    manifests: String,
    jdk: String,
    headers: String,
    copy: &'static str,
    cache: &'static str,
    secret: &'static str,
    fetch: &'static str,
    build: String,
    workdir: String,
    collect: String,
}

/// The image that it is built in: with the build tool, unless the sources bring their own.
fn jdk_image(is_gradle: bool, has_wrapper: bool, runtime: u32) -> String {
    match (is_gradle, has_wrapper) {
        (false, _) => format!("maven:3-eclipse-temurin-{runtime}"),
        (true, false) => format!("gradle:jdk{runtime}"),
        (true, true) => format!("eclipse-temurin:{runtime}-jdk"),
    }
}

/// How the images of a family are made.
pub(super) fn recipe(platform: &Platform, family: &Family<'_>, toolchain: &Toolchain) -> Recipe {
    let wanted: u32 = toolchain.version.parse().unwrap_or(21);
    let runtime = RUNTIMES.iter().copied().find(|known| *known >= wanted).unwrap_or(wanted);
    let is_gradle = toolchain.manager == PackageManager::Gradle;
    let has_wrapper = toolchain.markers.contains_key("gradlew");
    let jdk = platform.pinned(&jdk_image(is_gradle, has_wrapper, runtime));
    let workdir = family.workdir();
    let gradle = if has_wrapper { "./gradlew" } else { "gradle" };
    let below = family.below();
    let (keep, fetch, build, out) = match is_gradle {
        false => {
            let module = if below == "." { String::new() } else { format!(" -pl {below} -am") };
            (
                "find . -type f ! -name pom.xml ! -path './.mvn/*' -delete",
                "mvn --batch-mode --fail-never dependency:go-offline",
                format!("mvn --batch-mode -DskipTests{module} package"),
                "target",
            )
        }
        true => {
            let project = match below.as_str() {
                "." => String::new(),
                path => format!(":{}:", path.replace('/', ":")),
            };
            (
                "find . -type f ! -name '*.gradle*' ! -name gradle.properties ! -name gradlew \\\n        \
                 ! -path './gradle/*' -delete",
                match has_wrapper {
                    true => "./gradlew --no-daemon dependencies",
                    false => "gradle --no-daemon dependencies",
                },
                format!("{gradle} --no-daemon {project}assemble"),
                "build",
            )
        }
    };
    let (cache, secret) = match is_gradle {
        false => ("/root/.m2/repository", "maven,target=/root/.m2/settings.xml"),
        true => ("/root/.gradle/caches", "gradle,target=/root/.gradle/gradle.properties"),
    };
    let manifests = written(&Manifests { image: &jdk, keep });
    let stages = written(&Stages {
        manifests: format!("{manifests}\n\n"),
        jdk: jdk.clone(),
        headers: headers(&native::headers(family)),
        copy: "COPY --from=manifests /app ./",
        cache,
        secret,
        fetch,
        build,
        workdir: workdir.clone(),
        collect: collect(family, out),
    });
    Recipe {
        stages,
        base: Base::Java(runtime),
        toolchain: jdk,
        copies: vec!["COPY --from=tree /tree/app/ /app/".to_owned()],
        env: vec![
            ("JAVA_TOOL_OPTIONS", "-XX:MaxRAMPercentage=75 -XX:+ExitOnOutOfMemoryError".to_owned()),
            // What a JVM says after a clean stop.
            (env_vars::SUCCESS_EXIT_CODES.name, "0,143".to_owned()),
        ],
        workdir: "/app".to_owned(),
        secret: Some(match is_gradle {
            false => ("maven", "$HOME/.m2/settings.xml"),
            true => ("gradle", "$HOME/.gradle/gradle.properties"),
        }),
    }
}

/// Copies the one jar of a build, or the directory of one that needs the files beside it.
fn collect(family: &Family<'_>, out: &str) -> String {
    let words = match &family.owner.run {
        Some(Command::Exec(words)) => words.as_slice(),
        Some(Command::Shell { .. }) | None => &[],
    };
    let paths = words.iter().filter_map(manifest::template::Template::as_literal);
    let beside = paths.filter_map(|path| image::directory_of_jar(&path)).next();
    if let Some((directory, _)) = beside {
        return format!("cp -a {out}/{directory}/. /tree/app/");
    }
    let libs = if out == "build" { "build/libs" } else { out };
    format!(
        "find {libs} -maxdepth 1 -name '*.jar' ! -name 'original-*' ! -name '*-plain.jar' \\\n        \
         ! -name '*-sources.jar' ! -name '*-javadoc.jar' -exec cp {{}} /tree/app/app.jar \\;"
    )
}
