//! Where a test may run, and what else may happen there.
