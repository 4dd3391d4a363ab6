//! Unpredictable random numbers.

use crate::error::{Error, Result};
use pgrx::pg_sys;

pub fn number() -> Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: fills the array, whose length is passed.
    let filled = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
    if filled {
        Ok(u64::from_ne_bytes(bytes))
    } else {
        Err(Error::internal("there are no random numbers".into()))
    }
}
