//! One part of the page: what was compared, how, and the figures.
//!
//! Each scenario is a file that measures and returns one of these. It deliberately knows no
//! figures.

use std::fmt::Write as _;

use super::report::Target;

/// One part of the page.
pub(super) struct Section {
    pub title: &'static str,
    /// How it was measured: whole sentences, one a line.
    pub method: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    pub targets: Vec<Target>,
}

impl Section {
    /// The part as Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("\n## {}\n\n{}\n\n", self.title, self.method.trim_end());
        let _ = writeln!(text, "| {} |", self.columns.join(" | "));
        let _ = writeln!(text, "|{}", " --- |".repeat(self.columns.len()));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

/// A time in the unit that suits it.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1e-3 => format!("{:.0} us", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        assert_eq!(time(0.000_016), "16 us");
        assert_eq!(time(0.0042), "4.2 ms");
        assert_eq!(time(3.0), "3.00 s");
    }

    #[test]
    fn a_section_is_a_table_under_its_method() {
        let section = Section {
            title: "Stop",
            method: "Asked.".into(),
            columns: vec!["init".into(), "time".into()],
            rows: vec![vec!["ours".into(), "1 ms".into()]],
            targets: Vec::new(),
        };
        let wanted = "\n## Stop\n\nAsked.\n\n| init | time |\n| --- | --- |\n| ours | 1 ms |\n";
        assert_eq!(section.markdown(), wanted);
    }
}
