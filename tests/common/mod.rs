//! What the demo and the integration tests share.

pub mod both_sides;
pub mod cluster;
pub mod cover;
pub mod load;
pub mod patience;
pub mod writers;
