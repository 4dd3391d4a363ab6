//! NOTICE messages to the client.

use pgrx::prelude::*;

pub fn notice(message: &str) {
    ereport!(
        PgLogLevel::NOTICE,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        message.to_owned()
    );
}
