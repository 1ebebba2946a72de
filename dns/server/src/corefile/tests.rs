use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::{Corefile, parse};

fn env() -> BTreeMap<String, String> {
    [
        ("ZONE", "clusterset.local"),
        ("BRACE", "{"),
        ("SELF", "{$SELF}"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn read(text: &str) -> Result<Corefile, String> {
    parse(Path::new("Corefile"), text, &env()).map_err(|error| error.to_string())
}

/// Blocks as `KEYS: STANZA; STANZA`, a stanza as `NAME ARGS{PROPERTY,PROPERTY}`.
fn outline(text: &str) -> String {
    let corefile = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let words = |name: &super::Token, args: &[super::Token]| {
        std::iter::once(name)
            .chain(args)
            .map(|token| token.text.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let blocks = corefile.blocks.iter().map(|block| {
        let stanzas = block.stanzas.iter().map(|stanza| {
            let properties: Vec<_> = stanza
                .properties
                .iter()
                .map(|property| words(&property.name, &property.args))
                .collect();
            let body = if properties.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", properties.join(","))
            };
            words(&stanza.name, &stanza.args) + &body
        });
        format!(
            "{}: {}",
            words(&block.keys[0], &block.keys[1..]),
            stanzas.collect::<Vec<_>>().join("; ")
        )
    });
    blocks.collect::<Vec<_>>().join(" | ")
}

#[test]
fn shapes_that_coredns_takes() {
    for (text, expected) in [
        ("a {\n x\n}", "a: x"),
        ("a:53 { x\n y z\n}\nb {\n}", "a:53: x; y z | b: "),
        ("a, b\nx\ny", "a b: x; y"),
        ("a,\nb {\nx {\n p 1\n q\n}\n}", "a b: x{p 1,q}"),
        ("a { # comment\n x y#z\n}", "a: x y"),
        (
            "a {\n x \"two words\" \"q\\\"uote\" \"{\"\n}",
            "a: x two words q\"uote {",
        ),
        (
            "{$ZONE}:53 {%ZONE%} {\n x {$NONE}y\n}",
            "clusterset.local:53 clusterset.local: x y",
        ),
        ("a {\n x {$BRACE} {$SELF}\n}", "a: x { {$SELF}"),
        ("a {\n x {common} {\n p\n }\n}", "a: x {common}{p}"),
        (
            "(s) {\n x {\n p\n }\n}\na {\n import s\n y\n}\nb {\n import s\n}",
            "a: x{p}; y | b: x{p}",
        ),
        (
            "(s) {\n p 1\n q\n}\na {\n x {\n import s\n r\n }\n}",
            "a: x{p 1,q,r}",
        ),
        ("\u{feff}a {\r\n x\r\n}\r\n", "a: x"),
    ] {
        assert_eq!(outline(text), expected, "{text}");
    }
}

#[test]
fn errors_name_the_line() {
    for (text, expected) in [
        ("", "Corefile:1: no server block"),
        (
            "a {\n x",
            "Corefile:1: a block that starts here does not end",
        ),
        (
            "a {\n x {\n p\n",
            "Corefile:2: a block that starts here does not end",
        ),
        ("a {\n x }\n", "Corefile:2: unexpected '}'"),
        (
            "a {\n x \"open\n\n",
            "Corefile:2: a quoted text does not end",
        ),
        ("a,", "Corefile:1: another zone is expected"),
        ("a {\n}\n}", "Corefile:3: unexpected '}'"),
        ("a {\n import\n}", "Corefile:2: import takes one argument"),
        (
            "a {\n\n import no-such-file\n}",
            "Corefile:3: cannot import no-such-file: ",
        ),
        ("a {\n import x*y*\n}", "Corefile:2: import pattern 'x*y*'"),
        (
            "(s) {\n}\n(s) {\n}",
            "Corefile:3: snippet 's' is there already, at Corefile:1",
        ),
        (
            "(s) {\n x\n import s\n}\na {\n import s\n}",
            "Corefile:3: imports expand to more than",
        ),
    ] {
        let error = read(text).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn files_are_imported_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("conf.d")).unwrap();
    std::fs::write(at("conf.d/b.conf"), "b {\n y\n}\n").unwrap();
    std::fs::write(at("conf.d/a.conf"), "a {\n x\n import ../more\n}\n").unwrap();
    std::fs::write(at("conf.d/other"), "}").unwrap();
    std::fs::write(at("more"), "\nz }\n").unwrap();
    let load = || {
        parse(
            &at("Corefile"),
            "import conf.d/*.conf\nimport none.d*\n",
            &env(),
        )
    };
    let error = load().unwrap_err().to_string();
    assert!(error.contains("more:2: unexpected '}'"), "{error}");

    std::fs::write(at("more"), "z\n").unwrap();
    let corefile = load().unwrap();
    let keys: Vec<_> = corefile
        .blocks
        .iter()
        .map(|block| &*block.keys[0].text)
        .collect();
    assert_eq!(keys, ["a", "b"]);
    assert_eq!(corefile.files.len(), 4);
}

proptest! {
    #[test]
    fn never_panics(text in "(import |[a-z.:]|[{}()\"#\\\\,$% \n]|\\PC){0,120}") {
        let _ = read(&text.replace("import /", "import ./"));
    }

    #[test]
    fn a_place_is_within_the_text(text in "[a-c{}\"\n ]{0,80}") {
        if let Err(error) = parse(Path::new("Corefile"), &text, &env()) {
            prop_assert!((1..=text.matches('\n').count() as u32 + 1).contains(&error.place.line));
        }
    }
}
