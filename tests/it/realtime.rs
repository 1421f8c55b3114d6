//! What only real time shows. These tests run one at a time, and assert lower bounds and ratios.

mod lag;
mod stalls;
mod wake;
