//! A table as the catalog describes it: the result of `sql/query/table_shape.sql`.

use crate::ident::{Ident, QualifiedName};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shape {
    pub oid: u32,
    pub name: QualifiedName,
    /// `pg_class.relkind`
    pub kind: String,
    /// `pg_class.relpersistence`
    pub persistence: String,
    pub is_partition: bool,
    pub is_catalog: bool,
    pub owner: u32,
    pub owner_name: Ident,
    pub rls: bool,
    pub force_rls: bool,
    /// `pg_class.relreplident`
    pub replica_identity: String,
    pub options: Vec<String>,
    pub comment: Option<String>,
    pub est_rows: i64,
    pub bytes: i64,
    pub columns: Vec<TableColumn>,
    pub indexes: Vec<TableIndex>,
    pub checks: Vec<CheckConstraint>,
    pub fkeys: Vec<ForeignKey>,
    pub policies: Vec<Policy>,
    /// The application's triggers.
    #[serde(default)]
    pub triggers: Vec<TableTrigger>,
    pub grants: Vec<Grant>,
    pub publications: Vec<Publication>,
    #[serde(default)]
    pub statistics: Vec<Statistics>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableColumn {
    pub name: Ident,
    #[serde(rename = "type")]
    pub type_text: String,
    pub not_null: bool,
    pub default: Option<String>,
    /// The expression of a stored generated column.
    pub generated: Option<String>,
    /// The sequence of an identity column.
    pub identity: Option<QualifiedName>,
    /// It is GENERATED ALWAYS AS IDENTITY.
    #[serde(default)]
    pub always_identity: bool,
    pub collation: Option<QualifiedName>,
    pub storage: Option<String>,
    pub compression: Option<String>,
    pub statistics: Option<i32>,
    /// `n_distinct` and so on.
    #[serde(default)]
    pub options: Vec<String>,
    pub comment: Option<String>,
    pub compare: Equality,
}

/// What the type's own functions can tell about two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Equality {
    /// Equal values have the same text, so the hash decides.
    Image,
    /// Equal values may have different texts: 1.0 and 1.00, 'anna' and 'ANNA' of type citext.
    Value,
    /// The type has no hash function: json, xml, point.
    Text,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableIndex {
    pub name: Ident,
    pub primary: bool,
    pub unique: bool,
    pub exclusion: bool,
    pub valid: bool,
    /// Backed by a constraint (UNIQUE, PRIMARY KEY).
    pub constraint: bool,
    pub deferrable: bool,
    #[serde(default)]
    pub initially_deferred: bool,
    pub method: Ident,
    pub columns: Vec<IndexColumn>,
    pub include: Vec<Ident>,
    pub predicate: Option<String>,
    /// An expression or the predicate is over the row itself, which is of the table's type.
    #[serde(default)]
    pub whole_row: bool,
    pub options: Vec<String>,
    pub nulls_not_distinct: bool,
    /// The comment of the index, or of the constraint that it backs.
    pub comment: Option<String>,
    /// Statistics targets of its columns, as (column number, target).
    #[serde(default)]
    pub statistics: Vec<(i32, i32)>,
    /// Of an exclusion constraint: one operator for each column.
    #[serde(default)]
    pub operators: Vec<QualifiedName>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexColumn {
    /// None for an expression.
    pub name: Option<Ident>,
    /// The expression's text, or the quoted name of a plain column.
    pub text: String,
    /// Collation, operator class and order, where they are not the default.
    pub suffix: String,
    /// The operator class's equality operator.
    pub equals: Option<QualifiedName>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckConstraint {
    pub name: Ident,
    /// `CHECK (…)`
    pub definition: String,
    pub comment: Option<String>,
    pub columns: Vec<Ident>,
    /// It is over the row itself, which is of the table's type.
    #[serde(default)]
    pub whole_row: bool,
    /// It may depend on more than the row: rows that it took may violate it now.
    #[serde(default)]
    pub mutable: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForeignKey {
    pub name: Ident,
    pub columns: Vec<Ident>,
    pub ref_oid: u32,
    pub ref_name: QualifiedName,
    pub ref_columns: Vec<Ident>,
    /// The operators that compare the columns, with the referenced column on the left.
    pub equals: Vec<QualifiedName>,
    pub validated: bool,
    #[serde(default)]
    pub deferrable: bool,
    #[serde(default)]
    pub initially_deferred: bool,
    /// MATCH FULL: all of its columns are null, or none.
    #[serde(default)]
    pub match_full: bool,
    /// Its triggers are enabled.
    pub enforced: bool,
    pub comment: Option<String>,
    /// `pg_constraint.confdeltype`
    pub on_delete: String,
    pub on_update: String,
    /// Columns of `ON DELETE SET NULL (…)`; empty for all.
    pub set_columns: Vec<Ident>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Policy {
    pub name: Ident,
    pub permissive: bool,
    /// `ALL`, `SELECT`, `INSERT`, `UPDATE` or `DELETE`
    pub command: String,
    /// Quoted role names, or `PUBLIC`
    pub roles: Vec<String>,
    pub using: Option<String>,
    pub check: Option<String>,
    /// Columns of its table that it names.
    #[serde(default)]
    pub columns: Vec<Ident>,
    pub comment: Option<String>,
}

/// A trigger as the catalog describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableTrigger {
    pub name: Ident,
    /// `pg_trigger.tgtype`
    #[serde(rename = "type")]
    pub bits: i16,
    /// `pg_trigger.tgenabled`
    pub enabled: String,
    pub constraint: bool,
    /// The other table of a constraint trigger (`FROM`).
    pub from: Option<QualifiedName>,
    pub deferrable: bool,
    pub initially_deferred: bool,
    /// `UPDATE OF`
    pub update_columns: Vec<Ident>,
    /// All columns that its definition names.
    pub columns: Vec<Ident>,
    /// `REFERENCING`
    pub old_table: Option<Ident>,
    pub new_table: Option<Ident>,
    /// `WHEN`: an expression tree as stored, or in a carried trigger its text.
    pub condition: Option<String>,
    pub function: QualifiedName,
    /// NUL-terminated strings, as hexadecimal digits.
    pub arguments: String,
    /// `pg_proc.prosrc`
    pub source_text: String,
    /// The table's owner may call the function, which CREATE TRIGGER requires.
    pub may_call: bool,
    pub comment: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Publication {
    pub name: Ident,
    /// The current role may add tables to it.
    pub mine: bool,
    /// None for all columns.
    pub columns: Option<Vec<Ident>>,
    /// `(…)`
    pub filter: Option<String>,
}

/// An object of CREATE STATISTICS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Statistics {
    pub columns: Vec<Ident>,
    pub kinds: Vec<String>,
    /// None for the default.
    #[serde(default)]
    pub target: Option<i32>,
    pub comment: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Quoted role name, or `PUBLIC`
    pub grantee: String,
    pub privilege: String,
    pub grantable: bool,
    /// None for a grant on the whole table.
    pub column: Option<Ident>,
}

impl Shape {
    pub fn primary_key(&self) -> Option<&TableIndex> {
        self.indexes.iter().find(|i| i.primary)
    }

    pub fn exclusions(&self) -> impl Iterator<Item = &TableIndex> {
        self.indexes.iter().filter(|i| i.exclusion)
    }

    pub fn column(&self, name: &Ident) -> Option<&TableColumn> {
        self.columns.iter().find(|c| c.name == *name)
    }

    /// Column names of the primary key; empty where there is none.
    pub fn key_columns(&self) -> Vec<Ident> {
        self.primary_key()
            .map(TableIndex::plain_columns)
            .unwrap_or_default()
    }

    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.name.as_str())
    }
}

impl TableIndex {
    /// Names of those key columns that are plain columns.
    pub fn plain_columns(&self) -> Vec<Ident> {
        self.columns.iter().filter_map(|c| c.name.clone()).collect()
    }
}

impl TableColumn {
    /// Whether the server generates the value: sequence, identity or random uuid.
    pub fn is_surrogate(&self) -> bool {
        self.identity.is_some()
            || self.default.as_deref().is_some_and(|d| {
                d.starts_with("nextval(")
                    || d.contains("gen_random_uuid(")
                    || d.contains("uuid_generate_v")
            })
    }
}

impl TableTrigger {
    /// Whether it may change a row that is inserted or updated: BEFORE, FOR EACH ROW (the bits are in catalog/pg_trigger.h).
    pub fn changes_rows(&self) -> bool {
        const ROW_BEFORE: i16 = (1 << 0) | (1 << 1);
        const INSERT_OR_UPDATE: i16 = (1 << 2) | (1 << 4);
        self.bits & ROW_BEFORE == ROW_BEFORE && self.bits & INSERT_OR_UPDATE != 0
    }

    pub fn arguments(&self) -> Vec<String> {
        let digits = self.arguments.as_bytes().chunks_exact(2);
        let bytes: Vec<u8> = digits
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let ended = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
        if bytes.is_empty() {
            return Vec::new();
        }
        let texts = ended.split(|b| *b == 0);
        texts
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    }
}
