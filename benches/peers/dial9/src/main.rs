//! Dial9 as its production example has it: all tasks tracked, a CPU profile, scheduler events, files on disk. It tells
//! nothing by itself, so this reads its trace when the program ends: long polls, and the stacks sampled during each.

mod trace;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use dial9::cpu::{CpuProfilingConfig, SchedEventConfig};
use dial9::{Dial9HandleTokioExt, DiskBuffer, Recorder, RecorderPerfExt, TokioAttachOptions};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use workload::{Outcome, Peer, Reports};

struct Dial9 {
    recorder: Mutex<Option<Recorder>>,
    folder: PathBuf,
}

impl Peer for Dial9 {
    fn build(builder: Builder) -> Outcome<(Runtime, Dial9)> {
        let folder = std::env::temp_dir().join(format!("peer-dial9-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        // user
        let writer = DiskBuffer::builder()
            .base_path(&folder)
            .max_file_size(16 * 1024 * 1024)
            .max_total_size(64 * 1024 * 1024)
            .build()?;
        let recorder = dial9::recorder(writer)
            .with_cpu_profiling(CpuProfilingConfig::default())
            .with_sched_events(SchedEventConfig::default())
            .build();
        let options = TokioAttachOptions::builder()
            .task_tracking_enabled(true)
            .build();
        let runtime = recorder.handle().attach_tokio_runtime(builder, options)?;
        // end
        let recorder = Mutex::new(Some(recorder));
        Ok((runtime, Dial9 { recorder, folder }))
    }

    #[track_caller]
    fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if tokio::runtime::worker_index().is_none() {
            return dial9::spawn_in(&Handle::current(), task);
        }
        // user
        dial9::spawn(task)
        // end
    }

    fn finish(&self, runtime: Runtime, reports: &Reports) -> Outcome<()> {
        drop(runtime);
        let recorder = self.recorder.lock().map_err(|_| "it only waits")?.take();
        recorder
            .ok_or("it finishes once")?
            .graceful_shutdown(Duration::from_secs(30));
        trace::tell(&self.folder, reports)?;
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

fn main() -> Outcome<()> {
    workload::run::<Dial9>()
}
