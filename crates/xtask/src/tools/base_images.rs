//! Stand-ins for the base images of Dockerfiles, made of Debian's packages: no registry is needed.
//!
//! A minimal Debian is made first, and the rest of it, by an engine of our own and without network.
//! It deliberately pulls nothing, and runs nothing of what it makes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{docker, run};

/// Where the stand-ins are described.
const SOURCE: &str = "crates/testkit/docker";

/// Where they go: a name for what they are made of.
pub(super) fn directory() -> String {
    testkit::BASE_IMAGES.to_owned()
}

/// Makes them, as one archive.
pub(super) fn install(into: &Path) -> Result<()> {
    let engine = testkit::Docker::start().map_err(|error| anyhow!(error))?;
    let work = tempfile::tempdir()?;
    let script = std::path::absolute(Path::new(SOURCE).join("bootstrap.sh"))?;
    run(Command::new(script).arg(work.path()).arg(docker::mirror()?))?;
    let bootstrap = work.path().join("bootstrap.tar");
    run(engine.command().arg("import").arg(bootstrap).arg("plimsoll/bootstrap"))?;
    let contexts = [
        format!("system={}", work.path().join("system").display()),
        format!("more={}", work.path().join("more").display()),
        format!("toolchain={}", toolchain()?),
    ];
    let mut save = engine.command();
    save.arg("save").arg("--output").arg(into.join("images.tar"));
    for (stage, _) in testkit::STAND_INS {
        let name = format!("plimsoll/{stage}");
        let mut build = engine.command();
        build.args(["buildx", "build", "--quiet", "--target", stage, "--tag", &name]);
        for context in &contexts {
            build.args(["--build-context", context]);
        }
        run(build.arg(SOURCE))?;
        save.arg(name);
    }
    run(&mut save)
}

/// The directory of this machine's Rust.
fn toolchain() -> Result<String> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let output = output.context("cannot start `rustc`")?;
    ensure!(output.status.success(), "rustc does not say where it is");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
