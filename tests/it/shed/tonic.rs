//! With tonic, over a connection in memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use loopmon::shed::ShedLayer;
use tokio::io::DuplexStream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tower::{Service, service_fn};

use super::overloaded;

/// Messages without content.
#[derive(Default)]
struct Empty;

impl Codec for Empty {
    type Encode = ();
    type Decode = ();
    type Encoder = Empty;
    type Decoder = Empty;

    fn encoder(&mut self) -> Empty {
        Empty
    }

    fn decoder(&mut self) -> Empty {
        Empty
    }
}

impl Encoder for Empty {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Empty {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        Ok(Some(()))
    }
}

#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "test.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let greet = service_fn(async |_: Request<()>| Ok::<_, Status>(Response::new(())));
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Empty);
            Ok(grpc.unary(greet, request).await)
        })
    }
}

async fn channel(stream: DuplexStream) -> Channel {
    let mut stream = Some(TokioIo::new(stream));
    let connect = service_fn(move |_: http::Uri| {
        let stream = stream.take().ok_or_else(|| std::io::Error::other("once"));
        std::future::ready(stream)
    });
    let endpoint = Endpoint::from_static("http://in.memory");
    endpoint.connect_with_connector(connect).await.unwrap()
}

async fn greet(channel: &Channel) -> Result<Response<()>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/test.Greeter/Greet");
    grpc.unary(Request::new(()), path, Empty).await
}

#[test]
fn refuses_with_unavailable_and_the_time_to_wait() {
    overloaded(async |policy, hand| {
        let layer = ShedLayer::grpc(&policy).retry_after(Duration::from_millis(1_500));
        let server = Server::builder().layer(layer).add_service(Greeter);
        let (near, far) = tokio::io::duplex(4_096);
        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(far));
        tokio::spawn(server.serve_with_incoming(incoming));
        let channel = channel(near).await;
        let status = greet(&channel).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert_eq!(status.message(), "overloaded");
        assert_eq!(
            status.metadata().get("grpc-retry-pushback-ms").unwrap(),
            "1500"
        );
        hand.publish(Duration::ZERO).await;
        greet(&channel).await.unwrap();
    });
}
