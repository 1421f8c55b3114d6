//! The live page, as clients see it: of good will, of none, and with none of the manners.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use loopmon::Monitor;
use loopmon::dashboard::{Dashboard, Serving};
use serde_json::Value;

use crate::support::millis;

/// Longer than anything here takes, however slow the machine.
const FOR_EVER: Duration = Duration::from_secs(30);

fn serve(monitors: &[&Monitor]) -> Serving {
    let page = monitors
        .iter()
        .fold(Dashboard::new(), |page, monitor| page.monitor(monitor));
    page.bind(([127, 0, 0, 1], 0)).unwrap().start().unwrap()
}

fn connect(page: &Serving) -> TcpStream {
    let connection = TcpStream::connect(page.local_addr()).unwrap();
    connection.set_read_timeout(Some(FOR_EVER)).unwrap();
    connection
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Sends a request as it is, and reads until the end.
fn send(page: &Serving, request: &str) -> Answer {
    let mut connection = connect(page);
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn request(page: &Serving, line: &str, headers: &str) -> Answer {
    let address = page.local_addr();
    send(
        page,
        &format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"),
    )
}

fn get(page: &Serving, path: &str) -> Answer {
    request(page, &format!("GET {path}"), "")
}

fn json(page: &Serving, path: &str) -> Value {
    let answer = get(page, path);
    assert_eq!(answer.status, 200, "{path}");
    serde_json::from_str(&answer.body).unwrap()
}

/// Asks until the answer is as expected.
#[track_caller]
fn ask_until(page: &Serving, path: &str, expected: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let answer = json(page, path);
        if expected(&answer) {
            return answer;
        }
        assert!(began.elapsed() < FOR_EVER, "{answer:#}");
        thread::sleep(millis(20));
    }
}

#[test]
fn needs_an_address_of_this_machine_that_is_free() {
    assert!(Dashboard::new().start().unwrap_err().is_not_bound());
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:0.0.0.0]:0"] {
        let address: SocketAddr = address.parse().unwrap();
        let refused = Dashboard::new().bind(address).unwrap_err();
        assert!(refused.is_not_loopback(), "{address}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = Dashboard::new()
        .bind(taken.local_addr().unwrap())
        .unwrap_err();
    assert!(refused.is_address_in_use());
    assert!(std::error::Error::source(&refused).is_some());
    let elsewhere = Dashboard::new()
        .bind_beyond_loopback(([192, 0, 2, 1], 0))
        .unwrap_err();
    assert!(elsewhere.is_address_unavailable());
    let everywhere = Dashboard::new()
        .bind_beyond_loopback(([0, 0, 0, 0], 0))
        .unwrap();
    drop(everywhere.start().unwrap());
}

#[test]
fn serves_its_files_under_a_strict_policy() {
    let page = serve(&[]);
    let mut bytes = 0;
    for (path, kind) in [
        ("/", "text/html"),
        ("/style.css", "text/css"),
        ("/app.js", "text/javascript"),
        ("/parts.js", "text/javascript"),
        ("/heatmap.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = get(&page, path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.head.contains(&format!("content-type: {kind}")),
            "{path}"
        );
        assert!(
            answer
                .head
                .contains("content-security-policy: default-src 'none'")
        );
        assert!(answer.head.contains("x-content-type-options: nosniff"));
        for foreign in ["http://", "https://", "//cdn", "innerHTML", "eval("] {
            let own = answer.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!own.contains(foreign), "{path} has {foreign}");
        }
        bytes += answer.body.len();
    }
    assert!(bytes <= 100 * 1024, "{bytes}");
    let html = get(&page, "/").body;
    for inline in ["<script>", "style=", "onclick", "<style"] {
        assert!(!html.contains(inline), "{inline}");
    }
    assert_eq!(request(&page, "HEAD /", "").body, "");
    for missing in [
        "/nothing",
        "/../Cargo.toml",
        "/api/history?monitor=0",
        "/api/history?range=x",
        "/api/trace",
        "//",
    ] {
        assert_eq!(get(&page, missing).status, 404, "{missing}");
    }
    assert_eq!(get(&page, "/healthz").body, "ok\n");
}

#[test]
fn refuses_what_changes_something_and_what_another_page_asks() {
    let page = serve(&[]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "NONSENSE"] {
        let answer = request(&page, &format!("{method} /api/now"), "");
        assert_eq!(answer.status, 405, "{method}");
    }
    let body = "Content-Length: 5\r\n";
    assert_eq!(request(&page, "GET /", body).status, 400);
    for headers in [
        "Origin: http://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        assert_eq!(
            request(&page, "GET /api/now", headers).status,
            403,
            "{headers}"
        );
    }
    for request in [
        "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(send(&page, request).status, 403, "{request}");
    }
    let known = Dashboard::new()
        .host("pages.example")
        .bind(([127, 0, 0, 1], 0))
        .unwrap();
    let known = known.start().unwrap();
    let asks = "GET / HTTP/1.1\r\nHost: pages.example:80\r\nConnection: close\r\n\r\n";
    assert_eq!(send(&known, asks).status, 200);
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let page = serve(&[]);
    let mut connection = connect(&page);
    for _ in 0..3 {
        write!(
            connection,
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn frees_the_port_and_ends_the_thread() {
    let monitor = Monitor::builder().name("main").build().unwrap();
    for drops in [false, true] {
        let page = serve(&[&monitor]);
        let address = page.local_addr();
        let mut idle = connect(&page);
        if drops {
            drop(page);
        } else {
            page.stop();
            page.stop();
        }
        // Nobody else may have it meanwhile, for all one knows.
        let again = Dashboard::new().bind(address).unwrap().start().unwrap();
        assert_eq!(get(&again, "/healthz").status, 200);
        let mut rest = Vec::new();
        // Cut or closed.
        idle.read_to_end(&mut rest).ok();
        assert!(rest.is_empty());
    }
}

#[test]
fn names_are_text_wherever_they_land() {
    let name = "<script>alert(1)</script>\r\nX: y\u{1b}[31m";
    let monitors = [name, name, ""].map(|name| Monitor::builder().name(name).build().unwrap());
    let page = serve(&[&monitors[0], &monitors[1], &monitors[2]]);
    let now = json(&page, "/api/now");
    assert_eq!(now["monitors"][0]["name"], name);
    assert_eq!(now["monitors"][1]["name"], format!("{name} (2)"));
    for path in [
        "/api/now",
        "/api/culprits",
        "/healthz",
        "/api/folded?monitor=0",
    ] {
        let answer = get(&page, path);
        assert!(
            !answer.head.contains("x: y") && !answer.head.contains("text/html"),
            "{path}"
        );
        assert!(!answer.body.contains('\u{1b}'), "{path}");
    }
}

#[cfg(feature = "tower")]
#[test]
fn requests_are_counted_from_the_first_policy_on() {
    use loopmon::shed::{Policy, Priority};

    let monitor = Monitor::builder().build().unwrap();
    let page = serve(&[&monitor]);
    let requests = || json(&page, "/api/now")["monitors"][0]["requests"].clone();
    assert_eq!(requests(), Value::Null);
    let policy = Policy::new(&monitor);
    policy.admit(Priority::Normal).unwrap();
    let counted = requests();
    assert_eq!(counted["admitted"], 1);
    let refused = serde_json::json!({ "lag": 0, "overdue": 0, "stalled": 0 });
    assert_eq!(counted["refused"], refused);
}

/// The data of the events of a kind, as they come.
struct Events {
    connection: io::BufReader<TcpStream>,
}

impl Events {
    fn of(page: &Serving) -> Events {
        let mut connection = connect(page);
        let address = page.local_addr();
        write!(
            connection,
            "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n"
        )
        .unwrap();
        let connection = io::BufReader::new(connection);
        Events { connection }
    }

    fn next(&mut self, kind: &str) -> Option<Value> {
        let (event, mut is_of_kind) = (format!("event: {kind}"), false);
        loop {
            let mut line = String::new();
            if io::BufRead::read_line(&mut self.connection, &mut line).ok()? == 0 {
                return None;
            }
            if line.starts_with("event: ") {
                is_of_kind = line.trim() == event;
            } else if let Some(data) = line.strip_prefix("data: ").filter(|_| is_of_kind) {
                return serde_json::from_str(data).ok();
            }
        }
    }
}

#[test]
fn several_viewers_get_events_and_one_that_does_not_read_costs_only_itself() {
    let page = serve(&[]);
    let silent = Events::of(&page);
    let mut viewers: Vec<_> = (0..3).map(|_| Events::of(&page)).collect();
    for viewer in &mut viewers {
        for _ in 0..3 {
            assert!(viewer.next("now").unwrap()["instance"].is_string());
        }
    }
    drop(silent);
    let more: Vec<_> = (0..40).map(|_| Events::of(&page)).collect();
    assert!(viewers[0].next("now").is_some());
    assert_eq!(get(&page, "/healthz").status, 200);
    // 32 pages at the most: the others are refused, not hung.
    let refused = request(&page, "GET /events", "");
    assert_eq!(refused.status, 503);
    drop(more);
    drop(page);
    while viewers[0].next("now").is_some() {}
}

#[test]
fn garbage_slow_and_cut_requests_leave_it_answering() {
    let page = serve(&[]);
    let address = page.local_addr();
    let mut random = 1_u32;
    let mut byte = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    };
    let mut kept = Vec::new();
    for round in 0..1_000_usize {
        let Ok(mut connection) = TcpStream::connect(address) else {
            continue;
        };
        let request = format!("GET /api/now HTTP/1.1\r\nHost: {address}\r\nX: ");
        let garbage: Vec<u8> = match round % 5 {
            0 => (0..round % 300).map(|_| byte()).collect(),
            1 => request.as_bytes()[..round % request.len()].to_vec(),
            2 => [request.as_bytes(), &vec![b'x'; 64 * 1024]].concat(),
            3 => vec![b'\n'; round],
            _ => Vec::new(),
        };
        // It may be refused meanwhile.
        connection.write_all(&garbage).ok();
        if round % 2 == 0 {
            kept.push(connection);
        }
        if round % 100 == 0 {
            assert_eq!(get(&page, "/healthz").body, "ok\n");
        }
    }
    assert_eq!(get(&page, "/healthz").body, "ok\n");
    drop(kept);
}

#[test]
fn too_many_requests_are_told_so_but_not_those_for_health() {
    let page = serve(&[]);
    for _ in 0..1_000 {
        let status = get(&page, "/api/now").status;
        assert!(status == 200 || status == 429, "{status}");
    }
    assert_eq!(get(&page, "/healthz").status, 200);
}

#[test]
fn tells_a_stall_while_every_worker_is_stuck_and_keeps_it() {
    let monitor = Monitor::builder()
        .name("shop")
        .stall_threshold(millis(60))
        .build()
        .unwrap();
    let page = Dashboard::new()
        .monitor(&monitor)
        .unhealthy_after(millis(200));
    let page = page.bind(([127, 0, 0, 1], 0)).unwrap().start().unwrap();
    let mut events = Events::of(&page);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let runtime = thread::Builder::new()
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                monitor.install().unwrap();
                tokio::time::sleep(millis(200)).await;
                held.recv().ok();
                tokio::time::sleep(millis(200)).await;
            });
            monitor
        })
        .unwrap();
    let is_stuck = |now: &Value| now["monitors"][0]["stalls"][0].is_object();
    let first = ask_until(&page, "/api/now", is_stuck);
    let lasted = |now: &Value| {
        now["monitors"][0]["stalls"][0]["duration_ms"]
            .as_f64()
            .unwrap()
    };
    let later = ask_until(&page, "/api/now", |now| lasted(now) > 2.0 * lasted(&first));
    assert_eq!(
        later["monitors"][0]["stalls"][0]["id"],
        first["monitors"][0]["stalls"][0]["id"]
    );
    let unhealthy = |_: &Value| get(&page, "/healthz").status == 503;
    ask_until(&page, "/api/now", unhealthy);
    let reason = get(&page, "/healthz").body;
    assert!(reason.starts_with("shop: "), "{reason}");
    assert_eq!(events.next("stall").unwrap()["place"], "worker 0");
    release.send(()).unwrap();
    let ended = ask_until(&page, "/api/stalls", |stalls| {
        stalls["stalls"][0]["open"] == false
    });
    assert_eq!(ended["stalls"][0]["place"], "worker 0");
    let monitor = runtime.join().unwrap();
    assert_eq!(get(&page, "/healthz").status, 200);
    // What has been is kept, and a new run goes on.
    let history = json(&page, "/api/history?monitor=0&range=3600");
    let longest = history["monitors"][0]["columns"].as_array().unwrap().iter();
    let longest = longest
        .filter_map(|column| column["max_ms"].as_f64())
        .fold(0.0, f64::max);
    assert!(longest > 100.0, "{history}");
    let culprits = json(&page, "/api/culprits");
    assert!(culprits["monitors"][0]["all"]["total_ms"].as_f64() > Some(100.0));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        monitor.install().unwrap();
        tokio::time::sleep(millis(100)).await;
    });
    ask_until(&page, "/api/history?monitor=0&range=60", |now| {
        now["monitors"][0]["columns"].as_array().unwrap().len() > 1
    });
    assert_eq!(
        json(&page, "/api/stalls")["stalls"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
