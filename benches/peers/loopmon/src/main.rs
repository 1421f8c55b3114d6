//! Loopmon with its default settings: samples and looks for stalls, both at 100 ms.

use loopmon::{Cause, Monitor, Phase, Stall};
use tokio::runtime::{Builder, Runtime};
use workload::{Outcome, Peer, Place, Reports};

struct Loopmon;

fn tell(stall: &Stall, reports: &Reports) {
    let place = stall.worker().map_or(Place::Unknown, Place::Worker);
    match (stall.phase, stall.cause) {
        (Phase::Started, Cause::Starved) => reports.excuse(place, stall),
        (Phase::Started, _) => reports.tell(place, stall),
        _ => {}
    }
}

impl Peer for Loopmon {
    fn start(mut builder: Builder, reports: Reports) -> Outcome<(Runtime, Loopmon)> {
        let runtime = builder.build()?;
        // user
        let report = move |stall: Stall| {
            tell(&stall, &reports);
            async {}
        };
        Monitor::builder()
            .stall_callback(report)
            .install_on(runtime.handle())?;
        // end
        Ok((runtime, Loopmon))
    }
}

fn main() -> Outcome<()> {
    workload::run::<Loopmon>()
}
