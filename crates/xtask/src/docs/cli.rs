//! The page of the command line: the help of every command, as the program prints it.

use std::fmt::Write as _;

use clap::Command;
use contract::reference::GENERATED;

/// Columns of the help, whatever the terminal of whoever renders the page.
const COLUMNS: usize = 100;

/// The page of these programs and all their commands that are not hidden.
pub(super) fn page(programs: Vec<Command>) -> String {
    let mut page = format!("# Command line\n\n{GENERATED}\n");
    for program in programs {
        let mut program = program.term_width(COLUMNS).disable_help_subcommand(true);
        program.build();
        let name = program.get_name().to_owned();
        section(&mut page, &mut program, &name);
    }
    page
}

fn section(page: &mut String, command: &mut Command, words: &str) {
    // What this machine's environment holds is nobody's default.
    *command = command.clone().mut_args(|arg| arg.hide_env_values(true)).term_width(COLUMNS);
    let help = command.render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## `{words}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    for inner in command.get_subcommands_mut().filter(|inner| !inner.is_hide_set()) {
        let words = format!("{words} {}", inner.get_name());
        section(page, inner, &words);
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn every_command_that_is_not_hidden_has_its_help() {
        let program = Command::new("ship")
            .about("Sails")
            .subcommand(
                Command::new("load").about("Takes cargo").arg(Arg::new("tons").long("tons")),
            )
            .subcommand(Command::new("secret").hide(true));
        let page = page(vec![program]);
        assert!(page.contains("## `ship load`") && page.contains("--tons <tons>"), "{page}");
        assert!(!page.contains("secret"), "{page}");
    }

    #[test]
    fn values_of_the_environment_are_not_on_the_page() {
        let program = Command::new("ship").arg(Arg::new("path").long("path").env("PATH"));
        let page = page(vec![program]);
        assert!(page.contains("[env: PATH]"), "{page}");
    }
}
