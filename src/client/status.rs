//! Reads the two pages that describe a running agent: `/status` and `/metrics`.

use super::{Address, Answer, Client, ClientError};
use crate::tokens::Token;

/// The maximum size of a page of the agent, in bytes. The page `/status` has about 1 KiB for each
/// cached secret.
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The texts of an agent's pages `/status` and `/metrics`. The pages contain no values of secrets.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The JSON text of the page `/status`.
    pub(crate) status: String,
    /// The page `/metrics`, in Prometheus' text format.
    pub(crate) metrics: String,
}

/// The reason why the client could not read `/status` and `/metrics` of an agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PagesError {
    #[error(transparent)]
    NoAnswer(#[from] ClientError),
    #[error("the agent refused the token of this command")]
    WrongToken,
    /// The answer is not a page of Sidekey, which means that another program listens at the agent's
    /// address.
    #[error("a program other than Sidekey answered, with HTTP status {0}")]
    NotSidekey(u16),
}

impl Client {
    /// Connects to an agent, and reads its pages `/status` and `/metrics`.
    pub(crate) async fn pages(
        address: &Address,
        token: Option<&Token>,
    ) -> Result<Pages, PagesError> {
        let mut client = Self::connect_for(address, token, PAGE_BYTES_MAX).await?;
        let status = text(&client.get("/status").await?)?;
        let metrics = text(&client.get("/metrics").await?)?;
        Ok(Pages { status, metrics })
    }
}

fn text(answer: &Answer) -> Result<String, PagesError> {
    let text = str::from_utf8(answer.body.expose());
    match (answer.status.as_u16(), text) {
        (200, Ok(text)) => Ok(text.to_owned()),
        (401 | 403, _) => Err(PagesError::WrongToken),
        (status, _) => Err(PagesError::NotSidekey(status)),
    }
}
