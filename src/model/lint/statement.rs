//! A statement as far as the rules need it: a simplified form of PostgreSQL's parse tree.

use crate::ident::{Ident, QualifiedName};

/// A name as written: optional schema, and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WrittenName {
    pub schema: Option<String>,
    pub name: String,
}

impl WrittenName {
    /// The quoted form, for SQL.
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => QualifiedName::new(schema, &self.name).to_string(),
            None => Ident::from(self.name.as_str()).to_string(),
        }
    }

    /// The plain form, for messages.
    pub fn plain(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// One statement of a file.
#[derive(Clone, Debug)]
pub struct LintStatement {
    /// Counted from 1.
    pub line: i32,
    pub text: String,
    /// PostgreSQL's command tag, for example `ALTER TABLE`.
    pub tag: String,
    pub act: Act,
}

#[derive(Clone, Debug)]
pub enum Act {
    Begin,
    Commit,
    Rollback,
    Set {
        name: String,
        value: Option<String>,
    },
    CreateTable {
        table: WrittenName,
        temporary: bool,
        columns: Vec<ColumnDefinition>,
        constraints: Vec<Constraint>,
        partition_of: Option<WrittenName>,
    },
    AlterTable {
        table: WrittenName,
        /// The lock that the server takes for these changes together.
        lock: TableLock,
        changes: Vec<TableChange>,
    },
    CreateIndex {
        table: WrittenName,
        name: Option<String>,
        concurrently: bool,
        if_not_exists: bool,
    },
    Reindex {
        table: Option<WrittenName>,
        index: Option<WrittenName>,
        concurrently: bool,
    },
    Drop {
        what: Dropped,
        names: Vec<WrittenName>,
        concurrently: bool,
        cascade: bool,
    },
    Rename {
        what: Renamed,
        table: WrittenName,
        from: Option<String>,
        to: String,
    },
    MoveSchema {
        table: WrittenName,
    },
    Update {
        table: WrittenName,
        /// Each column that is set, with the columns that its value is computed from.
        set: Vec<(String, Vec<String>)>,
        everything: bool,
    },
    Delete {
        table: WrittenName,
        everything: bool,
    },
    Insert {
        table: WrittenName,
        from_query: bool,
    },
    Truncate {
        tables: Vec<WrittenName>,
        cascade: bool,
    },
    Lock {
        tables: Vec<WrittenName>,
        mode: TableLock,
    },
    VacuumFull {
        tables: Vec<WrittenName>,
    },
    Cluster {
        table: Option<WrittenName>,
    },
    Refresh {
        view: WrittenName,
        concurrently: bool,
    },
    CreateTrigger {
        table: WrittenName,
    },
    CreatePolicy {
        table: WrittenName,
    },
    /// Adds or renames an enum value.
    AlterEnum {
        added: Option<String>,
    },
    /// `body` is a program in `language`.
    Function {
        body: String,
        language: String,
        procedure: bool,
    },
    Do {
        body: String,
        language: String,
        checked: BlockCheck,
    },
    Select {
        from: Vec<WrittenName>,
        /// Tables that a WITH writes.
        written: Vec<WrittenName>,
        /// FOR UPDATE and the like.
        locks_rows: bool,
        calls: Vec<String>,
    },
    /// Cannot run in a transaction block.
    Alone,
    /// Parsed, but none of the above.
    Other,
    /// Not valid SQL for this server.
    Invalid {
        message: String,
    },
    /// Not passed to the server's parser.
    Unread {
        why: String,
    },
    /// A psql command.
    Meta,
}

/// PL/pgSQL's verdict on a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockCheck {
    /// No error, or not checked.
    Fine,
    Wrong(String),
    TooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    Table,
    Index,
    View,
    Trigger,
    Schema,
    Database,
    Function,
    Type,
    Sequence,
    Extension,
    Other,
}

impl Dropped {
    /// The name of a kind of object on which tables may depend by a column, a default, a constraint or a trigger.
    pub fn holder(self) -> Option<&'static str> {
        match self {
            Dropped::Schema => Some("schema"),
            Dropped::Function => Some("function"),
            Dropped::Type => Some("type"),
            Dropped::Sequence => Some("sequence"),
            Dropped::Extension => Some("extension"),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renamed {
    Table,
    View,
    Column,
    Other,
}

#[derive(Clone, Debug)]
pub enum TableChange {
    AddColumn(ColumnDefinition),
    DropColumn {
        name: String,
    },
    ColumnType {
        column: String,
        to: ColumnType,
        using: bool,
    },
    SetNotNull {
        column: String,
    },
    Add(Constraint),
    Validate {
        constraint: String,
    },
    Attach {
        partition: WrittenName,
    },
    Detach {
        concurrently: bool,
    },
    /// Rewrites every row or every page: SET LOGGED, SET TABLESPACE, SET ACCESS METHOD and the like.
    Rewrite {
        what: &'static str,
    },
    DisableTrigger,
    EnableRowSecurity,
    /// Changes the catalog only.
    Catalog,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ColumnType {
    /// PostgreSQL's name: `timestamptz`, `varchar`.
    pub name: String,
    pub modifiers: Vec<i32>,
    pub array: bool,
}

impl ColumnType {
    pub fn text(&self) -> String {
        let modifiers: Vec<String> = self.modifiers.iter().map(i32::to_string).collect();
        let modifiers = match modifiers.is_empty() {
            true => String::new(),
            false => format!("({})", modifiers.join(",")),
        };
        let array = if self.array { "[]" } else { "" };
        format!("{}{modifiers}{array}", self.name)
    }
}

#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    pub name: String,
    pub kind: ColumnType,
    pub default: Option<ColumnDefault>,
    pub not_null: bool,
    /// serial, bigserial, GENERATED … AS IDENTITY.
    pub numbered: bool,
    /// GENERATED … STORED.
    pub computed: bool,
    pub constraints: Vec<Constraint>,
}

#[derive(Clone, Debug)]
pub struct ColumnDefault {
    /// Functions that it calls, by unqualified name.
    pub calls: Vec<String>,
    pub is_null: bool,
}

#[derive(Clone, Debug)]
pub struct Constraint {
    pub name: Option<String>,
    pub rule: ConstraintRule,
    pub not_valid: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ConstraintRule {
    /// The column, where the expression is `column IS NOT NULL`.
    Check {
        not_null: Option<String>,
    },
    Unique {
        columns: Vec<String>,
        index: Option<String>,
    },
    Primary {
        columns: Vec<String>,
        index: Option<String>,
    },
    Foreign {
        columns: Vec<String>,
        parent: WrittenName,
    },
    Exclusion,
}

/// Table locks from weak to strong, in PostgreSQL's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableLock {
    AccessShare = 1,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

impl TableLock {
    const ALL: [TableLock; 8] = [
        TableLock::AccessShare,
        TableLock::RowShare,
        TableLock::RowExclusive,
        TableLock::ShareUpdateExclusive,
        TableLock::Share,
        TableLock::ShareRowExclusive,
        TableLock::Exclusive,
        TableLock::AccessExclusive,
    ];

    /// Reads PostgreSQL's lock number (lockdefs.h).
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|l| *l as i32 == number)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            TableLock::AccessShare => "AccessShareLock",
            TableLock::RowShare => "RowShareLock",
            TableLock::RowExclusive => "RowExclusiveLock",
            TableLock::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            TableLock::Share => "ShareLock",
            TableLock::ShareRowExclusive => "ShareRowExclusiveLock",
            TableLock::Exclusive => "ExclusiveLock",
            TableLock::AccessExclusive => "AccessExclusiveLock",
        }
    }

    /// What this lock makes an application wait for: the conflict table in the manual's chapter on explicit locking.
    pub fn blocks(self) -> &'static str {
        match self {
            TableLock::AccessExclusive => "reads and writes",
            TableLock::Exclusive | TableLock::ShareRowExclusive | TableLock::Share => "writes",
            TableLock::ShareUpdateExclusive => "schema changes and VACUUM",
            TableLock::AccessShare | TableLock::RowShare | TableLock::RowExclusive => "nothing",
        }
    }

    /// Whether an application's writes wait for this lock.
    pub fn stops_writes(self) -> bool {
        self >= TableLock::Share
    }
}
