//! See ARCHITECTURE.md.
pub mod fetch;
pub mod http;
