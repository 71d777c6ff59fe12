//! Asks a running agent over HTTP, for the commands that do.

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A kept connection to an agent.
#[derive(Debug)]
pub(super) struct Asking {
    address: SocketAddr,
    token: Option<String>,
    sender: SendRequest<Empty<Bytes>>,
    /// Drives the connection until it is dropped.
    driver: JoinHandle<()>,
}

/// What an agent answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Asking {
    pub(super) async fn connect(
        address: SocketAddr,
        token: Option<String>,
    ) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address)
            .await
            .with_context(|| format!("no agent answers at {address}"))?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        let driver = tokio::spawn(async move {
            // A broken connection shows at the next request.
            let _ = connection.await;
        });
        Ok(Self { address, token, sender, driver })
    }

    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<Answered> {
        let mut request = Request::get(path).header("host", self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header("x-aws-parameters-secrets-token", token);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Empty::new())?).await?;
        let (head, body) = answer.into_parts();
        drop(body.collect().await?);
        Ok(Answered { status: head.status, headers: head.headers })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
