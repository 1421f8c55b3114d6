//! Sends the samples to an actor, which counts them.
//!
//! Samples are taken every 0.1 s for about a second, half of which is a block. Prints a line when the
//! actor gets the sample that came late, and one when the stream has ended:
//!
//! ```text
//! late: event loop lag: 0.500, running tasks: 2, at 2026-11-22 15:29:40.766393+00:00
//! 4 samples, 1 late
//! ```
//!
//! The actor framework is kameo: it is maintained, MIT or Apache-2.0, adds the fewest crates, and accepts
//! a stream directly. With ractor a task would have to read the stream; actix is in maintenance only.

use std::convert::Infallible;
use std::error::Error;
use std::thread;
use std::time::Duration;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::message::{Context, Message, StreamMessage};
use loopmon::Sample;
use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Account {
    samples: u64,
    late: u64,
}

impl Actor for Account {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(account: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(account)
    }
}

impl Message<StreamMessage<Sample, (), ()>> for Account {
    type Reply = ();

    async fn handle(&mut self, message: StreamMessage<Sample, (), ()>, _: &mut Context<Self, ()>) {
        match message {
            StreamMessage::Started(()) => {}
            StreamMessage::Next(sample) => {
                self.samples += 1 + sample.missed;
                if sample.lag > LIMIT {
                    self.late += 1;
                    println!("late: {sample}");
                }
            }
            StreamMessage::Finished(()) => println!("{} samples, {} late", self.samples, self.late),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let monitor = loopmon::create(INTERVAL, ())?;
    let account = Account::spawn(Account::default());
    let feeding = account.attach_stream(monitor.subscribe(), (), ());

    sleep(2 * INTERVAL - Duration::from_millis(1)).await;
    thread::sleep(5 * INTERVAL);
    sleep(2 * INTERVAL + INTERVAL / 2).await;

    monitor.stop();
    drop(feeding.await??);
    account.stop_gracefully().await?;
    account.wait_for_shutdown().await;
    Ok(())
}
