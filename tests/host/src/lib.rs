//! Helpers of the host tests.
