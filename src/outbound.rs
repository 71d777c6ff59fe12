//! The HTTP/1.1 client for all calls to other servers. The client reuses connections for calls in
//! quick succession, and refuses to call the agent itself.

pub(crate) mod host;
mod origin;
mod trust;
mod call_error;
mod dialer;
mod pool;

pub(crate) use call_error::CallError;
pub(crate) use host::is_loopback;
pub(crate) use origin::Origin;
pub(crate) use pool::IdlePolicy;
pub(crate) use trust::Trust;

use crate::clock::{Clock, within};
use crate::http1::{Connection, ExchangeError, RequestBody, Reuse, Streamed};
use dialer::Dialer;
use hyper::{Request, Response, Uri};
use pool::Pool;
use std::sync::Arc;
use std::time::Duration;

/// The HTTP client for calls to other servers. All calls share the idle connections.
#[derive(Debug)]
pub(crate) struct Outbound {
    dialer: Dialer,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
}

impl Outbound {
    /// Creates the HTTP client. `own_ports` are the loopback ports on which the agent itself
    /// listens. The client refuses to call these ports, because the agent would call itself.
    pub(crate) fn new(
        trust: Trust,
        own_ports: Vec<u16>,
        idle_policy: IdlePolicy,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let dialer = Dialer::new(own_ports, trust);
        let pool = Arc::new(Pool::new(idle_policy, clock.clone()));
        Self { dialer, pool, clock }
    }

    /// Sends a request to the server of the URL `server`, and returns the response as soon as its
    /// headers have arrived. The request must have the form of HTTP/1.1: a path instead of a full
    /// URL, and a `Host` header.
    ///
    /// If a reused connection is closed before the request is sent, sends the request over a new
    /// connection. Does not retry a call after its request was sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection cannot be opened within `connect_timeout`, or if it breaks
    /// before the response begins.
    pub(crate) async fn send(
        &self,
        server: &Uri,
        mut request: Request<RequestBody>,
        connect_timeout: Option<Duration>,
    ) -> Result<Response<Streamed>, CallError> {
        let origin = Origin::of(server).ok_or(CallError::BadUrl)?;
        if let Some(reused) = self.pool.take(&origin).await {
            match self.exchange(reused, &origin, request).await {
                Err(ExchangeError::NotSent { request: unsent, .. }) => request = *unsent,
                result => return Ok(result?),
            }
        }
        // Few calls open a connection. In a box, this large future does not make the future of every
        // call larger.
        let dial = Box::pin(self.dialer.dial(&origin, server));
        let dialed = match connect_timeout {
            None => dial.await,
            Some(timeout) => {
                within(&*self.clock, timeout, dial).await.unwrap_or(Err(CallError::ConnectTimeout))
            }
        };
        Ok(self.exchange(dialed?, &origin, request).await?)
    }

    async fn exchange(
        &self,
        connection: Connection,
        origin: &Origin,
        request: Request<RequestBody>,
    ) -> Result<Response<Streamed>, ExchangeError> {
        let (pool, to) = (self.pool.clone(), origin.clone());
        let reuse: Reuse = Box::new(move |connection| pool.put(to, connection));
        connection.stream(request, reuse).await
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}
