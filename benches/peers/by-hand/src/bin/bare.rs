//! Nothing: what all others are compared with.

use tokio::runtime::{Builder, Runtime};
use workload::{Outcome, Peer};

struct Bare;

impl Peer for Bare {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Bare)> {
        Ok((builder.build()?, Bare))
    }
}

fn main() -> Outcome<()> {
    workload::run::<Bare>()
}
