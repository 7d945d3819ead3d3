//! Accepts below three functions with known names, for tests of stacks.
//!
//! The names are part of the truth that is printed. Each function keeps a frame pointer however the
//! program is built: a local that is aligned beyond the stack's own alignment needs one. What is
//! below them has none, so a walk along frame pointers misses the innermost function that has one;
//! that is why there is a fourth, whose name is not promised.

use anyhow::Result;
use rustix::fd::OwnedFd;
use std::hint::black_box;

/// The functions below that a stack trace has to show, innermost first.
pub(crate) const FUNCTIONS: [&str; 3] = ["open_upstream", "fetch_price", "handle_order"];

#[repr(align(64))]
struct Local([u8; 64]);

#[inline(never)]
pub(super) fn handle_order(listener: &OwnedFd) -> Result<OwnedFd> {
    let local = black_box(Local([1; 64]));
    let result = fetch_price(listener);
    black_box(&local.0);
    result
}

#[inline(never)]
fn fetch_price(listener: &OwnedFd) -> Result<OwnedFd> {
    let local = black_box(Local([2; 64]));
    let result = open_upstream(listener);
    black_box(&local.0);
    result
}

#[inline(never)]
fn open_upstream(listener: &OwnedFd) -> Result<OwnedFd> {
    let local = black_box(Local([3; 64]));
    let result = accept_below(listener);
    black_box(&local.0);
    result
}

#[inline(never)]
fn accept_below(listener: &OwnedFd) -> Result<OwnedFd> {
    let local = black_box(Local([4; 64]));
    let result = super::opening::accept_one(listener);
    black_box(&local.0);
    result
}
