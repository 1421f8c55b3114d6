//! What a test denies and allows. What users call is in `deny.rs`.

use std::time::Duration;

use super::allow::Allowed;
use crate::stack::StackCapture;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) threshold: Duration,
    pub(super) allowed: Vec<Allowed>,
    pub(super) denies_unused: bool,
    pub(super) stack_capture: StackCapture,
}
