//! A client of the console without a screen. It ends with the connection.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::{Duration, SystemTime};

use console_api::field::Value;
use console_api::instrument::instrument_client::InstrumentClient;
use console_api::instrument::{InstrumentRequest, Update};
use console_api::tasks::{Stats, Task};
use tokio::runtime::Builder;
use tokio_stream::StreamExt;
use workload::{Outcome, THRESHOLD};

/// What it knows of the tasks.
#[derive(Default)]
struct Tasks {
    /// Where each was spawned.
    places: HashMap<u64, String>,
    stats: HashMap<u64, Stats>,
    /// Busy for how long, when last looked at.
    busy: HashMap<u64, Duration>,
    told: HashSet<(u64, SystemTime)>,
}

pub(crate) fn run(port: u16) -> Outcome<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = format!("http://127.0.0.1:{port}");
        let mut client = loop {
            match InstrumentClient::connect(address.clone()).await {
                Ok(client) => break client,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        let mut updates = client
            .watch_updates(InstrumentRequest {})
            .await?
            .into_inner();
        let mut tasks = Tasks::default();
        let first = updates.next().await.ok_or("it tells nothing")??;
        println!("connected");
        tasks.update(first);
        while let Some(Ok(update)) = updates.next().await {
            tasks.update(update);
        }
        Ok(())
    })
}

impl Tasks {
    fn update(&mut self, update: Update) {
        let Some(now) = update.now.and_then(|now| SystemTime::try_from(now).ok()) else {
            return;
        };
        let Some(update) = update.task_update else {
            return;
        };
        // Others are threads of Tokio's, and what drives the runtime, which may take long.
        for task in update.new_tasks.into_iter().filter(is_spawned) {
            if let (Some(id), Some(place)) = (task.id, task.location) {
                let place = format!("{}:{}", place.file(), place.line());
                self.places.insert(id.id, place);
            }
        }
        self.stats.extend(update.stats_update);
        for (id, stats) in &self.stats {
            let Some(polls) = &stats.poll_stats else {
                continue;
            };
            let time = |stamp: Option<_>| stamp.and_then(|stamp| SystemTime::try_from(stamp).ok());
            let (started, ended) = (time(polls.last_poll_started), time(polls.last_poll_ended));
            let busy = polls
                .busy_time
                .and_then(|busy| Duration::try_from(busy).ok());
            let (Some(started), Some(busy)) = (started, busy) else {
                continue;
            };
            // Either still in the poll, or the time of the poll came all at once.
            let before = self.busy.insert(*id, busy).unwrap_or(busy);
            let in_poll = now.duration_since(started).unwrap_or_default();
            let is_long = match ended.is_none_or(|ended| ended < started) {
                true => in_poll >= THRESHOLD,
                false => busy.saturating_sub(before) >= THRESHOLD,
            };
            let Some(place) = self.places.get(id) else {
                continue;
            };
            if is_long && self.told.insert((*id, started)) {
                println!("a task spawned at {place} is busy");
            }
        }
    }
}

/// As `tokio-console` tells them apart.
fn is_spawned(task: &Task) -> bool {
    task.fields.iter().all(|field| match &field.value {
        Some(Value::StrVal(kind) | Value::DebugVal(kind)) => {
            kind != "blocking" && kind != "block_on"
        }
        _ => true,
    })
}
