//! Reads nodes of a parse tree: names, lists and constants.

use crate::model::lint::statement::WrittenName;
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use std::ffi::{CStr, c_char};

pub type Node = *mut pg_sys::Node;

/// # Safety
/// `node` is a node or null.
pub unsafe fn tag(node: Node) -> NodeTag {
    // SAFETY: upheld by the caller.
    unsafe { node.as_ref() }.map_or(NodeTag::T_Invalid, |n| n.type_)
}

/// # Safety
/// `p` is a C string or null.
pub unsafe fn text(p: *const c_char) -> Option<String> {
    // SAFETY: upheld by the caller.
    (!p.is_null()).then(|| unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned())
}

/// # Safety
/// `list` is a list of pointers or null.
pub unsafe fn items(list: *mut pg_sys::List) -> Vec<Node> {
    // SAFETY: upheld by the caller; the length is the list's own.
    unsafe {
        let length = list.as_ref().map_or(0, |l| l.length);
        (0..length)
            .map(|n| pg_sys::list_nth(list, n).cast())
            .collect()
    }
}

/// # Safety
/// `node` is a parser node or null.
#[cfg(not(feature = "pg14"))]
unsafe fn string(node: Node) -> Option<String> {
    // SAFETY: the tag is checked before the cast.
    unsafe {
        (tag(node) == NodeTag::T_String)
            .then(|| text((*node.cast::<pg_sys::String>()).sval))
            .flatten()
    }
}

/// # Safety
/// `node` is a parser node or null.
#[cfg(feature = "pg14")]
unsafe fn string(node: Node) -> Option<String> {
    // SAFETY: the tag is checked before the cast.
    unsafe {
        (tag(node) == NodeTag::T_String)
            .then(|| text((*node.cast::<pg_sys::Value>()).val.str_))
            .flatten()
    }
}

/// Returns the names in a list, of a column, a type or a function, without items that are no names, such as a star.
///
/// # Safety
/// `list` is a list of the parser or null.
pub unsafe fn strings(list: *mut pg_sys::List) -> Vec<String> {
    // SAFETY: upheld by the caller.
    unsafe { items(list).into_iter().filter_map(|n| string(n)).collect() }
}

/// # Safety
/// `range` is a parser node.
pub unsafe fn range(range: *mut pg_sys::RangeVar) -> WrittenName {
    // SAFETY: upheld by the caller.
    unsafe {
        WrittenName {
            schema: text((*range).schemaname),
            name: text((*range).relname).unwrap_or_default(),
        }
    }
}

/// Returns the last two parts of a qualified name.
pub fn last_two_parts(mut parts: Vec<String>) -> Option<WrittenName> {
    let name = parts.pop()?;
    Some(WrittenName {
        schema: parts.pop(),
        name,
    })
}

/// A constant: a number, a string, or null.
#[derive(Debug, PartialEq)]
pub enum Constant {
    Null,
    Number(i32),
    Text(String),
    Other,
}

/// # Safety
/// `node` is a parser node or null.
#[cfg(not(feature = "pg14"))]
pub unsafe fn constant(node: Node) -> Option<Constant> {
    // SAFETY: the tags are checked before the casts.
    unsafe {
        if tag(node) != NodeTag::T_A_Const {
            return None;
        }
        let constant = &*node.cast::<pg_sys::A_Const>();
        if constant.isnull {
            return Some(Constant::Null);
        }
        Some(match constant.val.node.type_ {
            NodeTag::T_Integer => Constant::Number(constant.val.ival.ival),
            NodeTag::T_String => Constant::Text(text(constant.val.sval.sval).unwrap_or_default()),
            NodeTag::T_Float => Constant::Text(text(constant.val.fval.fval).unwrap_or_default()),
            _ => Constant::Other,
        })
    }
}

/// # Safety
/// `node` is a parser node or null.
#[cfg(feature = "pg14")]
pub unsafe fn constant(node: Node) -> Option<Constant> {
    // SAFETY: the tags are checked before the casts.
    unsafe {
        if tag(node) != NodeTag::T_A_Const {
            return None;
        }
        let value = &(*node.cast::<pg_sys::A_Const>()).val;
        Some(match value.type_ {
            NodeTag::T_Null => Constant::Null,
            NodeTag::T_Integer => Constant::Number(value.val.ival),
            NodeTag::T_String | NodeTag::T_Float => {
                Constant::Text(text(value.val.str_).unwrap_or_default())
            }
            _ => Constant::Other,
        })
    }
}

/// # Safety
/// `relation` is a parser node.
pub unsafe fn is_temporary(relation: *mut pg_sys::RangeVar) -> bool {
    // SAFETY: upheld by the caller.
    unsafe { (*relation).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP }
}
