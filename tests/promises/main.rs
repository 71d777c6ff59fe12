//! Scenario tests. Each test checks one promise of Sidekey over real sockets.
//!
//! Instead of AWS, Sidekey calls the fake AWS server, the emulator moto, or a server with responses
//! that the test defines. Agents use a clock that only the test advances. See [`support`].

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
mod agent_dialect;
mod boto3;
mod calls;
mod calls_commands;
mod calls_hostile;
mod calls_libraries;
mod calls_roles;
mod calls_streaming;
mod boto3_parameters;
mod cross_account;
mod check;
mod credentials;
mod dev;
mod descriptors;
mod discovery;
mod dns;
mod environment;
mod refusals;
mod extension_dialect;
mod failover;
mod failures;
mod forged_references;
mod get;
mod exec;
mod http_endpoint;
mod leaks_nothing;
mod least_policy;
mod listening;
mod malformed;
mod same_names;
mod never_calls_itself;
mod one_call_for_many;
mod outage;
mod page;
mod page_commands;
mod parameters;
mod parameters_in_commands;
mod parameters_in_fake;
mod moto_and_fake;
mod monitoring;
mod connection_slots;
mod policies;
mod post_quantum;
mod prefetch;
mod readme;
mod real_clients;
mod resolve;
mod resolve_random_bodies;
mod resolve_bounds;
mod resolve_tenant;
mod roles;
mod rotation;
mod rotation_queries;
mod scaffold;
mod sdk_parameters;
mod sdks;
mod shell;
mod small_machine;
mod status;
mod unread_log;
mod upstream_connections;
mod walkthrough;
mod wiped;
