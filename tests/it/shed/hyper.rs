//! With hyper alone, over a connection in memory.

use std::convert::Infallible;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use loopmon::shed::ShedLayer;
use tower::{Layer, service_fn};

use super::overloaded;

#[test]
fn refuses_with_503_on_a_connection_that_goes_on() {
    overloaded(async |policy, hand| {
        let service = service_fn(async |_: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new("hello".to_owned()))
        });
        let service = TowerToHyperService::new(ShedLayer::http(&policy).layer(service));
        let (near, far) = tokio::io::duplex(4_096);
        tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(far), service));
        let (mut sender, connection) = client::handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let request = || Request::new(String::new());
        let response = sender.send_request(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        hand.publish(Duration::ZERO).await;
        sender.ready().await.unwrap();
        let response = sender.send_request(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    });
}
