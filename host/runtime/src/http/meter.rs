//! How much the requests of one call have used.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};
use wasmtime_wasi_http::Error;

use super::HttpLimits;

/// See the module.
#[derive(Debug)]
pub(super) struct Meter {
    at_once: Arc<Semaphore>,
    requests_left: AtomicUsize,
    sent: Count,
    received: Count,
}

/// Bytes of one direction.
#[derive(Debug)]
struct Count {
    bytes: AtomicU64,
    max: u64,
}

/// One request's place among those at the same time; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    meter: Arc<Meter>,
    _permit: OwnedSemaphorePermit,
}

impl Count {
    const fn new(max: u64) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            max,
        }
    }

    /// Whether there is room for so many more.
    fn add(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.max
    }

    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.max
    }
}

impl Meter {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(limits.requests_at_once)),
            requests_left: AtomicUsize::new(limits.requests),
            sent: Count::new(limits.sent_bytes),
            received: Count::new(limits.received_bytes),
        }
    }

    /// A place for one more request.
    pub(super) fn place(self: &Arc<Self>) -> Result<Place, Error> {
        let permit = Arc::clone(&self.at_once)
            .try_acquire_owned()
            .map_err(|_| Error::ConnectionLimitReached)?;
        self.requests_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .map_err(|_| Error::ConnectionLimitReached)?;
        Ok(Place {
            meter: Arc::clone(self),
            _permit: permit,
        })
    }

    /// In and out.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let bytes = |count: &Count| count.bytes.load(Ordering::Relaxed);
        (bytes(&self.received), bytes(&self.sent))
    }
}

impl Place {
    /// What to say of a request that failed while its body was being sent.
    pub(super) fn sending_failed(&self, error: Error) -> Error {
        if self.meter.sent.is_over() {
            Error::HttpRequestBodySize(Some(self.meter.sent.max))
        } else {
            error
        }
    }

    pub(super) fn counted_sending<B>(&self, body: B) -> Sending<B> {
        Sending {
            body,
            meter: Arc::clone(&self.meter),
        }
    }

    pub(super) fn counted_receiving<B>(self, body: B, silence: Duration) -> Receiving<B> {
        Receiving {
            body,
            place: self,
            silence,
            silent: Box::pin(tokio::time::sleep(silence)),
        }
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Sending<B> {
    body: B,
    meter: Arc<Meter>,
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Sending<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && !self.meter.sent.add(data.len())
        {
            let max = self.meter.sent.max;
            return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(max)))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. Keeps its request's place until it is dropped.
#[derive(Debug)]
pub(super) struct Receiving<B> {
    body: B,
    place: Place,
    silence: Duration,
    silent: Pin<Box<Sleep>>,
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Receiving<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => self
                .silent
                .as_mut()
                .poll(context)
                .map(|()| Some(Err(Error::ConnectionReadTimeout))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(Some(Ok(frame))) => {
                let again = Instant::now() + self.silence;
                self.silent.as_mut().reset(again);
                let received = &self.place.meter.received;
                if let Some(data) = frame.data_ref()
                    && !received.add(data.len())
                {
                    let max = received.max;
                    return Poll::Ready(Some(Err(Error::HttpResponseBodySize(Some(max)))));
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
