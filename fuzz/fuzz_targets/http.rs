//! What a client may send to the page, in pieces of any size.
#![no_main]

use std::time::Duration;

use futures::future::join;
use libfuzzer_sys::fuzz_target;
use loopmon::Monitor;
use loopmon::fuzzing::serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// What the page says, and what the server does where it does not understand the client.
const STATUSES: [u16; 9] = [200, 400, 403, 404, 405, 414, 429, 431, 503];

/// The longest answer that is read. `/events` never ends.
const MOST: u64 = 1 << 20;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, sent) = input;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let received = runtime.block_on(ask(sent, usize::from(piece) + 1));
    check(sent, &received);
});

async fn ask(sent: &[u8], piece: usize) -> Vec<u8> {
    let monitor = Monitor::builder().name("a <b>").build().unwrap();
    let (client, server) = tokio::io::duplex(16 << 10);
    let (answers, mut requests) = tokio::io::split(client);
    let mut received = Vec::new();
    let client = async {
        let send = async {
            for piece in sent.chunks(piece) {
                if requests.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            requests.shutdown().await.ok();
        };
        let mut answers = answers.take(MOST);
        let receive = answers.read_to_end(&mut received);
        join(send, timeout(Duration::from_secs(70), receive))
            .await
            .1
            .ok();
    };
    let served = timeout(Duration::from_secs(200), serve(monitor, server));
    join(client, served).await.1.ok();
    received
}

/// Checks the first answer; how long it is depends on the request.
fn check(sent: &[u8], received: &[u8]) {
    if received.is_empty() {
        return;
    }
    let end = received.windows(4).position(|four| four == b"\r\n\r\n");
    let head = str::from_utf8(&received[..end.expect("a head")]).unwrap();
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .or(head.strip_prefix("HTTP/1.0 "));
    let status: u16 = status.unwrap()[..3].parse().unwrap();
    assert!(STATUSES.contains(&status), "{head}");
    let is_ours = head.contains("content-security-policy: default-src 'none'");
    assert!(is_ours || matches!(status, 400 | 414 | 431), "{head}");
    if matches!(status, 200 | 404) {
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(
            sent.to_ascii_lowercase()
                .windows(5)
                .any(|five| five == b"host:")
        );
    }
}
