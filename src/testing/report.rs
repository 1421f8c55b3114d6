//! What was found, as JSON lines in a file that all tests of a suite append to. What a line says of a culprit is
//! found in `findings.rs`.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::thread;

use super::findings::Culprit;

/// The environment variable that names the file.
const VARIABLE: &str = "LOOPMON_STALLS";

/// Returns the file, if one is named.
pub(super) fn file() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty())
}

/// Appends a line for each culprit, all of them at once, as other tests write there as well.
pub(super) fn append(path: &Path, culprits: &[Culprit], threshold: f64) -> io::Result<()> {
    let test = thread::current().name().map(str::to_owned);
    let lines: String = culprits
        .iter()
        .map(|culprit| line(culprit, threshold, test.as_deref()) + "\n")
        .collect();
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(lines.as_bytes())
}

fn line(culprit: &Culprit, threshold: f64, test: Option<&str>) -> String {
    let trace = culprit.trace.as_ref().map(ToString::to_string);
    let mut line = Object::new();
    line.text("test", test);
    line.text("culprit", Some(&culprit.name));
    line.number("times", culprit.times as f64);
    line.number("seconds", culprit.total.as_secs_f64());
    line.number("longest", culprit.longest.as_secs_f64());
    line.number("threshold", threshold);
    line.text("cause", Some(&culprit.causes()));
    line.text("place", Some(&culprit.places()));
    line.text("trace", trace.as_deref());
    line.0 + "}"
}

/// The beginning of a JSON object.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object("{".to_owned())
    }

    fn key(&mut self, key: &str) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        self.add(format_args!("{comma}\"{key}\":"));
    }

    fn number(&mut self, key: &str, value: f64) {
        self.key(key);
        self.add(format_args!("{value}"));
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        self.key(key);
        let Some(value) = value else {
            return self.0.push_str("null");
        };
        self.0.push('"');
        for character in value.chars() {
            match character {
                '"' | '\\' => self.0.extend(['\\', character]),
                '\n' => self.0.push_str("\\n"),
                control if control < ' ' => self.add(format_args!("\\u{:04x}", control as u32)),
                other => self.0.push(other),
            }
        }
        self.0.push('"');
    }

    fn add(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.0.write_fmt(text).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_is_json() {
        let mut culprit = Culprit::new("shop::load at src/\"odd\\name\".rs:1".to_owned());
        culprit.times = 3;
        culprit.total = Duration::from_millis(600);
        culprit.longest = Duration::from_millis(250);
        culprit.add_words("blocked in futex", "worker 1\n\t\u{1}é");
        let line: serde_json::Value = serde_json::from_str(&line(&culprit, 0.05, None)).unwrap();
        assert_eq!(
            line,
            serde_json::json!({
                "test": null,
                "culprit": "shop::load at src/\"odd\\name\".rs:1",
                "times": 3,
                "seconds": 0.6,
                "longest": 0.25,
                "threshold": 0.05,
                "cause": "blocked in futex",
                "place": "worker 1\n\t\u{1}é",
                "trace": null,
            })
        );
    }
}
