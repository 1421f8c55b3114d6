//! What only real time shows. These tests run one at a time, and assert lower bounds and ratios.

mod culprits;
mod export;
mod hostile;
mod instrument;
#[cfg(feature = "histogram")]
mod interval;
mod lag;
mod pool;
#[cfg(feature = "tower")]
mod shed;
mod stacks;
mod stalls;
mod surroundings;
mod testing;
#[cfg(feature = "tracing")]
mod tracing;
mod wake;
