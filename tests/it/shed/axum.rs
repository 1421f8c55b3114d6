//! One line with axum.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Body};
use loopmon::shed::{Overloaded, Priority, ShedLayer};
use tower::ServiceExt;

use super::overloaded;

async fn ask(app: &Router, path: &str) -> Response {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

#[test]
fn one_layer_answers_with_503() {
    overloaded(async |policy, hand| {
        let app = Router::new()
            .route("/", get(async || "hello"))
            .layer(ShedLayer::http(&policy))
            .route("/health", get(async || "ok"));
        let response = ask(&app, "/").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(ask(&app, "/health").await.status(), StatusCode::OK);
        hand.publish(Duration::ZERO).await;
        assert_eq!(ask(&app, "/").await.status(), StatusCode::OK);
    });
}

#[test]
fn each_route_may_have_its_own() {
    overloaded(async |policy, _| {
        let critical = ShedLayer::http(&policy).priority(Priority::Critical);
        let patient = ShedLayer::http(&policy).retry_after(Duration::from_secs(30));
        let by_path =
            ShedLayer::http(&policy).priority(|request: &Request| match request.uri().path() {
                "/admin/health" => Priority::Critical,
                _ => Priority::Normal,
            });
        let admin = Router::new()
            .route("/health", get(async || "ok"))
            .route("/users", get(async || "…"));
        let app = Router::new()
            .route("/pay", get(async || "paid").layer(critical))
            .route("/report", get(async || "report").layer(patient))
            .nest("/admin", admin)
            .layer(by_path);
        // Nested routers see the path without what they are nested at; a layer outside sees all of it.
        assert_eq!(ask(&app, "/admin/health").await.status(), StatusCode::OK);
        let users = ask(&app, "/admin/users").await;
        assert_eq!(users.status(), StatusCode::SERVICE_UNAVAILABLE);
        let report = Router::new().route(
            "/report",
            get(async || "report")
                .layer(ShedLayer::http(&policy).retry_after(Duration::from_secs(30))),
        );
        let response = ask(&report, "/report").await;
        assert_eq!(response.headers()[RETRY_AFTER], "30");
    });
}

#[test]
fn the_answer_may_be_ones_own() {
    overloaded(async |policy, _| {
        let app = Router::new()
            .route("/", get(async || "hello"))
            .layer(ShedLayer::with(&policy, |overloaded: Overloaded| {
                let mut response = (StatusCode::TOO_MANY_REQUESTS, "busy").into_response();
                let wait = HeaderValue::from(overloaded.retry_after().as_secs());
                response.headers_mut().insert(RETRY_AFTER, wait);
                Ok(response)
            }));
        assert_eq!(ask(&app, "/").await.status(), StatusCode::TOO_MANY_REQUESTS);
    });
}
