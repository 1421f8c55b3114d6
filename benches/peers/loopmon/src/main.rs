//! Loopmon with its default settings: samples and looks for stalls, both at 100 ms. What blocks is in a crate outside of
//! this workspace, so loopmon has to be told that it is the user's own.

use loopmon::{Cause, Monitor, Phase, StackCapture, Stall};
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
    fn build(mut builder: Builder) -> Outcome<(Runtime, Loopmon)> {
        Ok((builder.build()?, Loopmon))
    }

    fn start(&self, reports: Reports) -> Outcome<()> {
        // user
        let report = move |stall: Stall| {
            tell(&stall, &reports);
            async {}
        };
        Monitor::builder()
            .stall_callback(report)
            .stack_capture(StackCapture::new().own(["workload::"]))
            .install()?;
        // end
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Loopmon>()
}
