//! What programs that take work from a queue are told where the manifest tells them nothing: how
//! much they do at once, and what they write to their logs.
//!
//! Celery reads every option of its command line from a variable too, which an option beats: one
//! that stands in `run` is left alone. Dask counts what the container may use itself. Deliberately
//! nobody is told a queue: an application knows its own, and a default would hide the others.

use manifest::plan::{Command, Service};
use manifest::template::Template;

/// One variable of a program.
struct Setting {
    /// The program, and the word of its command line that makes it this one.
    program: [&'static str; 2],
    variable: &'static str,
    value: Value,
    /// Options that say the same.
    options: &'static [&'static str],
}

enum Value {
    Text(&'static str),
    /// One for each processor that the container may use.
    PerCpu,
}

const DEFAULTS: &[Setting] = &[
    Setting {
        program: ["celery", "worker"],
        variable: "CELERY_WORKER_CONCURRENCY",
        value: Value::PerCpu,
        options: &["-c", "--concurrency", "--autoscale"],
    },
    Setting {
        program: ["celery", "worker"],
        variable: "CELERY_WORKER_LOGLEVEL",
        value: Value::Text("INFO"),
        options: &["-l", "--loglevel"],
    },
    Setting {
        program: ["celery", "beat"],
        variable: "CELERY_BEAT_LOGLEVEL",
        value: Value::Text("INFO"),
        options: &["-l", "--loglevel"],
    },
    Setting {
        program: ["prefect", "worker"],
        variable: "PREFECT_LOGGING_LEVEL",
        value: Value::Text("INFO"),
        options: &[],
    },
    // Otherwise it tells its makers about its use.
    Setting {
        program: ["prefect", "worker"],
        variable: "DO_NOT_TRACK",
        value: Value::Text("1"),
        options: &[],
    },
];

/// The variables of a service's program, with their values.
pub(crate) fn defaults(service: &Service) -> Vec<(&'static str, String)> {
    let Some(Command::Exec(words)) = &service.run else { return Vec::new() };
    let words: Vec<_> = words.iter().map_while(Template::as_literal).collect();
    // `poetry run celery`, `python -m celery`.
    let program = words.iter().take(3).map(|word| word.rsplit('/').next().unwrap_or_default());
    let program: Vec<&str> = program.collect();
    let is_meant = |default: &&Setting| {
        let [name, word] = default.program;
        program.contains(&name)
            && words.iter().any(|it| it == word)
            && !words.iter().any(|it| default.options.iter().any(|option| is_option(it, option)))
    };
    let value = |default: &Setting| match default.value {
        Value::Text(text) => text.to_owned(),
        Value::PerCpu => service.limits.cpu.0.div_ceil(1000).max(1).to_string(),
    };
    DEFAULTS.iter().filter(is_meant).map(|it| (it.variable, value(it))).collect()
}

/// Whether a word gives an option: `-c`, `-c4`, `--concurrency`, `--concurrency=4`.
fn is_option(word: &str, option: &str) -> bool {
    match word.strip_prefix(option) {
        Some(rest) if option.starts_with("--") => rest.is_empty() || rest.starts_with('='),
        Some(_) => !word.starts_with("--"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(run: &str) -> Vec<String> {
        let text = format!(
            "plimsoll: 1\napp: shop\nservices: {{w: {{run: \"{run}\", limits: {{cpu: 1500m}}}}}}\n"
        );
        let manifest = manifest::parse(&text).unwrap();
        let plan = manifest::resolve(&manifest, "local").unwrap().plan;
        let service = plan.services.values().next().unwrap();
        defaults(service).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_worker_is_told_what_its_command_does_not_say() {
        assert_eq!(
            told("poetry run celery -A app.tasks worker"),
            ["CELERY_WORKER_CONCURRENCY=2", "CELERY_WORKER_LOGLEVEL=INFO"]
        );
        assert_eq!(told("celery -A app worker --concurrency 8 -l debug"), [""; 0]);
        assert_eq!(told("celery -A app worker --autoscale=8,2"), ["CELERY_WORKER_LOGLEVEL=INFO"]);
        assert_eq!(told("celery -A app beat"), ["CELERY_BEAT_LOGLEVEL=INFO"]);
        assert_eq!(
            told("prefect worker start --pool docs"),
            ["PREFECT_LOGGING_LEVEL=INFO", "DO_NOT_TRACK=1"]
        );
        assert_eq!(told("python -m app.worker"), [""; 0]);
    }
}
