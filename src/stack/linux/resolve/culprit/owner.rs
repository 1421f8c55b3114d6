//! Whose code a call is in. What shows that is in other files.

/// Whose code a call is in. A greater one outweighs a smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// The standard library, a dependency, the runtime, or code in another language.
    Others,
    Unknown,
    User,
}
