//! Triggers of ours: as CREATE TRIGGER has them and as pg_trigger has them, from one place, so that what runs can be compared with
//! what was made.

use crate::ident::{Ident, Literal, QualifiedName};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    Before,
    After,
    InsteadOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Row,
    Statement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// What rows go through.
pub const ROWS: &[On] = &[On::Insert, On::Update, On::Delete];

#[derive(Clone, Debug)]
pub struct Made {
    pub name: Ident,
    pub timing: Timing,
    pub on: &'static [On],
    pub level: Level,
    pub when: Option<String>,
    /// In schema `mig`.
    pub function: &'static str,
    pub arguments: Vec<String>,
}

impl Made {
    pub fn create(&self, table: &QualifiedName) -> String {
        let timing = match self.timing {
            Timing::Before => "BEFORE",
            Timing::After => "AFTER",
            Timing::InsteadOf => "INSTEAD OF",
        };
        let on: Vec<&str> = self.on.iter().map(|on| on.text()).collect();
        let level = match self.level {
            Level::Row => "ROW",
            Level::Statement => "STATEMENT",
        };
        let when = self.when.as_ref();
        let when = when.map_or_else(String::new, |w| format!(" WHEN ({w})"));
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|a| Literal(a).to_string())
            .collect();
        format!(
            "CREATE TRIGGER {} {timing} {} ON {table} FOR EACH {level}{when} EXECUTE FUNCTION mig.{}({})",
            self.name,
            on.join(" OR "),
            self.function,
            arguments.join(", ")
        )
    }

    /// `pg_trigger.tgtype` (pg_trigger.h).
    pub fn bits(&self) -> i16 {
        let timing = match self.timing {
            Timing::Before => 1 << 1,
            Timing::After => 0,
            Timing::InsteadOf => 1 << 6,
        };
        let on = self.on.iter().fold(0, |all, on| all | on.bit());
        i16::from(self.level == Level::Row) | timing | on
    }
}

impl On {
    fn text(self) -> &'static str {
        match self {
            On::Insert => "INSERT",
            On::Update => "UPDATE",
            On::Delete => "DELETE",
            On::Truncate => "TRUNCATE",
        }
    }

    fn bit(self) -> i16 {
        match self {
            On::Insert => 1 << 2,
            On::Delete => 1 << 3,
            On::Update => 1 << 4,
            On::Truncate => 1 << 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgrx::pg_sys;

    #[test]
    fn text_and_bits_say_the_same() {
        let mut made = Made {
            name: "t".into(),
            timing: Timing::Before,
            on: &[On::Insert, On::Update, On::Delete, On::Truncate],
            level: Level::Statement,
            when: None,
            function: "guard",
            arguments: vec!["o'clock".into()],
        };
        assert_eq!(
            made.create(&QualifiedName::new("public", "a")),
            "CREATE TRIGGER \"t\" BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON \"public\".\"a\" FOR EACH STATEMENT \
             EXECUTE FUNCTION mig.guard('o''clock')"
        );
        let all = pg_sys::TRIGGER_TYPE_INSERT
            | pg_sys::TRIGGER_TYPE_UPDATE
            | pg_sys::TRIGGER_TYPE_DELETE
            | pg_sys::TRIGGER_TYPE_TRUNCATE;
        assert_eq!(made.bits() as u32, all | pg_sys::TRIGGER_TYPE_BEFORE);
        made.on = &[On::Delete];
        made.level = Level::Row;
        made.timing = Timing::InsteadOf;
        made.when = Some("OLD.id > 0".into());
        assert!(
            made.create(&QualifiedName::new("public", "a"))
                .contains(" INSTEAD OF DELETE ON \"public\".\"a\" FOR EACH ROW WHEN (OLD.id > 0) ")
        );
        assert_eq!(
            made.bits() as u32,
            pg_sys::TRIGGER_TYPE_DELETE | pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_INSTEAD
        );
        made.timing = Timing::After;
        made.on = &[On::Update];
        assert_eq!(
            made.bits() as u32,
            pg_sys::TRIGGER_TYPE_UPDATE | pg_sys::TRIGGER_TYPE_ROW
        );
    }
}
