//! The version of a language: what its own files say, else the one that we would choose today.

use std::collections::BTreeMap;

use manifest::plan::Language;

/// What images have when nothing says otherwise: the newest release with long support, 2026.
const fn usual(language: Language) -> &'static str {
    match language {
        Language::Python => "3.13",
        Language::Node => "24",
        Language::Rust => "1.95",
        Language::Go => "1.26",
        Language::Java => "21",
    }
}

/// The version as the tag of a base image begins.
pub(super) fn version(language: Language, markers: &BTreeMap<String, String>) -> String {
    let text = |name: &str| markers.get(name).map(String::as_str);
    let found = match language {
        Language::Python => text(".python-version").and_then(first_line).or_else(|| {
            let value: toml::Table = text("pyproject.toml")?.parse().ok()?;
            let project = value.get("project").and_then(|project| project.get("requires-python"));
            let poetry = || value.get("tool")?.get("poetry")?.get("dependencies")?.get("python");
            lowest(project.or_else(poetry)?.as_str()?)
        }),
        Language::Node => text(".nvmrc").and_then(first_line).or_else(|| {
            let value: serde_json::Value = serde_json::from_str(text("package.json")?).ok()?;
            lowest(value.get("engines")?.get("node")?.as_str()?)
        }),
        Language::Rust => {
            let channel = || {
                let value: toml::Table = text("rust-toolchain.toml")?.parse().ok()?;
                first_line(value.get("toolchain")?.get("channel")?.as_str()?)
            };
            let declared = || {
                let value: toml::Table = text("Cargo.toml")?.parse().ok()?;
                let of = |table: &str| value.get(table)?.get("package").or(value.get(table));
                let package = of("workspace").or_else(|| value.get("package"))?;
                first_line(package.get("rust-version")?.as_str()?)
            };
            channel().or_else(declared)
        }
        Language::Go => text("go.mod").and_then(|text| {
            first_line(text.lines().find_map(|line| line.trim().strip_prefix("go "))?)
        }),
        Language::Java => text("pom.xml").and_then(|text| {
            ["maven.compiler.release", "java.version", "maven.compiler.target"].iter().find_map(
                |property| {
                    let (_, rest) = text.split_once(&format!("<{property}>"))?;
                    first_line(rest.split_once('<')?.0)
                },
            )
        }),
    };
    let found = found.unwrap_or_else(|| usual(language).to_owned());
    let parts = match language {
        Language::Node | Language::Java => 1,
        Language::Python | Language::Rust | Language::Go => 2,
    };
    found.split('.').take(parts).collect::<Vec<_>>().join(".")
}

/// The version that a line consists of, without a `v`; absent when it is a word such as `lts/*`.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().next()?.trim().trim_start_matches('v');
    let is_version = !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_version.then(|| line.to_owned())
}

/// The lowest version that a range such as `>=3.11,<4` or `^22.1` allows: what was tested.
fn lowest(range: &str) -> Option<String> {
    let first = range.split([',', ' ', '|']).find(|part| !part.is_empty())?;
    first_line(
        first.trim_start_matches(['>', '=', '^', '~', '<']).trim_end_matches(['.', '*', 'x']),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_says_its_version_in_its_own_file() {
        let cases = [
            (
                Language::Python,
                "pyproject.toml",
                "[project]\nrequires-python = '>=3.11,<4'",
                "3.11",
            ),
            (
                Language::Python,
                "pyproject.toml",
                "[tool.poetry.dependencies]\npython = '^3.12'",
                "3.12",
            ),
            (Language::Python, ".python-version", "3.12.4\n", "3.12"),
            (Language::Node, "package.json", r#"{"engines": {"node": ">=20.1"}}"#, "20"),
            (Language::Node, ".nvmrc", "v22.3.0", "22"),
            (Language::Node, ".nvmrc", "lts/*", "24"),
            (Language::Rust, "rust-toolchain.toml", "[toolchain]\nchannel = '1.85.0'", "1.85"),
            (Language::Rust, "Cargo.toml", "[package]\nrust-version = '1.80'", "1.80"),
            (Language::Rust, "Cargo.toml", "[workspace.package]\nrust-version = '1.81'", "1.81"),
            (Language::Go, "go.mod", "module a\n\ngo 1.22.1\n", "1.22"),
            (Language::Java, "pom.xml", "<java.version>17</java.version>", "17"),
            (Language::Java, "pom.xml", "<a/>", "21"),
        ];
        for (language, name, text, wanted) in cases {
            let markers = BTreeMap::from([(name.to_owned(), text.to_owned())]);
            assert_eq!(version(language, &markers), wanted, "{name}: {text}");
        }
    }
}
