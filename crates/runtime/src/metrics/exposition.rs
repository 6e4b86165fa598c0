//! Text formats of metrics: read, merged, written.
//!
//! Reads Prometheus text 0.0.4 and OpenMetrics 1.0 into families, and writes either. One bad line
//! costs that line only: another program wrote it, and the rest of its metrics still count.
//! It deliberately drops exemplars and `_created` samples, which text 0.0.4 cannot hold, and
//! metric names outside the classic character set.
//!
//! Invariant: what is printed is one valid exposition: each family once, with at most one `HELP`
//! and `TYPE`, its samples together, no series twice.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use contract::metrics as table;

/// Which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics text 1.0.
    OpenMetrics,
}

/// Families of metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    families: Vec<Family>,
    /// Samples that were left out while reading.
    invalid: usize,
}

/// Metrics of one name.
#[derive(Clone, Debug, PartialEq)]
struct Family {
    /// As in text 0.0.4: a counter's has its `_total`.
    name: String,
    kind: Kind,
    help: Option<String>,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Untyped,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    /// What is between the braces, as it was written.
    labels: String,
    value: String,
    timestamp_ms: Option<i64>,
}

impl Exposition {
    /// Reads what it can.
    #[must_use]
    pub fn parse(text: &str, form: Form) -> Self {
        let mut reader = Reader { form, ..Reader::default() };
        for line in text.lines() {
            reader.line(line.trim_end_matches('\r'));
        }
        reader.families.retain(|family| !family.samples.is_empty());
        Self { families: reader.families, invalid: reader.invalid }
    }

    /// The families that are not ours, and of them no more than `series_max` samples; and how many
    /// samples that leaves out, invalid ones included. A histogram or summary stays whole or goes.
    #[must_use]
    pub fn without_ours(self, series_max: usize) -> (Self, usize) {
        let ours = our_names();
        let (mut kept, mut room, mut left_out) = (Vec::new(), series_max, self.invalid);
        for mut family in self.families {
            let is_ours = ours.contains(family.name.as_str())
                || ours.contains(family.open_name())
                || family.samples.iter().any(|sample| ours.contains(sample.name.as_str()));
            let is_divisible = !matches!(family.kind, Kind::Histogram | Kind::Summary);
            let fits = if is_ours {
                0
            } else if family.samples.len() <= room || is_divisible {
                family.samples.len().min(room)
            } else {
                0
            };
            left_out += family.samples.len() - fits;
            room -= fits;
            family.samples.truncate(fits);
            if fits > 0 {
                kept.push(family);
            }
        }
        (Self { families: kept, invalid: 0 }, left_out)
    }

    /// Adds families of other names.
    pub fn append(&mut self, other: Exposition) {
        self.families.extend(other.families);
    }

    /// How many samples there are.
    #[must_use]
    pub fn series(&self) -> usize {
        self.families.iter().map(|family| family.samples.len()).sum()
    }

    /// Writes it.
    #[must_use]
    pub fn print(&self, form: Form) -> String {
        let mut out = String::with_capacity(128 * self.series());
        let mut used = HashSet::new();
        for family in &self.families {
            family.print(form, &mut used, &mut out);
        }
        if form == Form::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

impl Family {
    /// The name in OpenMetrics.
    fn open_name(&self) -> &str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            _ => &self.name,
        }
    }

    fn print(&self, form: Form, used: &mut HashSet<String>, out: &mut String) {
        let mut kind = self.kind;
        let mut name = match form {
            Form::Text => self.name.as_str(),
            Form::OpenMetrics => self.open_name(),
        };
        // OpenMetrics wants `_total` on each counter, and no two families of one name.
        if form == Form::OpenMetrics
            && kind == Kind::Counter
            && (name == self.name || used.contains(name))
        {
            (kind, name) = (Kind::Untyped, &self.name);
        }
        if !used.insert(name.to_owned()) {
            return;
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "# HELP {name} {}", escaped_help(help, form));
        }
        let _ = writeln!(out, "# TYPE {name} {}", kind.word(form));
        for sample in &self.samples {
            sample.print(form, out);
        }
    }
}

impl Sample {
    fn print(&self, form: Form, out: &mut String) {
        out.push_str(&self.name);
        if !self.labels.is_empty() {
            let _ = write!(out, "{{{}}}", self.labels);
        }
        let _ = write!(out, " {}", self.value);
        match (self.timestamp_ms, form) {
            (None, _) => {}
            (Some(ms), Form::Text) => drop(write!(out, " {ms}")),
            (Some(ms), Form::OpenMetrics) => {
                let (seconds, rest) = (ms.div_euclid(1000), ms.rem_euclid(1000));
                let _ = write!(out, " {seconds}.{rest:03}");
            }
        }
        out.push('\n');
    }
}

impl Kind {
    fn word(self, form: Form) -> &'static str {
        match (self, form) {
            (Kind::Counter, _) => "counter",
            (Kind::Gauge, _) => "gauge",
            (Kind::Histogram, _) => "histogram",
            (Kind::Summary, _) => "summary",
            (Kind::Untyped, Form::Text) => "untyped",
            (Kind::Untyped, Form::OpenMetrics) => "unknown",
        }
    }

    /// Endings that samples of a family have after its name.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            Kind::Counter | Kind::Gauge | Kind::Untyped => &[""],
            Kind::Histogram => &["_bucket", "_sum", "_count"],
            Kind::Summary => &["", "_sum", "_count"],
        }
    }
}

/// Every name that a sample or family of ours can have.
fn our_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for metric in table::ALL {
        names.insert(metric.family_name().to_owned());
        names.insert(metric.name.to_owned());
        if metric.kind == table::Kind::Histogram {
            names.extend(
                Kind::Histogram.suffixes().iter().map(|end| format!("{}{end}", metric.name)),
            );
        }
    }
    names
}

/// Families by every name that their samples can have.
#[derive(Debug)]
struct Reader {
    form: Form,
    families: Vec<Family>,
    by_sample: HashMap<String, usize>,
    declared: HashMap<String, Declared>,
    seen: HashSet<String>,
    invalid: usize,
}

#[derive(Debug, Default)]
struct Declared {
    family: Option<usize>,
    help: Option<String>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            form: Form::Text,
            families: Vec::new(),
            by_sample: HashMap::new(),
            declared: HashMap::new(),
            seen: HashSet::new(),
            invalid: 0,
        }
    }
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(comment) = line.strip_prefix('#') {
            self.comment(comment);
        } else if !line.trim().is_empty() {
            match parse_sample(line, self.form) {
                Some(sample) => self.sample(sample),
                None => self.invalid += 1,
            }
        }
    }

    fn comment(&mut self, comment: &str) {
        let mut words = comment.trim_start().splitn(3, [' ', '\t']);
        let (keyword, name) = (words.next(), words.next());
        let rest = words.next().unwrap_or_default().trim_start();
        let Some(name) = name.filter(|name| is_name(name)) else { return };
        match keyword {
            Some("HELP") => self.help(name, unescaped_help(rest)),
            Some("TYPE") => self.declare(name, rest.trim()),
            _ => {}
        }
    }

    fn help(&mut self, name: &str, help: String) {
        let declared = self.declared.entry(name.to_owned()).or_default();
        match declared.family {
            Some(index) => drop(self.families[index].help.get_or_insert(help)),
            None => drop(declared.help.get_or_insert(help)),
        }
    }

    fn declare(&mut self, name: &str, word: &str) {
        let (kind, ending) = match (word, self.form) {
            ("counter", Form::Text) => (Kind::Counter, ""),
            ("counter", Form::OpenMetrics) => (Kind::Counter, "_total"),
            ("gauge" | "stateset", _) => (Kind::Gauge, ""),
            ("info", _) => (Kind::Gauge, "_info"),
            ("histogram", _) => (Kind::Histogram, ""),
            ("summary", _) => (Kind::Summary, ""),
            _ => (Kind::Untyped, ""),
        };
        let declared = self.declared.entry(name.to_owned()).or_default();
        if declared.family.is_some() {
            return;
        }
        let name = format!("{name}{ending}");
        let samples: Vec<_> = kind.suffixes().iter().map(|end| format!("{name}{end}")).collect();
        // A second family that claims the samples of a first is not one.
        if samples.iter().any(|sample| self.by_sample.contains_key(sample)) {
            return;
        }
        let index = self.families.len();
        declared.family = Some(index);
        let help = declared.help.take();
        self.families.push(Family { name, kind, help, samples: Vec::new() });
        self.by_sample.extend(samples.into_iter().map(|sample| (sample, index)));
    }

    fn sample(&mut self, sample: Sample) {
        if self.form == Form::OpenMetrics && sample.name.ends_with("_created") {
            return;
        }
        if !self.seen.insert(format!("{}{{{}", sample.name, sample.labels)) {
            self.invalid += 1;
            return;
        }
        let index = match self.by_sample.get(&sample.name) {
            Some(index) => *index,
            None => {
                self.declare(&sample.name, "untyped");
                match self.by_sample.get(&sample.name) {
                    Some(index) => *index,
                    // Declared under a type that has no sample of that name.
                    None => {
                        self.invalid += 1;
                        return;
                    }
                }
            }
        };
        self.families[index].samples.push(sample);
    }
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

fn parse_sample(line: &str, form: Form) -> Option<Sample> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => {
            let end = labels_end(rest)?;
            (rest[..end].trim().trim_end_matches(','), &rest[end + 1..])
        }
        None => ("", rest),
    };
    // What follows ` # ` is an exemplar.
    let rest = rest.split(" # ").next().unwrap_or_default();
    let mut words = rest.split_whitespace();
    let value = words.next()?;
    let timestamp_ms = match (words.next(), form) {
        (None, _) => None,
        (Some(ms), Form::Text) => Some(ms.parse().ok()?),
        (Some(seconds), Form::OpenMetrics) => Some(milliseconds(seconds.parse().ok()?)?),
    };
    let is_valid = is_name(name) && is_number(value) && words.next().is_none();
    is_valid.then(|| Sample {
        name: name.to_owned(),
        labels: labels.to_owned(),
        value: value.to_owned(),
        timestamp_ms,
    })
}

fn is_number(value: &str) -> bool {
    // Rust reads `infinity` and `nan` in any case, as Go does; neither format has digit separators.
    value.parse::<f64>().is_ok()
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn milliseconds(seconds: f64) -> Option<i64> {
    let ms = (seconds * 1000.0).round();
    (ms.abs() < 9.0e15).then_some(ms as i64)
}

/// The index of the brace that closes a valid label set.
fn labels_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut names = HashSet::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if *bytes.get(at)? == b'}' {
            return Some(at);
        }
        let equals = at + text[at..].find('=')?;
        let name = text[at..equals].trim();
        if !is_name(name) || name.contains(':') || !names.insert(name) {
            return None;
        }
        at = equals + 1;
        at += text[at..].len() - text[at..].trim_start().len();
        at = string_end(bytes, at)?;
        at += text[at..].len() - text[at..].trim_start().len();
        match *bytes.get(at)? {
            b',' => at += 1,
            b'}' => return Some(at),
            _ => return None,
        }
    }
}

/// The index behind the quoted string that starts at `at`.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let mut at = at + 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if !matches!(bytes.get(at + 1)?, b'\\' | b'"' | b'n') => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn unescaped_help(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(escaped @ ('\\' | '"'))) => out.push(escaped),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    out
}

fn escaped_help(help: &str, form: Form) -> String {
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    match form {
        Form::Text => help,
        Form::OpenMetrics => help.replace('"', "\\\""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(input: &str) -> String {
        Exposition::parse(input, Form::Text).print(Form::Text)
    }

    #[test]
    fn scattered_samples_of_one_family_come_together() {
        let input = "a_total 1\n# TYPE b gauge\nb 2\n# TYPE a_total counter\na_total{x=\"y\"} 3\n";
        assert_eq!(
            text(input),
            "# TYPE a_total untyped\na_total 1\na_total{x=\"y\"} 3\n# TYPE b gauge\nb 2\n"
        );
    }

    #[test]
    fn a_bad_line_costs_only_itself() {
        let bad = [
            "a{x=\"1\" 1",
            "a{x=1} 1",
            "a{x=\"\\q\"} 1",
            "1a 1",
            "a",
            "a one",
            "a 1 2 3",
            "a{x=\"1\",x=\"2\"} 1",
            "a{\"x\"=\"1\"} 1",
            "{\"a.b\"} 1",
            "a 1 x",
            "a{é=\"1\"} 1",
            "a{x=\"é",
            "a{x",
        ];
        let read = Exposition::parse(&format!("{}\nok 1\n", bad.join("\n")), Form::Text);
        assert_eq!(read.invalid, bad.len());
        assert_eq!(read.print(Form::Text), "# TYPE ok untyped\nok 1\n");
    }

    #[test]
    fn counters_keep_their_meaning_between_the_forms() {
        let open = "# HELP jobs Jobs \\\"done\\\"\\n\n# TYPE jobs counter\n\
                    jobs_total{a=\"b\"} 1 12.5 # {trace_id=\"x\"} 1\njobs_created{a=\"b\"} 5\n# EOF\n";
        let read = Exposition::parse(open, Form::OpenMetrics);
        assert_eq!(
            read.print(Form::Text),
            "# HELP jobs_total Jobs \"done\"\\n\n# TYPE jobs_total counter\njobs_total{a=\"b\"} 1 12500\n"
        );
        assert_eq!(
            read.print(Form::OpenMetrics),
            "# HELP jobs Jobs \\\"done\\\"\\n\n# TYPE jobs counter\njobs_total{a=\"b\"} 1 12.500\n# EOF\n"
        );
    }

    #[test]
    fn a_counter_without_total_is_unknown_to_openmetrics() {
        let read = Exposition::parse("# TYPE hits counter\nhits 1\n", Form::Text);
        assert_eq!(read.print(Form::OpenMetrics), "# TYPE hits unknown\nhits 1\n# EOF\n");
        let both = "# TYPE a gauge\na 1\n# TYPE a_total counter\na_total 2\n";
        assert_eq!(
            Exposition::parse(both, Form::Text).print(Form::OpenMetrics),
            "# TYPE a gauge\na 1\n# TYPE a_total unknown\na_total 2\n# EOF\n"
        );
    }

    #[test]
    fn a_series_comes_once() {
        assert_eq!(text("a{x=\"1\"} 1\na{x=\"1\"} 2\n"), "# TYPE a untyped\na{x=\"1\"} 1\n");
    }

    #[test]
    fn past_the_limit_whole_histograms_go_and_the_rest_is_counted() {
        let mut input = String::from("# TYPE h histogram\n");
        for bound in ["1", "2", "+Inf"] {
            input.push_str(&format!("h_bucket{{le=\"{bound}\"}} 1\n"));
        }
        input.push_str("h_sum 1\nh_count 1\n# TYPE g gauge\n");
        for index in 0..10 {
            input.push_str(&format!("g{{i=\"{index}\"}} 1\n"));
        }
        let read = Exposition::parse(&input, Form::Text);
        let (kept, left_out) = read.clone().without_ours(4);
        assert_eq!((kept.series(), left_out), (4, 11));
        assert!(!kept.print(Form::Text).contains("h_"));
        let (kept, left_out) = read.without_ours(7);
        assert_eq!((kept.series(), left_out), (7, 8));
    }

    #[test]
    fn every_name_of_ours_wins() {
        for name in our_names() {
            let read = Exposition::parse(&format!("{name} 1\n"), Form::Text);
            assert_eq!(read.without_ours(10), (Exposition::default(), 1), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_printed_stably(input in r#"(# TYPE (a|a_total|b) (counter|gauge|histogram|summary|x)\n|# HELP (a|b) .{0,9}\n|(a|a_total|a_bucket|b_sum|b)(\{(x="[^"\\]{0,3}",?){0,2}\})? (1|NaN|x)( 5)?\n|.{0,12}\n){0,12}"#) {
            for form in [Form::Text, Form::OpenMetrics] {
                let once = Exposition::parse(&input, Form::Text).print(form);
                let read = Exposition::parse(&once, form);
                prop_assert_eq!(read.invalid, 0, "{}", once);
                prop_assert_eq!(read.print(form), once);
            }
        }
    }
}
