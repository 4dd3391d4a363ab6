//! The extension's triggers, both as CREATE TRIGGER text and as pg_trigger stores them, from one definition, so that an
//! existing trigger can be compared with its definition.

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
pub enum FiringEvent {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// The row events.
pub const ROWS: &[FiringEvent] = &[
    FiringEvent::Insert,
    FiringEvent::Update,
    FiringEvent::Delete,
];

#[derive(Clone, Debug)]
pub struct TriggerDefinition {
    pub name: Ident,
    pub timing: Timing,
    pub on: &'static [FiringEvent],
    pub level: Level,
    pub when: Option<String>,
    /// In schema `mig`.
    pub function: &'static str,
    pub arguments: Vec<String>,
}

impl TriggerDefinition {
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

impl FiringEvent {
    fn text(self) -> &'static str {
        match self {
            FiringEvent::Insert => "INSERT",
            FiringEvent::Update => "UPDATE",
            FiringEvent::Delete => "DELETE",
            FiringEvent::Truncate => "TRUNCATE",
        }
    }

    fn bit(self) -> i16 {
        match self {
            FiringEvent::Insert => 1 << 2,
            FiringEvent::Delete => 1 << 3,
            FiringEvent::Update => 1 << 4,
            FiringEvent::Truncate => 1 << 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgrx::pg_sys;

    #[test]
    fn text_and_bits_say_the_same() {
        let mut made = TriggerDefinition {
            name: "t".into(),
            timing: Timing::Before,
            on: &[
                FiringEvent::Insert,
                FiringEvent::Update,
                FiringEvent::Delete,
                FiringEvent::Truncate,
            ],
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
        made.on = &[FiringEvent::Delete];
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
        made.on = &[FiringEvent::Update];
        assert_eq!(
            made.bits() as u32,
            pg_sys::TRIGGER_TYPE_UPDATE | pg_sys::TRIGGER_TYPE_ROW
        );
    }
}
