//! Reads a trace.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dial9::analysis::TraceReader;
use dial9::analysis::analysis_events::{CpuSampleEvent, CustomEvent, Dial9Event, PollStartEvent};
use dial9::format::types::FieldValue;
use workload::{Outcome, Place, Reports, THRESHOLD};

/// What the events of a trace say together.
#[derive(Default)]
struct Trace {
    /// Polls that lasted, and until when.
    long: Vec<(PollStartEvent, u64)>,
    samples: Vec<CpuSampleEvent>,
    /// Functions at addresses, inlined ones too, with file and line.
    symbols: HashMap<u64, Vec<String>>,
    /// Which thread a worker last parked on.
    threads: HashMap<u64, u32>,
}

pub(crate) fn tell(folder: &Path, reports: &Reports) -> Outcome<()> {
    let mut trace = Trace::default();
    for file in files(folder)? {
        trace.read(&file)?;
    }
    // Both are Linux's monotonic clock.
    let (now, now_ns) = (Instant::now(), dial9::core::clock_monotonic_ns());
    for (poll, ended_at) in &trace.long {
        let began = now - Duration::from_nanos(now_ns.saturating_sub(poll.timestamp_ns));
        let mut text = format!("a poll of the task spawned at {}", poll.spawn_loc);
        let thread = trace.threads.get(&poll.worker_id.0).copied();
        let during = poll.timestamp_ns..=*ended_at;
        for sample in &trace.samples {
            if during.contains(&sample.timestamp_ns) && Some(sample.tid) == thread {
                let frames = sample.callchain.iter();
                for frames in frames.filter_map(|at| trace.symbols.get(at)) {
                    text = format!("{text}\n{}", frames.join("\n"));
                }
            }
        }
        reports.tell_of(began, thread.map_or(Place::Unknown, Place::Thread), text);
    }
    Ok(())
}

/// The segments, in order.
fn files(folder: &Path) -> Outcome<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.to_string_lossy().contains(".bin") {
            files.push(path.to_string_lossy().into_owned());
        }
    }
    files.sort();
    Ok(files)
}

impl Trace {
    fn read(&mut self, file: &str) -> Outcome<()> {
        let mut events = TraceReader::new(file)?.all_events;
        events.sort_by_key(|event| match event {
            Dial9Event::PollStartEvent(event) => event.timestamp_ns,
            Dial9Event::PollEndEvent(event) => event.timestamp_ns,
            _ => 0,
        });
        let mut polls = HashMap::new();
        for event in events {
            match event {
                Dial9Event::PollStartEvent(event) => {
                    polls.insert(event.worker_id, event);
                }
                Dial9Event::PollEndEvent(event) => {
                    if let Some(start) = polls.remove(&event.worker_id) {
                        let lasted = event.timestamp_ns.saturating_sub(start.timestamp_ns);
                        if Duration::from_nanos(lasted) >= THRESHOLD {
                            self.long.push((start, event.timestamp_ns));
                        }
                    }
                }
                Dial9Event::WorkerParkEvent(event) => {
                    self.threads.insert(event.worker_id.0, event.tid);
                }
                Dial9Event::CpuSampleEvent(event) => self.samples.push(event),
                Dial9Event::Custom(event) if event.name == "SymbolTableEntry" => {
                    let (at, frame) = symbol(&event);
                    self.symbols.entry(at).or_default().push(frame);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// An address, and the function that is there.
fn symbol(event: &CustomEvent) -> (u64, String) {
    let number = |name| match event.fields.get(name) {
        Some(FieldValue::Varint(number)) => *number,
        _ => 0,
    };
    let text = |name| match event.fields.get(name) {
        Some(FieldValue::String(text)) => text.as_str(),
        _ => "",
    };
    let (function, file, line) = (
        text("symbol_name"),
        text("source_file"),
        number("source_line"),
    );
    (number("addr"), format!("{function} at {file}:{line}"))
}
