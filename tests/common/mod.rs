//! What the demo and the integration tests share.

pub mod cluster;
pub mod cover;
pub mod writers;
