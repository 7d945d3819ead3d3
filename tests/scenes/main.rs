//! Real software in situations whose truth is known: one file a program, one test a scene.
//!
//! `cargo xtask scenes` installs the software and runs them; the normal suite never does. Every scene runs on loopback,
//! with configurations and folders of its own, never with the services of this host.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it found"
)]

#[macro_use]
mod support;

mod apache;
mod docker_proxy;
mod gone_peer;
mod gunicorn;
mod haproxy;
mod idle_pools;
mod java;
mod lines;
mod mariadb;
mod nginx;
mod node;
mod php_fpm;
mod postgresql;
mod puma;
mod python;
mod redis;
mod socat;
mod vsftpd;
