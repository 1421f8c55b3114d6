//! The pages of the guide. They are text: this module has no items but them.

#[doc = include_str!("docs/combinators.md")]
pub mod combinators {}

#[doc = include_str!("docs/design.md")]
pub mod design {}

#[doc = include_str!("docs/frameworks.md")]
pub mod frameworks {}

#[doc = include_str!("docs/guide.md")]
pub mod guide {}

#[doc = include_str!("docs/operating.md")]
pub mod operating {}

#[doc = include_str!("docs/platforms.md")]
pub mod platforms {}

#[doc = include_str!("docs/shedding.md")]
pub mod shedding {}

#[doc = include_str!("docs/stacks.md")]
pub mod stacks {}

#[doc = include_str!("docs/stalls.md")]
pub mod stalls {}

#[cfg(feature = "testing")]
#[doc = include_str!("docs/testing.md")]
pub mod testing {}
