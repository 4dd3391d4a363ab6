//! Errors about rights that the caller lacks.

use super::{Error, new_error};
use crate::ident::Ident;
use pgrx::PgSqlErrorCode as Code;

impl Error {
    pub fn not_owner(relation: String, role: String, owner: String) -> Self {
        new_error(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of table {relation}"),
            format!("The table belongs to role \"{owner}\", the caller is \"{role}\"."),
            format!("SET ROLE {};", Ident::new(&owner)),
        )
    }

    pub fn not_member(role: String, caller: String) -> Self {
        new_error(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied to act as role {role}"),
            format!(
                "A table or a migration of role {role} is asked for, and role {caller} is no member of it."
            ),
            format!("SET ROLE {role};"),
        )
    }

    pub fn not_owner_of_migration(migration: String, role: String, owner: String) -> Self {
        new_error(
            Code::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of migration \"{migration}\""),
            format!("The migration belongs to role \"{owner}\", the caller is \"{role}\"."),
            format!("SET ROLE {};", Ident::new(&owner)),
        )
    }
}
