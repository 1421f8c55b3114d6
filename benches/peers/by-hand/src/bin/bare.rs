//! Nothing: what all others are compared with.

use tokio::runtime::{Builder, Runtime};
use workload::{Outcome, Peer, Reports};

struct Bare;

impl Peer for Bare {
    fn start(mut builder: Builder, _reports: Reports) -> Outcome<(Runtime, Bare)> {
        Ok((builder.build()?, Bare))
    }
}

fn main() -> Outcome<()> {
    workload::run::<Bare>()
}
