//! The promises that Sidekey makes to whoever asks it, each shown over real sockets.
//!
//! A module is a promise. Secrets Manager is the fake, or moto, or an upstream that answers what
//! a test says; time passes when a test says so. See [`support`].

#[path = "../support/cgroup.rs"]
mod cgroup;
#[path = "../support/clients.rs"]
mod clients;
#[path = "../support/exchange.rs"]
mod exchange;
#[path = "../support/moto.rs"]
mod moto;
#[path = "../support/port.rs"]
mod port;

mod support;

mod aws_api;
mod binary;
mod bodies;
mod boto3;
mod checking;
mod credentials;
mod descriptors;
mod dns;
mod door;
mod extension_dialect;
mod failures;
mod forged_references;
mod getting;
mod handover;
mod leaks_nothing;
mod least_policy;
mod listening;
mod malformed;
mod names_stay_ours;
mod never_calls_itself;
mod one_call_for_many;
mod outage;
mod peers;
mod places;
mod policies;
mod post_quantum;
mod prefetch;
mod real_clients;
mod resolve;
mod resolve_anything;
mod resolve_bounds;
mod resolve_tenant;
mod rotation;
mod scaffolding;
mod sdks;
mod small_machine;
mod unread_log;
mod upstream_connections;
mod walkthrough;
mod wiped;
