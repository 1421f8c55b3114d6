//! Draws what the page shows as an SVG of its own, for a report or a readme. Pure: it has attributes alone, as the
//! policy of the page allows no styles.

use std::fmt::Write;
use std::time::{Duration, Instant};

use chrono::DateTime;

use super::history::{BANDS, Column, step};
use super::page::{Page, Runtime};
use super::stall_log::Entry;
use crate::clock;
use crate::stall::Cause;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 16.0;
const ROW: f64 = 5.0;
const LANE: f64 = 16.0;

/// How many runtimes, and lanes of each, are drawn.
const MOST_RUNTIMES: usize = 4;
const MOST_LANES: usize = 8;

/// The first band that is drawn as late: from 100 ms on.
const LATE: usize = 13;

/// The colours of samples: few and many, in time and late.
const CALM: [&str; 3] = ["#a9cbe8", "#5c9bcf", "#206cb2"];
const LATE_COLOUR: &str = "#c41c24";

/// The time that is drawn, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    fn x(self, at: f64) -> f64 {
        let share = (at - self.from as f64) / (self.to - self.from).max(1) as f64;
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn has(self, began: f64, ended: f64) -> bool {
        ended > self.from as f64 && began < self.to as f64
    }
}

pub(super) fn picture(page: &Page, length: Duration) -> String {
    let (now, to) = (clock::now(), clock::utc_now().timestamp_millis());
    let millis = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    let span = Span {
        from: to.saturating_sub(millis),
        to,
    };
    let (mut drawn, mut y) = (String::new(), 12.0);
    for runtime in page.runtimes.iter().take(MOST_RUNTIMES) {
        y = draw_runtime(&mut drawn, runtime, length, span, y, now);
    }
    draw_legend(&mut drawn, y);
    y += 22.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" \
         font-size=\"11\" role=\"img\"><title>Lag and stalls over time</title>\
         <rect width=\"{WIDTH}\" height=\"{y}\" rx=\"6\" fill=\"#f6f7f9\"/>{drawn}</svg>\n"
    )
}

/// Returns where the next one begins.
fn draw_runtime(
    drawn: &mut String,
    runtime: &Runtime,
    length: Duration,
    span: Span,
    top: f64,
    now: Instant,
) -> f64 {
    let (columns, stalls): (Vec<_>, Vec<_>) = runtime.past.with(|past| {
        let columns = past.history.range(length).columns.iter();
        let stalls = past.stalls.iter();
        (columns.cloned().collect(), stalls.cloned().collect())
    });
    text(drawn, 14.0, top + 14.0, "start", "#17202b", &runtime.name);
    draw_map(drawn, &columns, step(length), span, top);
    let bottom = top + ROW * (BANDS.len() + 1) as f64;
    let lanes = draw_lanes(drawn, &stalls, span, bottom + 6.0, now);
    for (at, anchor) in [(span.from, "start"), (span.to, "end")] {
        let time = DateTime::from_timestamp_millis(at).unwrap_or_default();
        let time = time.format("%H:%M:%S").to_string();
        text(
            drawn,
            span.x(at as f64),
            lanes + 12.0,
            anchor,
            "#4f5b6a",
            &time,
        );
    }
    lanes + 26.0
}

fn draw_map(drawn: &mut String, columns: &[Column], step: i64, span: Span, top: f64) {
    let rows = BANDS.len() + 1;
    let (height, width) = (ROW * rows as f64, WIDTH - LEFT - RIGHT);
    rect(drawn, (LEFT, top, width, height), "#e4e8ed");
    for (label, band) in [
        ("10 s", 21),
        ("1 s", 17),
        ("100 ms", 13),
        ("10 ms", 9),
        ("1 ms", 5),
        ("100 µs", 1),
    ] {
        let y = top + ROW * (rows - band) as f64 + 4.0;
        text(drawn, LEFT - 6.0, y, "end", "#4f5b6a", label);
    }
    let mut cells: [String; 4] = Default::default();
    for column in columns {
        let ended = (column.at + step) as f64;
        for (band, count) in column.bands() {
            // A late sample has been late for so long.
            let late = if band >= LATE {
                BANDS[band - 1] as f64 / 1_000.0
            } else {
                0.0
            };
            let began = (column.at as f64).min(ended - late);
            if !span.has(began, ended) {
                continue;
            }
            let (left, y) = (span.x(began), top + ROW * (rows - 1 - band) as f64);
            let width = (span.x(ended) - left).max(1.5);
            let colour = match count {
                _ if band >= LATE => 3,
                0..=2 => 0,
                3..=9 => 1,
                _ => 2,
            };
            write!(cells[colour], "M{left:.1} {y}h{width:.1}v4.5h-{width:.1}z").ok();
        }
    }
    let colours = CALM.into_iter().chain([LATE_COLOUR]);
    for (cells, colour) in cells
        .iter()
        .zip(colours)
        .filter(|(cells, _)| !cells.is_empty())
    {
        write!(drawn, "<path fill=\"{colour}\" d=\"{cells}\"/>").ok();
    }
}

/// Returns where the lanes end.
fn draw_lanes(drawn: &mut String, stalls: &[Entry], span: Span, top: f64, now: Instant) -> f64 {
    let ends = |stall: &Entry| stall.began_at as f64 + stall.lasted(now).as_secs_f64() * 1e3;
    let shown = stalls
        .iter()
        .filter(|stall| span.has(stall.began_at as f64, ends(stall)));
    let mut lanes: Vec<(String, Vec<&Entry>)> = Vec::new();
    for stall in shown {
        let place = stall.place.to_string();
        match lanes.iter_mut().find(|(other, _)| *other == place) {
            Some((_, stalls)) => stalls.push(stall),
            None => lanes.push((place, vec![stall])),
        }
    }
    lanes.sort_by(|(one, _), (other, _)| one.cmp(other));
    lanes.truncate(MOST_LANES);
    let mut y = top;
    for (place, stalls) in &lanes {
        let short: String = place.chars().take(20).collect();
        text(drawn, LEFT - 6.0, y + 10.0, "end", "#17202b", &short);
        rect(
            drawn,
            (LEFT, y, WIDTH - LEFT - RIGHT, LANE - 4.0),
            "#e4e8ed",
        );
        for stall in stalls.iter().take(100) {
            let left = span.x(stall.began_at as f64);
            let width = (span.x(ends(stall)) - left).max(1.5);
            let colour = colour(stall.cause.label());
            let culprit = stall.culprit.as_deref().unwrap_or("nobody known");
            let about = format!(
                "{:.3} s: {}, in {culprit}",
                stall.lasted(now).as_secs_f64(),
                stall.cause
            );
            let (y, height, about) = (y + 1.0, LANE - 6.0, escaped(&about));
            write!(
                drawn,
                "<rect x=\"{left:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" rx=\"1.5\" \
                 fill=\"{colour}\"><title>{about}</title></rect>"
            )
            .ok();
        }
        y += LANE;
    }
    y
}

fn draw_legend(drawn: &mut String, y: f64) {
    let mut x = LEFT;
    for cause in Cause::LABELS {
        rect(drawn, (x, y, 14.0, 10.0), colour(cause));
        let words = cause.replace('_', " ");
        text(drawn, x + 19.0, y + 9.0, "start", "#4f5b6a", &words);
        x += 40.0 + 6.5 * words.len() as f64;
    }
}

/// Those of the page's light theme.
fn colour(cause: &str) -> &'static str {
    match cause {
        "blocked" => "#b3141f",
        "on_cpu" => "#b35900",
        "many_polls" => "#6b3fa0",
        "unattended" => "#00696b",
        "starved" => "#2458b8",
        _ => "#5a6470",
    }
}

fn rect(drawn: &mut String, (x, y, width, height): (f64, f64, f64, f64), colour: &str) {
    write!(
        drawn,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\"/>"
    )
    .ok();
}

fn text(drawn: &mut String, x: f64, y: f64, anchor: &str, colour: &str, text: &str) {
    let text = escaped(text);
    write!(
        drawn,
        "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
    )
    .ok();
}

/// Control characters are not allowed in XML, not even escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests {
    use super::*;
    use crate::monitor::Monitor;
    use crate::sample::Sample;
    use crate::stall::{Phase, Place, Stall};

    #[test]
    fn draws_what_there_is_and_escapes_names() {
        let monitor = Monitor::builder().name("<a & \"b\"\u{1b}").build().unwrap();
        let page = Page::new(vec![monitor], Vec::new(), Duration::ZERO);
        let now = clock::utc_now();
        page.runtimes[0].past.with(|past| {
            past.history
                .sample(&Sample::new(Duration::from_secs(2), 1, now));
            let mut stall = Stall::of(3, Phase::Ended);
            stall.began_at = now - Duration::from_secs(2);
            stall.duration = Duration::from_secs(1);
            past.stalls.report(&stall, clock::now());
            stall = Stall {
                place: Place::Future("</svg>".into()),
                ..stall
            };
            stall.id = crate::stall::StallId::next();
            past.stalls.report(&stall, clock::now());
        });
        let svg = picture(&page, Duration::from_secs(60));
        assert!(
            svg.contains(">&lt;a &amp; &quot;b&quot;\u{fffd}</text>"),
            "{svg}"
        );
        assert!(svg.contains(">worker 3</text>") && svg.contains("future &lt;/svg&gt;"));
        assert!(svg.contains(&format!("<path fill=\"{LATE_COLOUR}\"")));
        assert_eq!(svg.matches("<title>1.000 s: running on the CPU").count(), 2);
        assert_eq!(svg.matches("</svg>").count(), 1);
    }

    #[test]
    fn is_small_whatever_it_draws() {
        let monitors = (0..64).map(|_| Monitor::builder().build().unwrap());
        let page = Page::new(monitors.collect(), Vec::new(), Duration::ZERO);
        let now = clock::utc_now();
        for runtime in &page.runtimes {
            runtime.past.with(|past| {
                for at in 0..10_000_u64 {
                    let lag = Duration::from_micros(100 << (at % 17));
                    let at = now - Duration::from_millis(60_000 - at * 6);
                    past.history.sample(&Sample::new(lag, 1, at));
                }
            });
        }
        let svg = picture(&page, Duration::from_secs(60));
        assert!(svg.len() < 1 << 20, "{}", svg.len());
    }
}
