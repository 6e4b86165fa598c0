//! Which directory says what, and what is asked when none does.

use manifest::plan::{Language, PackageManager};

use super::{Repository, Source, Toolchain, Undetected, detect};

/// What a service `it` below `path` is made of, with the given lines in the manifest.
fn found(lines: &str, files: &[(&str, &str)]) -> Result<Toolchain, String> {
    let text = format!(
        "{{plimsoll: 1, app: shop, services: {{it: {{{lines}, port: 8080}}}}, \
         environments: {{dev: {{target: local}}}}}}"
    );
    let manifest = manifest::parse(&text).unwrap_or_else(|all| panic!("{text}: {all:#?}"));
    let plan = manifest::resolve(&manifest, "dev").unwrap().plan;
    let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    let repository: Repository = files.iter().map(owned).collect();
    match detect(&plan, &repository) {
        Ok(sources) => match sources.into_values().next() {
            Some(Source::Toolchain(toolchain)) => Ok(toolchain),
            other => panic!("{other:?}"),
        },
        Err(all) => {
            let told = |one: &Undetected| format!("{one}\nhelp: {}", one.help());
            Err(all.iter().map(told).collect::<Vec<_>>().join("\n"))
        }
    }
}

#[test]
fn the_nearest_directory_says_the_language_and_its_nearest_lock_the_manager() {
    let cases = [
        // A lock file above is not for sources that name packages of another language.
        (
            "frontend",
            &["uv.lock", "frontend/package.json", "frontend/yarn.lock"][..],
            "frontend yarn",
        ),
        ("frontend", &["uv.lock", "package-lock.json", "frontend/package.json"], ". npm"),
        ("backend", &["uv.lock", "backend/pyproject.toml"], ". uv"),
        ("backend", &["uv.lock", "pyproject.toml"], ". uv"),
        ("backend", &["poetry.lock", "backend/uv.lock", "backend/pyproject.toml"], "backend uv"),
        ("a/b", &["Cargo.lock", "Cargo.toml", "a/b/Cargo.toml"], ". cargo"),
        // In one directory a lock file says more than what only names packages.
        ("backend", &["backend/uv.lock", "backend/package.json"], "backend uv"),
        (
            "backend",
            &["pnpm-lock.yaml", "backend/poetry.lock", "backend/package.json"],
            "backend poetry",
        ),
    ];
    for (path, files, wanted) in cases {
        let files: Vec<(&str, &str)> = files.iter().map(|path| (*path, "")).collect();
        let toolchain = found(&format!("path: {path}, run: x"), &files).unwrap();
        assert_eq!(format!("{} {}", toolchain.root, toolchain.manager), wanted, "{files:?}");
    }
}

#[test]
fn a_root_lock_is_not_taken_for_sources_of_another_language() {
    let files = [("uv.lock", ""), ("frontend/package.json", "{}")];
    let problem = found("path: frontend, run: x", &files).unwrap_err();
    assert_eq!(
        problem,
        "service `it` is written in node, and neither `frontend` nor a directory above has a lock \
         file of `pnpm`, `npm`, `yarn`\nhelp: commit its lock file; or write \
         `services.it.package_manager: npm`, if it is made before the image is; or, if it is \
         written in something else, `services.it.language`"
    );
    let toolchain = found("path: frontend, language: python, run: x", &files).unwrap();
    assert_eq!((toolchain.root.as_str(), toolchain.manager), (".", PackageManager::Uv));
}

#[test]
fn no_lock_file_of_npm_is_invented() {
    let problem = found("path: web, language: node, run: x", &[]).unwrap_err();
    assert!(problem.contains("neither `web` nor a directory above has a lock file"), "{problem}");
    let toolchain = found("path: web, language: node, package_manager: npm, run: x", &[]).unwrap();
    assert_eq!((toolchain.language, toolchain.manager), (Language::Node, PackageManager::Npm));
}

#[test]
fn bun_is_told_to_be_missing_and_what_to_do() {
    for lock in ["web/bun.lock", "web/bun.lockb"] {
        let files = [("uv.lock", ""), ("web/package.json", "{}"), (lock, "")];
        for lines in ["path: web, run: x", "path: web, language: node, run: x"] {
            let problem = found(lines, &files).unwrap_err();
            assert!(problem.contains(&format!("`{lock}`: bun is not supported yet")), "{problem}");
            assert!(problem.contains("`plimsoll eject web/Dockerfile`"), "{problem}");
        }
        let said = found("path: web, package_manager: npm, run: x", &files).unwrap();
        assert_eq!(said.manager, PackageManager::Npm, "what the manifest says is believed");
        let files = [(lock, ""), ("web/package-lock.json", "")];
        assert_eq!(found("path: web, run: x", &files).unwrap().manager, PackageManager::Npm);
    }
}

#[test]
fn a_service_that_nothing_starts_is_a_problem() {
    for (files, is_started) in [
        (&[("a/uv.lock", "")][..], false),
        (&[("a/uv.lock", ""), ("a/pyproject.toml", "[project.scripts]\nserve = 'a:b'")], true),
        (&[("a/uv.lock", ""), ("a/app/main.py", "app = FastAPI()")], true),
        (&[("a/package-lock.json", ""), ("a/package.json", "{}")], false),
        (&[("a/package-lock.json", ""), ("a/package.json", r#"{"main": "x.js"}"#)], true),
        (&[("a/Cargo.lock", "")], true),
    ] {
        let problem = found("path: a", files).err();
        let wanted = "`services.it.run` is missing, and its sources do not say what starts it\n\
                      help: write `run: ...` below `services.it`, or `static: ...` for a site";
        assert_eq!(problem.as_deref(), (!is_started).then_some(wanted), "{files:?}");
        found("path: a, run: x", files).unwrap();
    }
}
