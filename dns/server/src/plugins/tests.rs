use super::DIRECTIVES;

#[test]
fn every_directive_is_documented_and_found() {
    let docs = include_str!("../../../../docs/configuration.md");
    for directive in DIRECTIVES {
        let heading = format!("\n### {}\n", directive.name());
        assert!(
            docs.contains(&heading),
            "docs/configuration.md has no section {heading:?}"
        );
    }
    let mut names: Vec<_> = DIRECTIVES
        .iter()
        .map(|directive| directive.name())
        .collect();
    names.dedup();
    assert_eq!(names.len(), DIRECTIVES.len());
}
