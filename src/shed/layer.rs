//! Wraps services so that they shed load.

use std::time::Duration;

use tower_layer::Layer;

use super::refuse::{With, WithError, WithGrpc, WithHttp};
use super::service::{Settings, Shed};
use super::{Overloaded, Policy, Priority};

/// Wraps services so that they refuse requests while their runtime is overloaded: a tower
/// [`Layer`].
///
/// | for | write | a refused caller gets |
/// |---|---|---|
/// | axum, hyper | [`ShedLayer::http(&monitor)`](Self::http) | `503` with `Retry-After` |
/// | tonic | [`ShedLayer::grpc(&monitor)`](Self::grpc) | `UNAVAILABLE` with the time to wait |
/// | any tower service | [`ShedLayer::new(&monitor)`](Self::new) | the error [`Overloaded`], boxed |
/// | any, with an answer of your own | [`ShedLayer::with(&monitor, …)`](Self::with) | what you return |
///
/// Each takes a [`Monitor`](crate::Monitor), for the default policy, or a [`Policy`].
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use loopmon::Monitor;
/// use loopmon::shed::{Policy, Priority, ShedLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), loopmon::Error> {
/// let monitor = Monitor::builder()
///     .interval(Duration::from_millis(10))
///     .install()?;
/// let policy = Policy::new(&monitor);
/// let optional = ShedLayer::http(&policy).priority(Priority::Optional);
/// let app: Router = Router::new()
///     .route("/recommendations", get(async || "…").layer(optional))
///     .route("/order", get(async || "…"))
///     .layer(ShedLayer::http(&policy))
///     // Routes after the layer are not shed.
///     .route("/health", get(async || "ok"));
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ShedLayer<R = WithError, C = Priority> {
    settings: Settings<R, C>,
}

impl ShedLayer {
    /// Refuses with the error [`Overloaded`], boxed as the errors of tower's own services are.
    pub fn new(policy: impl Into<Policy>) -> ShedLayer {
        ShedLayer::of(policy, WithError)
    }
}

impl ShedLayer<WithHttp> {
    /// Refuses with the response `503 Service Unavailable`, with `Retry-After` and an empty body.
    ///
    /// The service keeps its error type, so with axum this needs no `HandleErrorLayer`. The body has to have a
    /// default, as those of axum, hyper and tonic have.
    pub fn http(policy: impl Into<Policy>) -> ShedLayer<WithHttp> {
        ShedLayer::of(policy, WithHttp)
    }
}

impl ShedLayer<WithGrpc> {
    /// Refuses with the gRPC status `UNAVAILABLE`, and the time to wait in `grpc-retry-pushback-ms`.
    pub fn grpc(policy: impl Into<Policy>) -> ShedLayer<WithGrpc> {
        ShedLayer::of(policy, WithGrpc)
    }
}

impl<F> ShedLayer<With<F>> {
    /// Refuses with what `refuse` returns: a response or an error of the service's own types.
    ///
    /// ```
    /// use loopmon::Monitor;
    /// use loopmon::shed::{Overloaded, ShedLayer};
    ///
    /// enum Failure {
    ///     Busy,
    /// }
    ///
    /// # fn main() -> Result<(), loopmon::Error> {
    /// let monitor = Monitor::builder().build()?;
    /// let layer = ShedLayer::with(&monitor, |_: Overloaded| Err::<String, _>(Failure::Busy));
    /// # drop(layer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with<Response, E>(policy: impl Into<Policy>, refuse: F) -> ShedLayer<With<F>>
    where
        F: Fn(Overloaded) -> Result<Response, E>,
    {
        ShedLayer::of(policy, With(refuse))
    }
}

impl<R> ShedLayer<R> {
    fn of(policy: impl Into<Policy>, refuse: R) -> ShedLayer<R> {
        ShedLayer {
            settings: Settings {
                policy: policy.into(),
                refuse,
                classify: Priority::default(),
                retry_after: Overloaded::DEFAULT_RETRY_AFTER,
            },
        }
    }
}

impl<R, C> ShedLayer<R, C> {
    /// Sets how important the requests are: a [`Priority`] for all of them, or a function of the request. The
    /// default is [`Priority::Normal`].
    ///
    /// ```
    /// use http::Request;
    /// use loopmon::Monitor;
    /// use loopmon::shed::{Priority, ShedLayer};
    ///
    /// # fn main() -> Result<(), loopmon::Error> {
    /// # let monitor = Monitor::builder().build()?;
    /// let layer = ShedLayer::http(&monitor).priority(|request: &Request<String>| {
    ///     match request.uri().path() {
    ///         "/health" => Priority::Critical,
    ///         _ => Priority::Normal,
    ///     }
    /// });
    /// # drop(layer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn priority<D>(self, priority: D) -> ShedLayer<R, D> {
        let Settings {
            policy,
            refuse,
            retry_after,
            ..
        } = self.settings;
        ShedLayer {
            settings: Settings {
                policy,
                refuse,
                classify: priority,
                retry_after,
            },
        }
    }

    /// Sets when a refused caller may try again. The default is a second. HTTP has whole seconds: it is rounded up.
    pub fn retry_after(mut self, retry_after: Duration) -> ShedLayer<R, C> {
        self.settings.retry_after = retry_after;
        self
    }
}

impl<S, R: Clone, C: Clone> Layer<S> for ShedLayer<R, C> {
    type Service = Shed<S, R, C>;

    fn layer(&self, inner: S) -> Shed<S, R, C> {
        Shed::new(inner, self.settings.clone())
    }
}
