//! The platform that the agent runs on.

/// The platform that the agent runs on. The platform decides whether a mistake in the configuration
/// ends the agent, and which defaults apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The agent runs in a container, on a virtual machine or on a laptop. A mistake in the
    /// configuration ends the agent's process.
    Standalone,
    /// The agent runs on AWS Lambda. A mistake in the configuration never ends the agent's process,
    /// because Lambda would then end the function too.
    Lambda,
}
