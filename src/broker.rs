//! The rules of calls without keys. A caller sends a request for another server, such as OpenAI's,
//! to the agent. The agent adds the API key and passes the request on, so that the caller never has
//! the key.
//!
//! A *route* says where such requests go, and which secret they need. The caller proves itself with
//! a *phantom token*: a random text that opens one route of one agent and is worthless elsewhere.
//!
//! All functions of this module are pure. The server sends the requests.

pub(crate) mod target;
pub(crate) mod phantom;
pub(crate) mod credential;
pub(crate) mod headers;
pub(crate) mod redact;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod built_in;
pub(crate) mod refusal;
