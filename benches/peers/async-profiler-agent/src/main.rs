//! The agent with its hooks for long polls, which writes a profile to a folder each 30 s. It loads
//! `libasyncProfiler.so`, which comes apart from it: without that library this program says so, and ends.

use async_profiler_agent::pollcatch::{after_poll_hook, before_poll_hook};
use async_profiler_agent::profiler::ProfilerBuilder;
use tokio::runtime::{Builder, Runtime};
use workload::{Outcome, Peer, Reports};

struct Agent;

impl Peer for Agent {
    fn build(mut builder: Builder) -> Outcome<(Runtime, Agent)> {
        // user
        builder
            .on_before_task_poll(|_| before_poll_hook())
            .on_after_task_poll(|_| after_poll_hook());
        // end
        Ok((builder.build()?, Agent))
    }

    /// It reports to files for its own decoder, so `reports` hears nothing.
    fn start(&self, _reports: Reports) -> Outcome<()> {
        let folder = std::env::temp_dir().join("peer-async-profiler-agent");
        std::fs::create_dir_all(&folder)?;
        // user
        ProfilerBuilder::default()
            .with_local_reporter(folder)
            .build()
            .spawn()?;
        // end
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Agent>()
}
