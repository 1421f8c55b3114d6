//! Answers one request. Who may ask is decided in `origin.rs`; what the answers say is in `api.rs`.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::Notify;

use super::api;
use super::assets::ASSETS;
use super::body::Answer;
use super::origin;
use super::page::{Page, Runtime};
use super::picture;
use super::viewers;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";
const EVENTS: &str = "text/event-stream";

/// Nothing is loaded but the page's own files, and nothing in them is code but these files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// Sent with every answer.
const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

/// A connection, as far as its requests are concerned.
pub(super) struct Asker {
    /// Cuts the connection.
    pub(super) cut: Arc<Notify>,
    /// Tells that the connection carries events from now on.
    pub(super) streams: Arc<dyn Fn() + Send + Sync>,
}

pub(super) fn answer(page: &Page, request: &Request<Incoming>, asker: &Asker) -> Response<Answer> {
    let (uri, headers) = (request.uri(), request.headers());
    if let Some(reason) = origin::refusal(headers, uri.authority(), &page.names) {
        return refuse(StatusCode::FORBIDDEN, reason);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "this page changes nothing\n",
        );
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    if has_body(headers) {
        return refuse(StatusCode::BAD_REQUEST, "a request has no body here\n");
    }
    let path = uri.path();
    if let Some((_, kind, content)) = ASSETS.iter().find(|(known, ..)| *known == path) {
        return whole(StatusCode::OK, kind, Bytes::from_static(content.as_bytes()));
    }
    let query = Query(uri.query().unwrap_or_default());
    match path {
        "/healthz" => health(page),
        "/events" if request.method() == Method::GET => events(page, asker),
        "/api/now" => json(&api::now(page)),
        "/api/stalls" => json(&api::stalls(page)),
        "/api/culprits" => json(&api::culprits(page)),
        "/api/history" => history(page, query).unwrap_or_else(not_found),
        "/picture.svg" => {
            let range = query.get("range").and_then(|range| range.parse().ok());
            let length = Duration::from_secs(range.unwrap_or(60));
            whole(StatusCode::OK, SVG, picture::picture(page, length).into())
        }
        "/api/trace" => of_monitor(page, query, |runtime| {
            let trace = api::trace(runtime, query.get("culprit")?)?;
            Some(whole(StatusCode::OK, TEXT, trace.into()))
        }),
        "/api/folded" => of_monitor(page, query, |runtime| {
            let folded = runtime.monitor.culprits().folded();
            let mut answer = whole(StatusCode::OK, TEXT, folded.into());
            let name = HeaderValue::from_static("attachment; filename=\"stalls.folded\"");
            answer.headers_mut().insert(CONTENT_DISPOSITION, name);
            Some(answer)
        }),
        _ => not_found(),
    }
}

/// What follows the `?`. No value that is asked for needs to be decoded.
#[derive(Debug, Clone, Copy)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }
}

fn history(page: &Page, query: Query<'_>) -> Option<Response<Answer>> {
    let range = query
        .get("range")
        .map_or(Some(60), |range| range.parse().ok())?;
    let since = query
        .get("since")
        .map_or(Some(0), |since| since.parse().ok())?;
    let only = match query.get("monitor") {
        Some(id) => Some(page.runtimes.get(id.parse::<usize>().ok()?)?),
        None => None,
    };
    let length = Duration::from_secs(range);
    Some(json(&api::history(page, only, length, since)))
}

fn of_monitor(
    page: &Page,
    query: Query<'_>,
    answer: impl FnOnce(&Runtime) -> Option<Response<Answer>>,
) -> Response<Answer> {
    let id: Option<usize> = query.get("monitor").and_then(|id| id.parse().ok());
    let runtime = id.and_then(|id| page.runtimes.get(id));
    runtime.and_then(answer).unwrap_or_else(not_found)
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

fn health(page: &Page) -> Response<Answer> {
    let stuck = api::stuck(page);
    if stuck.is_empty() {
        return whole(StatusCode::OK, TEXT, Bytes::from_static(b"ok\n"));
    }
    let reasons = stuck.join("\n") + "\n";
    whole(StatusCode::SERVICE_UNAVAILABLE, TEXT, reasons.into())
}

fn events(page: &Page, asker: &Asker) -> Response<Answer> {
    let first = viewers::event("now", &api::now(page).to_string());
    match page.viewers.arrive(first, Arc::clone(&asker.cut)) {
        Some(received) => {
            (asker.streams)();
            with(StatusCode::OK, EVENTS, Answer::Events(received))
        }
        None => too_many("too many pages are open\n", StatusCode::SERVICE_UNAVAILABLE),
    }
}

pub(super) fn too_many(reason: &'static str, status: StatusCode) -> Response<Answer> {
    let mut refused = refuse(status, reason);
    refused
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

fn not_found() -> Response<Answer> {
    whole(
        StatusCode::NOT_FOUND,
        TEXT,
        Bytes::from_static(b"not found\n"),
    )
}

/// Who is refused has to connect anew.
fn refuse(status: StatusCode, reason: &'static str) -> Response<Answer> {
    let mut refused = whole(status, TEXT, Bytes::from_static(reason.as_bytes()));
    refused
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    refused
}

fn json(value: &Value) -> Response<Answer> {
    whole(StatusCode::OK, JSON, value.to_string().into())
}

fn whole(status: StatusCode, kind: &'static str, content: Bytes) -> Response<Answer> {
    with(status, kind, Answer::Whole(content))
}

fn with(status: StatusCode, kind: &'static str, answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}
