//! The platform that the agent runs on: AWS Lambda, or any other platform.

/// The platform that the agent runs on. The platform determines the defaults of some settings, and
/// the effect of a mistake in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Every platform except AWS Lambda: a container, a virtual machine or a laptop. A mistake in
    /// the configuration ends the agent's process.
    Standalone,
    /// AWS Lambda. A mistake in the configuration does not end the agent's process, because Lambda
    /// would then end the function too.
    Lambda,
}
