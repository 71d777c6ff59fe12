//! The platform that the agent runs on.

/// The platform that the agent runs on. The host decides whether a mistake ends the process, and which
/// defaults apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// A container, a virtual machine or a laptop. A mistake in the configuration ends the process.
    Standalone,
    /// AWS Lambda. A mistake in the configuration never ends the process, because the function would
    /// end with it.
    Lambda,
}
