//! Ways to shed load, each around the same handler.

use std::convert::Infallible;
use std::time::Duration;

use little_loadshedder::{LoadShedLayer, LoadShedResponse};
use loopmon::shed::{Law, Policy, ShedLayer};
use loopmon::{Hysteresis, Monitor};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::load::Handler;
use crate::toobusy::TooBusy;

/// Takes the number of a request, and returns whether it was served.
pub(crate) type Shedding = BoxCloneService<u32, bool, BoxError>;

pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// Called within the runtime.
    pub(crate) service: fn(Handler) -> Shedding,
}

/// What is compared at every load.
pub(crate) const WAYS: [Way; 6] = [
    Way {
        name: "nothing",
        service: |handler| boxed(inner(handler)),
    },
    Way {
        name: "`load_shed`, 16 at once",
        service: |handler| {
            let service = ServiceBuilder::new()
                .load_shed()
                .concurrency_limit(16)
                .service(inner(handler));
            // The error is that of `load_shed`.
            BoxCloneService::new(service.then(async |answer| Ok(answer.unwrap_or(false))))
        },
    },
    Way {
        name: "`little-loadshedder`, 50 ms",
        service: |handler| {
            let service = LoadShedLayer::new(0.01, Duration::from_millis(50)).layer(inner(handler));
            boxed(service.map_response(|answer| match answer {
                LoadShedResponse::Inner(served) => served,
                LoadShedResponse::Overload => false,
            }))
        },
    },
    Way {
        name: "toobusy's law and defaults",
        service: |handler| {
            let too_busy = TooBusy::start();
            boxed(service_fn(move |number| {
                let too_busy = too_busy.clone();
                async move {
                    if too_busy.refuses(number) {
                        return Ok(false);
                    }
                    inner(handler).oneshot(number).await
                }
            }))
        },
    },
    Way {
        name: "**loopmon**, every 10 ms",
        service: |handler| ours(handler, Law::default(), 10),
    },
    Way {
        name: "**loopmon**, every 100 ms",
        service: |handler| ours(handler, Law::default(), 100),
    },
];

/// The other laws, every 10 ms.
pub(crate) const LAWS: [Way; 4] = [
    Way {
        name: "balanced, 20 ms",
        service: |handler| ours(handler, Law::balanced(Duration::from_millis(20)), 10),
    },
    Way {
        name: "threshold, 20 to 10 ms",
        service: |handler| {
            let [low, high] = [10, 20].map(Duration::from_millis);
            let thresholds = Hysteresis::new(high, low).expect("in order");
            ours(handler, Law::threshold(thresholds), 10)
        },
    },
    Way {
        name: "proportional, 20 ms",
        service: |handler| {
            let [target, half_life] = [20, 50].map(Duration::from_millis);
            ours(handler, Law::proportional(target, half_life), 10)
        },
    },
    Way {
        name: "controlled delay, 20 ms in 100 ms",
        service: |handler| {
            let [target, interval] = [20, 100].map(Duration::from_millis);
            ours(handler, Law::controlled_delay(target, interval), 10)
        },
    },
];

fn boxed(
    service: impl Service<u32, Response = bool, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static,
) -> Shedding {
    BoxCloneService::new(service.map_err(BoxError::from))
}

fn inner(
    handler: Handler,
) -> impl Service<u32, Response = bool, Error = Infallible, Future: Send> + Clone + Send {
    service_fn(move |number| async move {
        handler.run(number).await;
        Ok(true)
    })
}

fn ours(handler: Handler, law: Law, millis: u64) -> Shedding {
    let interval = Duration::from_millis(millis);
    let monitor = Monitor::builder().interval(interval).install();
    let policy = Policy::with_law(&monitor.expect("a runtime"), law);
    let layer = ShedLayer::with(policy, |_| Ok(false));
    boxed(layer.layer(inner(handler)))
}
