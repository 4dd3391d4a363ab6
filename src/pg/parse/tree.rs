//! Converts one statement of the parse tree to a plain value.

use super::alter;
use super::node::{
    Constant, Node, constant, is_temporary, items, last_two_parts, range, strings, tag, text,
};
use super::parts::NameParts;
use crate::model::lint::statement::{Act, BlockCheck, Dropped, Renamed, TableLock, WrittenName};
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

/// # Safety
/// `node` is a statement as `raw_parser` returned it.
pub unsafe fn act(node: Node) -> Act {
    // SAFETY: each node is cast according to its tag.
    unsafe {
        match tag(node) {
            NodeTag::T_TransactionStmt => transaction(&*node.cast()),
            NodeTag::T_VariableSetStmt => set(&*node.cast()),
            NodeTag::T_CreateStmt => alter::create_table(&*node.cast()),
            NodeTag::T_CreateTableAsStmt => {
                read_create_as((*(*node.cast::<pg_sys::CreateTableAsStmt>()).into).rel)
            }
            NodeTag::T_AlterTableStmt => alter::alter_table(&*node.cast()),
            NodeTag::T_IndexStmt => index(&*node.cast()),
            NodeTag::T_ReindexStmt => reindex(&*node.cast()),
            NodeTag::T_DropStmt => read_drop(&*node.cast()),
            NodeTag::T_DropdbStmt => Act::Drop {
                what: Dropped::Database,
                names: Vec::new(),
                concurrently: true,
                cascade: false,
            },
            NodeTag::T_RenameStmt => read_rename(&*node.cast()),
            NodeTag::T_AlterObjectSchemaStmt => read_set_schema(&*node.cast()),
            NodeTag::T_UpdateStmt
            | NodeTag::T_DeleteStmt
            | NodeTag::T_InsertStmt
            | NodeTag::T_SelectStmt
            | NodeTag::T_TruncateStmt => data(node),
            NodeTag::T_LockStmt => read_lock(&*node.cast()),
            NodeTag::T_VacuumStmt => vacuum(&*node.cast()),
            NodeTag::T_ClusterStmt => Act::Cluster {
                table: (*node.cast::<pg_sys::ClusterStmt>())
                    .relation
                    .as_mut()
                    .map(|r| range(r)),
            },
            NodeTag::T_RefreshMatViewStmt => {
                let s = &*node.cast::<pg_sys::RefreshMatViewStmt>();
                Act::Refresh {
                    view: range(s.relation),
                    concurrently: s.concurrent,
                }
            }
            NodeTag::T_CreateTrigStmt => Act::CreateTrigger {
                table: range((*node.cast::<pg_sys::CreateTrigStmt>()).relation),
            },
            NodeTag::T_CreatePolicyStmt => Act::CreatePolicy {
                table: range((*node.cast::<pg_sys::CreatePolicyStmt>()).table),
            },
            NodeTag::T_AlterEnumStmt => read_alter_enum(&*node.cast()),
            NodeTag::T_CreateFunctionStmt => function(&*node.cast()),
            NodeTag::T_DoStmt => block(&*node.cast()),
            NodeTag::T_CreatedbStmt
            | NodeTag::T_AlterSystemStmt
            | NodeTag::T_CreateTableSpaceStmt => Act::Alone,
            _ => Act::Other,
        }
    }
}

unsafe fn transaction(s: &pg_sys::TransactionStmt) -> Act {
    use pg_sys::TransactionStmtKind::{
        TRANS_STMT_BEGIN, TRANS_STMT_COMMIT, TRANS_STMT_ROLLBACK, TRANS_STMT_START,
    };
    match s.kind {
        TRANS_STMT_BEGIN | TRANS_STMT_START => Act::Begin,
        TRANS_STMT_COMMIT => Act::Commit,
        TRANS_STMT_ROLLBACK => Act::Rollback,
        _ => Act::Other,
    }
}

unsafe fn set(s: &pg_sys::VariableSetStmt) -> Act {
    // SAFETY: a node of the parser; arguments are constants.
    unsafe {
        let first = items(s.args).into_iter().next();
        let value = first.and_then(|n| constant(n)).map(|c| match c {
            Constant::Number(n) => n.to_string(),
            Constant::Text(text) => text,
            Constant::Null | Constant::Other => String::new(),
        });
        Act::Set {
            name: text(s.name).unwrap_or_default(),
            value,
        }
    }
}

/// CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW.
unsafe fn read_create_as(relation: *mut pg_sys::RangeVar) -> Act {
    // SAFETY: a node of the parser.
    unsafe {
        Act::CreateTable {
            table: range(relation),
            temporary: is_temporary(relation),
            columns: Vec::new(),
            constraints: Vec::new(),
            partition_of: None,
        }
    }
}

unsafe fn index(s: &pg_sys::IndexStmt) -> Act {
    // SAFETY: a node of the parser.
    unsafe {
        Act::CreateIndex {
            table: range(s.relation),
            name: text(s.idxname),
            concurrently: s.concurrent,
            if_not_exists: s.if_not_exists,
        }
    }
}

/// Checks whether an option is present and not switched off.
unsafe fn has_option(options: *mut pg_sys::List, name: &str) -> bool {
    // SAFETY: options are DefElem.
    unsafe {
        items(options).into_iter().any(|o| {
            let o = &*o.cast::<pg_sys::DefElem>();
            text(o.defname).as_deref() == Some(name)
                && (o.arg.is_null() || pg_sys::defGetBoolean(std::ptr::from_ref(o).cast_mut()))
        })
    }
}

unsafe fn reindex(s: &pg_sys::ReindexStmt) -> Act {
    use pg_sys::ReindexObjectType::{REINDEX_OBJECT_INDEX, REINDEX_OBJECT_TABLE};
    // SAFETY: a node of the parser.
    unsafe {
        let relation = s.relation.as_mut().map(|r| range(r));
        Act::Reindex {
            table: relation.clone().filter(|_| s.kind == REINDEX_OBJECT_TABLE),
            index: relation.filter(|_| s.kind == REINDEX_OBJECT_INDEX),
            concurrently: has_option(s.params, "concurrently"),
        }
    }
}

unsafe fn read_drop(s: &pg_sys::DropStmt) -> Act {
    use pg_sys::ObjectType as O;
    let what = match s.removeType {
        O::OBJECT_TABLE => Dropped::Table,
        O::OBJECT_INDEX => Dropped::Index,
        O::OBJECT_VIEW | O::OBJECT_MATVIEW => Dropped::View,
        O::OBJECT_TRIGGER | O::OBJECT_POLICY | O::OBJECT_RULE => Dropped::Trigger,
        O::OBJECT_SCHEMA => Dropped::Schema,
        O::OBJECT_FUNCTION | O::OBJECT_PROCEDURE | O::OBJECT_ROUTINE | O::OBJECT_AGGREGATE => {
            Dropped::Function
        }
        O::OBJECT_TYPE | O::OBJECT_DOMAIN => Dropped::Type,
        O::OBJECT_SEQUENCE => Dropped::Sequence,
        O::OBJECT_EXTENSION => Dropped::Extension,
        _ => Dropped::Other,
    };
    // SAFETY: objects of these kinds are lists of names; a schema is one name.
    let names = unsafe {
        let parts = items(s.objects).into_iter().map(|o| {
            let mut parts = match tag(o) {
                NodeTag::T_List => strings(o.cast()),
                NodeTag::T_ObjectWithArgs => strings((*o.cast::<pg_sys::ObjectWithArgs>()).objname),
                NodeTag::T_TypeName => strings((*o.cast::<pg_sys::TypeName>()).names),
                NodeTag::T_String => strings(pg_sys::list_make1_impl(
                    NodeTag::T_List,
                    pg_sys::ListCell {
                        ptr_value: o.cast(),
                    },
                )),
                _ => Vec::new(),
            };
            if what == Dropped::Trigger {
                parts.pop();
            }
            last_two_parts(parts)
        });
        parts.flatten().collect()
    };
    Act::Drop {
        what,
        names,
        concurrently: s.concurrent,
        cascade: s.behavior == pg_sys::DropBehavior::DROP_CASCADE,
    }
}

unsafe fn read_rename(s: &pg_sys::RenameStmt) -> Act {
    use pg_sys::ObjectType as O;
    let what = match s.renameType {
        O::OBJECT_TABLE => Renamed::Table,
        O::OBJECT_VIEW | O::OBJECT_MATVIEW => Renamed::View,
        O::OBJECT_COLUMN => Renamed::Column,
        _ => Renamed::Other,
    };
    // SAFETY: a node of the parser.
    unsafe {
        let table = s.relation.as_mut().map(|r| range(r));
        match table {
            None => Act::Other,
            Some(table) => Act::Rename {
                what,
                table,
                from: text(s.subname),
                to: text(s.newname).unwrap_or_default(),
            },
        }
    }
}

unsafe fn read_set_schema(s: &pg_sys::AlterObjectSchemaStmt) -> Act {
    // SAFETY: a node of the parser.
    unsafe { s.relation.as_mut().map(|r| range(r)) }
        .map_or(Act::Other, |table| Act::MoveSchema { table })
}

unsafe fn data(node: Node) -> Act {
    // SAFETY: each node is cast according to its tag.
    unsafe {
        match tag(node) {
            NodeTag::T_UpdateStmt => {
                let s = &*node.cast::<pg_sys::UpdateStmt>();
                let set = items(s.targetList).into_iter().map(|t| {
                    let t = &*t.cast::<pg_sys::ResTarget>();
                    (
                        text(t.name).unwrap_or_default(),
                        NameParts::from_node(t.val).columns,
                    )
                });
                Act::Update {
                    table: range(s.relation),
                    set: set.collect(),
                    everything: s.whereClause.is_null() && s.fromClause.is_null(),
                }
            }
            NodeTag::T_DeleteStmt => {
                let s = &*node.cast::<pg_sys::DeleteStmt>();
                Act::Delete {
                    table: range(s.relation),
                    everything: s.whereClause.is_null() && s.usingClause.is_null(),
                }
            }
            NodeTag::T_InsertStmt => {
                let s = &*node.cast::<pg_sys::InsertStmt>();
                let from_query = tag(s.selectStmt) == NodeTag::T_SelectStmt
                    && !(*s.selectStmt.cast::<pg_sys::SelectStmt>())
                        .fromClause
                        .is_null();
                Act::Insert {
                    table: range(s.relation),
                    from_query,
                }
            }
            NodeTag::T_TruncateStmt => {
                let s = &*node.cast::<pg_sys::TruncateStmt>();
                Act::Truncate {
                    tables: ranges(s.relations),
                    cascade: s.behavior == pg_sys::DropBehavior::DROP_CASCADE,
                }
            }
            _ => {
                let s = &*node.cast::<pg_sys::SelectStmt>();
                if let Some(into) = s.intoClause.as_ref() {
                    return read_create_as(into.rel);
                }
                let parts = NameParts::from_node(node);
                Act::Select {
                    from: parts.tables,
                    written: parts.written,
                    locks_rows: parts.locks_rows,
                    calls: parts.calls,
                }
            }
        }
    }
}

unsafe fn ranges(list: *mut pg_sys::List) -> Vec<WrittenName> {
    // SAFETY: a list of RangeVar.
    unsafe { items(list).into_iter().map(|r| range(r.cast())).collect() }
}

unsafe fn read_lock(s: &pg_sys::LockStmt) -> Act {
    // SAFETY: a node of the parser.
    let tables = unsafe { ranges(s.relations) };
    TableLock::from_number(s.mode).map_or(Act::Other, |mode| Act::Lock { tables, mode })
}

unsafe fn vacuum(s: &pg_sys::VacuumStmt) -> Act {
    // SAFETY: a node of the parser.
    unsafe {
        if !s.is_vacuumcmd {
            return Act::Other;
        }
        if !has_option(s.options, "full") {
            return Act::Alone;
        }
        let tables = items(s.rels).into_iter().filter_map(|r| {
            let r = &*r.cast::<pg_sys::VacuumRelation>();
            r.relation.as_mut().map(|r| range(r))
        });
        Act::VacuumFull {
            tables: tables.collect(),
        }
    }
}

unsafe fn read_alter_enum(s: &pg_sys::AlterEnumStmt) -> Act {
    // SAFETY: a node of the parser.
    let added = unsafe { s.oldVal.is_null().then(|| text(s.newVal)).flatten() };
    Act::AlterEnum { added }
}

/// Returns the language and the text of a function or a block.
unsafe fn program(options: *mut pg_sys::List) -> (String, Option<String>) {
    // SAFETY: options are DefElem; AS has a list for a function, one string for DO.
    unsafe {
        let (mut language, mut body) = (None, None);
        for option in items(options) {
            let option = &*option.cast::<pg_sys::DefElem>();
            let value = match tag(option.arg) {
                NodeTag::T_List => strings(option.arg.cast()).into_iter().next(),
                _ => strings(pg_sys::list_make1_impl(
                    NodeTag::T_List,
                    pg_sys::ListCell {
                        ptr_value: option.arg.cast(),
                    },
                ))
                .into_iter()
                .next(),
            };
            match text(option.defname).as_deref() {
                Some("language") => language = value,
                Some("as") => body = value,
                _ => {}
            }
        }
        (language.unwrap_or_else(|| "plpgsql".into()), body)
    }
}

unsafe fn function(s: &pg_sys::CreateFunctionStmt) -> Act {
    // SAFETY: a node of the parser.
    let (language, body) = unsafe { program(s.options) };
    body.map_or(Act::Other, |body| Act::Function {
        body,
        language,
        procedure: s.is_procedure,
    })
}

unsafe fn block(s: &pg_sys::DoStmt) -> Act {
    // SAFETY: a node of the parser.
    let (language, body) = unsafe { program(s.args) };
    Act::Do {
        body: body.unwrap_or_default(),
        language,
        checked: BlockCheck::Fine,
    }
}
