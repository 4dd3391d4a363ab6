//! In-backend tests: what one rolled-back transaction can show.

mod errors;
mod expressions;
mod mirror;
mod quoting;
