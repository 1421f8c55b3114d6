//! The function that blocks is marked, as hotpath documents it, and its report is read as its own terminal does: over
//! its HTTP endpoint, each 500 ms.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use hotpath::json::{JsonFunctionTimingLogsList, JsonFunctionsList};
use hotpath::{Format, HotpathGuardBuilder};
use tokio::runtime::{Builder, Runtime};
use workload::{Outcome, Peer, Place, Reports};

const FREQUENCY: Duration = Duration::from_millis(500);

struct Hotpath;

// user
#[hotpath::measure]
// end
fn load_user(spins: bool, length: Duration) {
    workload::load_user(spins, length);
}

impl Peer for Hotpath {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Hotpath)> {
        // user
        let guard = HotpathGuardBuilder::new("main")
            .format(Format::None)
            .build();
        let runtime = builder.build()?;
        // end
        // It measures until it is dropped, and would print then.
        std::mem::forget(guard);
        Ok((runtime, Hotpath))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // user
        hotpath::tokio_runtime!();
        // end
        // Nobody watches in the long run, so what it costs is measured without.
        if matches!(
            std::env::args().nth(1).as_deref(),
            Some("stalls" | "healthy")
        ) {
            thread::Builder::new().spawn(move || watch(&reports))?;
        }
        Ok(())
    }

    fn load_user(spins: bool, length: Duration) {
        load_user(spins, length);
    }
}

/// Reports each long call of a marked function, as they come.
fn watch(reports: &Reports) {
    let mut seen = 0;
    loop {
        if let Err(error) = look(&mut seen, reports) {
            eprintln!("{error}");
        }
        thread::sleep(FREQUENCY);
    }
}

fn look(seen: &mut u64, reports: &Reports) -> Outcome<()> {
    let functions: JsonFunctionsList = serde_json::from_str(&get("/functions_timing")?)?;
    for function in functions.data {
        let path = format!("/functions_timing/{}/logs", function.id);
        let calls: JsonFunctionTimingLogsList = serde_json::from_str(&get(&path)?)?;
        let place = calls
            .location
            .map_or(String::new(), |at| format!("{}:{}", at.file, at.line));
        for call in calls.logs {
            let millis = call
                .duration
                .strip_suffix(" ms")
                .and_then(|number| number.parse().ok());
            let is_long = millis.is_some_and(|millis: f64| millis >= 100.0);
            if is_long && call.invocation > *seen {
                *seen = call.invocation;
                let thread = call.thread_id.and_then(|thread| thread.try_into().ok());
                let text = format_args!("{} took {} {place}", calls.function_name, call.duration);
                reports.tell(thread.map_or(Place::Unknown, Place::Thread), text);
            }
        }
    }
    Ok(())
}

fn get(path: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect("127.0.0.1:6770")?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    Ok(body.to_owned())
}

fn main() -> Outcome<()> {
    workload::run::<Hotpath>()
}
