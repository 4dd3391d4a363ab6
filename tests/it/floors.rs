//! The house has floors, and a file uses lower floors only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. Modules of one floor know nothing of each other.
const FLOORS: [&[&str]; 13] = [
    &["ident"],
    &["error"],
    &["model"],
    &["sqlgen", "settings"],
    &["pg"],
    &["row_writer"],
    &["store"],
    &["relation"],
    &["preflight", "steps"],
    &["engine"],
    &["worker", "dual_write"],
    &["api"],
    &["lib"],
];

/// Rooms whose files stand side by side and must not use each other.
const NO_NEIGHBOURS: [&str; 1] = ["steps"];

#[test]
fn imports_run_downward_only() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let me = room(&file);
        for used in imports(&text) {
            let mut parts = used.split("::");
            let theirs = parts.next().unwrap_or_default();
            if theirs != me && floor(theirs) >= floor(&me) {
                wrong.push(format!("{}: {me} uses {theirs}", file.display()));
            }
            let neighbour = parts.next().unwrap_or_default();
            let module = neighbour.starts_with(|c: char| c.is_lowercase());
            if theirs == me && NO_NEIGHBOURS.contains(&theirs) && module {
                wrong.push(format!("{}: uses its neighbour {used}", file.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "upward or sideways imports:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn only_the_rooms_for_it_speak_to_postgres() {
    // `worker` and `dual_write` are entry points of the server; `error` names its codes only.
    let allowed = [
        "pg",
        "row_writer",
        "worker",
        "dual_write",
        "api",
        "settings",
        "lib",
    ];
    for (file, text) in sources() {
        if allowed.contains(&room(&file).as_str()) {
            continue;
        }
        for (n, line) in code(&text).enumerate() {
            let speaks =
                line.contains("Spi::") || line.contains("pg_sys::SPI") || line.contains("unsafe {");
            assert!(!speaks, "{}:{}: {line}", file.display(), n + 1);
        }
    }
}

#[test]
fn every_unsafe_says_why_it_is_safe() {
    for (file, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            if !line.contains("unsafe {") {
                continue;
            }
            let before = &lines[n.saturating_sub(8)..=n];
            assert!(
                before.iter().any(|l| l.contains("SAFETY:")),
                "{}:{}: {line}",
                file.display(),
                n + 1
            );
        }
    }
}

#[test]
fn files_stay_small() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= 400,
            "{} has {lines} lines: talk about it",
            file.display()
        );
    }
}

/// Each file of the house, and the files that it uses: by `crate::…`, by `super::…`, and by the modules that it declares.
fn used_files() -> BTreeMap<String, BTreeSet<String>> {
    let files: BTreeMap<String, String> = sources()
        .into_iter()
        .map(|(file, text)| (module(&file), text))
        .collect();
    let mut found = BTreeMap::new();
    for (me, text) in &files {
        let mut used = BTreeSet::new();
        let mut named = paths(text, me);
        // What is imported by its last name is used by that: `use crate::store::job;`, then `job::open(…)`.
        let further: Vec<String> = named.iter().flat_map(|p| continued(text, p)).collect();
        named.extend(further);
        for path in named {
            // The longest module that the path begins with.
            let parts: Vec<&str> = path.split("::").collect();
            let longest = (1..=parts.len())
                .rev()
                .map(|n| parts[..n].join("::"))
                .find(|m| files.contains_key(m));
            used.extend(longest.filter(|m| m != me));
        }
        found.insert(me.clone(), used);
    }
    found
}

/// `steps::copy` for src/steps/copy/mod.rs.
fn module(file: &Path) -> String {
    let inside = file
        .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
        .expect("below src");
    let text = inside.with_extension("").to_string_lossy().into_owned();
    let text = text.replace(std::path::MAIN_SEPARATOR, "::");
    text.strip_suffix("::mod").unwrap_or(&text).to_owned()
}

/// What a file names by `crate::` and `super::`, from the root of the crate.
fn paths(text: &str, me: &str) -> Vec<String> {
    let mut found = imports(text);
    let whole: String = code(text)
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut base: Vec<&str> = me.split("::").collect();
    base.pop();
    for after in whole.split("super::").skip(1) {
        if after.starts_with("super::") || after.starts_with('*') {
            continue;
        }
        let above = base.join("::");
        for path in imports(&format!("crate::{after}")).into_iter().take(8) {
            found.push(format!("{above}::{path}"));
            if !after.starts_with('{') {
                break;
            }
        }
    }
    found
}

/// Paths that begin with the last name of an imported one.
fn continued(text: &str, imported: &str) -> Vec<String> {
    let last = imported.rsplit("::").next().unwrap_or_default();
    let begin = format!("{last}::");
    let code: String = code(text)
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&begin) {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' || before == ':' {
            continue;
        }
        let rest = code[at + begin.len()..].chars();
        let rest: String = rest
            .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
            .collect();
        found.push(format!("{imported}::{rest}"));
    }
    found
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let used = used_files();
    // All that a file uses, near or far.
    let mut reach = used.clone();
    loop {
        let mut grown = reach.clone();
        for all in grown.values_mut() {
            let further: Vec<String> = all.iter().flat_map(|m| reach[m].iter().cloned()).collect();
            all.extend(further);
        }
        if grown == reach {
            break;
        }
        reach = grown;
    }
    let circle = |m: &&String| reach[*m].contains(*m);
    let lines: Vec<String> = used
        .keys()
        .filter(circle)
        .map(|m| {
            let back = used[m].iter().filter(|u| reach[*u].contains(m));
            let back: Vec<&str> = back.map(String::as_str).collect();
            format!("{m} -> {}", back.join(", "))
        })
        .collect();
    assert!(lines.is_empty(), "circles of files:\n{}", lines.join("\n"));
}

#[test]
fn a_type_has_its_name_for_itself() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in sources() {
        for line in code(&text) {
            let line = line.trim_start();
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            let line = line.strip_prefix("pub(super) ").unwrap_or(line);
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let declared = ["struct ", "enum ", "trait ", "union "];
            if let Some(rest) = declared.iter().find_map(|d| line.strip_prefix(d)) {
                let name = rest.chars().take_while(|c| c.is_alphanumeric());
                let place = file.display().to_string();
                places.entry(name.collect()).or_default().push(place);
            }
        }
    }
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "types of one name: {places:#?}");
}

/// Names that say neither what a function does nor what it returns.
#[test]
fn no_function_is_named_by_a_participle_or_a_preposition() {
    const NO_NAMES: [&str; 27] = [
        "of", "at", "by", "in", "on", "to", "up", "off", "for", "with", "within", "without",
        "behind", "before", "after", "between", "below", "beside", "via", "told", "made", "given",
        "held", "kept", "found", "gone", "said",
    ];
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for line in code(&text) {
            let Some((_, after)) = line.split_once("fn ") else {
                continue;
            };
            let name: String = after
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let lone = !name.contains('_');
            let participle = name.ends_with("ed") || name.ends_with("ing") && name != "string";
            if lone && (participle || NO_NAMES.contains(&name.as_str())) {
                wrong.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder reads") {
            let path = entry.expect("the entry reads").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test(&path) {
                found.push((
                    path.clone(),
                    fs::read_to_string(&path).expect("the file reads"),
                ));
            }
        }
    }
    assert!(found.len() > 30, "the sources are found");
    found
}

/// Test code may look up: it stands beside the house.
fn is_test(file: &Path) -> bool {
    file.ends_with("tests.rs") || file.ends_with("fixture.rs")
}

/// `steps` for src/steps/copy.rs, `worker` for src/worker.rs.
fn room(file: &Path) -> String {
    let inside = file
        .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
        .expect("below src");
    let first = inside
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(room: &str) -> usize {
    FLOORS
        .iter()
        .position(|f| f.contains(&room))
        .unwrap_or_else(|| panic!("{room} stands on no floor: add it to FLOORS"))
}

/// Lines outside `#[cfg(test)]` modules, which stand at the end of a file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|l| !l.starts_with("#[cfg(test)]"))
}

/// Every path after `crate::`, braces taken apart; in `use` and in the middle of code.
fn imports(text: &str) -> Vec<String> {
    let whole: String = code(text)
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for after in whole.split("crate::").skip(1) {
        let head: String = after
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
            .collect();
        if let Some(list) = after[head.len()..].strip_prefix('{') {
            let inner = &list[..list.find('}').unwrap_or(0)];
            found.extend(
                inner
                    .split(',')
                    .map(|name| format!("{head}{}", name.trim())),
            );
        } else {
            found.push(head);
        }
    }
    found.retain(|p| !p.is_empty() && p.starts_with(|c: char| c.is_lowercase()));
    found
}

#[test]
fn there_is_one_version_and_every_script_pins_its_path() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |p: &Path| fs::read_to_string(p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
    let version = env!("CARGO_PKG_VERSION");
    let named = format!("\"version\": \"{version}\"");
    assert_eq!(read(&root.join("META.json")).matches(&named).count(), 2);
    let mut to = Vec::new();
    for folder in ["sql", "sql/install"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "sql") {
                continue;
            }
            let text = read(&path);
            let code = text
                .lines()
                .find(|l| !l.trim().is_empty() && !l.starts_with("--"));
            let pins = "SET LOCAL search_path = pg_catalog, pg_temp;";
            assert_eq!(code, Some(pins), "{}", path.display());
            // A database of any encoding takes it.
            assert!(text.is_ascii(), "{}", path.display());
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            to.extend(name.rsplit_once("--").map(|(_, v)| v.to_owned()));
        }
    }
    assert!(
        to.contains(&version.to_owned()),
        "no script leads to {version}"
    );
}

#[test]
fn a_view_asks_as_the_code_does() {
    let views = include_str!("../../sql/install/20_views.sql");
    for query in [
        include_str!("../../sql/query/own_triggers.sql"),
        include_str!("../../sql/query/relation_kinds.sql"),
    ] {
        assert!(views.contains(&format!("{};", query.trim_end())), "{query}");
    }
}
