use std::fs;
use std::time::Duration;

use subm_dns_core::facts::ClusterId;
use tempfile::TempDir;

use super::*;

fn import(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceImport\n\
         metadata:\n  name: {name}\n  namespace: shop\n\
         spec:\n  type: ClusterSetIP\n  ips: [{ip}]\n  ports: []\n"
    )
}

struct Fixture {
    dir: TempDir,
    folder: Folder,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let folder = Folder::new(dir.path().to_owned());
        Self { dir, folder }
    }

    /// Writes as editors do, so that the file is another one.
    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("to create a folder");
        let new = self.dir.path().join(".new");
        fs::write(&new, text).expect("to write");
        fs::rename(new, path).expect("to rename");
    }

    fn look(&mut self) -> Vec<Event> {
        self.folder.look().expect("to list the folder")
    }

    /// What a look finds, facts by slot in short form, and problems.
    fn look_short(&mut self) -> (Vec<String>, Vec<String>) {
        let (mut facts, mut problems) = (Vec::new(), Vec::new());
        for event in self.look() {
            match event {
                Event::Facts(more) => facts.extend(more.iter().map(short)),
                Event::Problems {
                    object,
                    problems: more,
                } if more.is_empty() => {
                    problems.push(format!("{object}: fine"));
                }
                Event::Problems { problems: more, .. } => {
                    problems.extend(more.iter().map(ToString::to_string));
                }
                other => panic!("not from a look: {other:?}"),
            }
        }
        (facts, problems)
    }
}

fn short(fact: &Fact) -> String {
    match fact {
        Fact::Import(key, Some(import)) => format!("+import {key} {:?}", import.ips),
        Fact::Import(key, None) => format!("-import {key}"),
        Fact::Slice(key, slice) => format!("{}slice {key}", sign(slice.is_some())),
        Fact::LocalSlice(key, slice) => format!("{}local {key}", sign(slice.is_some())),
        Fact::Gateway(key, gateway) => format!("{}gateway {key}", sign(gateway.is_some())),
        Fact::Namespace(name, exists) => format!("{}namespace {name}", sign(*exists)),
        Fact::ClusterProperty(id) => {
            format!("cluster {}", id.as_ref().map_or("none", ClusterId::as_str))
        }
        Fact::Only(..) => unreachable!("a folder tells of each object"),
    }
}

fn sign(exists: bool) -> char {
    if exists { '+' } else { '-' }
}

#[test]
fn changes_come_as_differences() {
    let mut it = Fixture::new();
    it.write("web.yaml", &import("web", "243.0.0.1"));
    it.write("below/db.yml", &import("db", "243.0.0.2"));
    it.write("notes.txt", "not: [a manifest");
    it.write(".hidden.yaml", "not: [a manifest");
    let all = [
        "+namespace shop",
        "+import shop/db [243.0.0.2]",
        "+import shop/web [243.0.0.1]",
    ];
    assert_eq!(it.look_short(), (all.map(String::from).to_vec(), vec![]));
    assert_eq!(it.look(), []);

    it.write("web.yaml", &import("web", "243.0.0.3"));
    assert_eq!(it.look_short().0, ["+import shop/web [243.0.0.3]"]);

    // Moved to another file: no change.
    fs::rename(
        it.dir.path().join("web.yaml"),
        it.dir.path().join("www.yaml"),
    )
    .expect("to rename");
    assert_eq!(it.look(), []);

    fs::remove_dir_all(it.dir.path().join("below")).expect("to remove");
    assert_eq!(it.look_short().0, ["-import shop/db"]);
    fs::remove_file(it.dir.path().join("www.yaml")).expect("to remove");
    assert_eq!(it.look_short().0, ["-namespace shop", "-import shop/web"]);
}

#[test]
fn a_broken_file_keeps_its_last_good_content() {
    let mut it = Fixture::new();
    it.write("web.yaml", &import("web", "243.0.0.1"));
    it.write("db.yaml", &import("db", "243.0.0.2"));
    it.look();

    // A good first document, a broken second; the other file changes all the same.
    let text = format!(
        "{}---\nkind: ServiceImport\nmetadata: {{name: [}}\n",
        import("web", "243.0.0.9")
    );
    it.write("web.yaml", &text);
    it.write("db.yaml", &import("db", "243.0.0.3"));
    let (facts, problems) = it.look_short();
    assert_eq!(facts, ["+import shop/db [243.0.0.3]"]);
    let [problem] = &problems[..] else {
        panic!("one problem: {problems:?}")
    };
    assert!(
        problem.starts_with("web.yaml document 2: line 12, column 18: "),
        "{problem}"
    );
    assert!(
        problem.ends_with("the file's last good content is served"),
        "{problem}"
    );

    it.write("web.yaml", &import("web", "243.0.0.9"));
    let (facts, problems) = it.look_short();
    assert_eq!(facts, ["+import shop/web [243.0.0.9]"]);
    assert_eq!(problems, ["web.yaml: fine"]);
}

#[test]
fn objects_of_a_wrong_shape_count_as_broken() {
    let mut it = Fixture::new();
    it.write("web.yaml", &import("web", "243.0.0.1"));
    it.look();
    for cut in ["spec: x\n", "spec: null\n"] {
        let head = import("web", "243.0.0.1");
        let head = head.split("spec:").next().expect("a head");
        it.write("web.yaml", &format!("{head}{cut}"));
        let (facts, problems) = it.look_short();
        assert_eq!(facts, [""; 0], "{cut}");
        assert!(
            problems[0].starts_with("web.yaml document 1: ServiceImport: object: "),
            "{problems:?}"
        );
    }
}

#[test]
fn a_file_that_was_never_good_gives_its_good_part() {
    let mut it = Fixture::new();
    it.write(
        "a.yaml",
        &format!(
            "{}---\n[broken\n---\n{}",
            import("web", "243.0.0.1"),
            import("db", "243.0.0.2")
        ),
    );
    let (facts, problems) = it.look_short();
    assert_eq!(facts.len(), 3);
    assert_eq!(problems.len(), 1);
    // Still broken, with more in it.
    it.write(
        "a.yaml",
        &format!("[broken\n---\n{}", import("www", "243.0.0.3")),
    );
    assert_eq!(
        it.look_short().0,
        [
            "+import shop/www [243.0.0.3]",
            "-import shop/db",
            "-import shop/web"
        ]
    );
}

#[test]
fn a_file_that_was_just_emptied_waits_for_its_text() {
    let mut it = Fixture::new();
    it.write("web.yaml", &import("web", "243.0.0.1"));
    it.look();
    let path = it.dir.path().join("web.yaml");
    fs::write(&path, "").expect("to truncate");
    assert_eq!(it.look(), []);
    // It stays empty: that is what is meant.
    let old = SystemTime::now() - EMPTY_SETTLES - Duration::from_secs(1);
    fs::File::open(&path)
        .and_then(|file| file.set_modified(old))
        .expect("to set a time");
    assert_eq!(it.look_short().0, ["-namespace shop", "-import shop/web"]);
}

#[test]
fn a_mounted_config_map_is_read_by_its_links() {
    let mut it = Fixture::new();
    let root = it.dir.path().to_owned();
    it.write("..2026_01/web.yaml", &import("web", "243.0.0.1"));
    it.write("..2026_02/web.yaml", &import("web", "243.0.0.2"));
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, root.join(".link")).expect("to link");
        fs::rename(root.join(".link"), root.join(name)).expect("to rename");
    };
    link("..2026_01", "..data");
    link("..data/web.yaml", "web.yaml");
    assert_eq!(
        it.look_short().0,
        ["+namespace shop", "+import shop/web [243.0.0.1]"]
    );
    link("..2026_02", "..data");
    assert_eq!(it.look_short().0, ["+import shop/web [243.0.0.2]"]);
}

#[test]
fn a_link_to_a_folder_above_ends() {
    let mut it = Fixture::new();
    it.write("web.yaml", &import("web", "243.0.0.1"));
    std::os::unix::fs::symlink(it.dir.path(), it.dir.path().join("again")).expect("to link");
    assert_eq!(it.look_short().0.len(), 2);
}

#[test]
fn one_object_in_two_files_is_said() {
    let mut it = Fixture::new();
    it.write("a.yaml", &import("web", "243.0.0.1"));
    it.write("b.yaml", &import("web", "243.0.0.2"));
    let (facts, problems) = it.look_short();
    assert_eq!(facts, ["+namespace shop", "+import shop/web [243.0.0.2]"]);
    let [problem] = &problems[..] else {
        panic!("one problem: {problems:?}")
    };
    assert!(
        problem.contains(
            "b.yaml document 1: ServiceImport shop/web: metadata.name: is also in a.yaml document 1"
        ),
        "{problem}"
    );
    fs::remove_file(it.dir.path().join("b.yaml")).expect("to remove");
    let (facts, problems) = it.look_short();
    assert_eq!(facts, ["+import shop/web [243.0.0.1]"]);
    assert_eq!(problems, ["b.yaml: fine"]);
}

#[test]
fn the_newer_property_goes_before_the_older() {
    let property = |name: &str, value: &str| {
        format!(
            "apiVersion: about.k8s.io/v1beta1\nkind: ClusterProperty\nmetadata: {{name: {name}}}\nspec: {{value: {value}}}\n"
        )
    };
    let mut it = Fixture::new();
    it.write("new.yaml", &property("cluster.clusterset.k8s.io", "east"));
    it.write("old.yaml", &property("id.k8s.io", "ancient"));
    assert_eq!(it.look_short().0, ["cluster east"]);
    fs::remove_file(it.dir.path().join("new.yaml")).expect("to remove");
    assert_eq!(it.look_short().0, ["cluster ancient"]);
    fs::remove_file(it.dir.path().join("old.yaml")).expect("to remove");
    assert_eq!(it.look_short().0, ["cluster none"]);
}

#[test]
fn a_missing_folder_changes_nothing() {
    let mut it = Fixture::new();
    it.write("web.yaml", &import("web", "243.0.0.1"));
    it.look();
    let away = it.dir.path().with_extension("away");
    fs::rename(it.dir.path(), &away).expect("to rename");
    assert!(it.folder.look().is_err());
    fs::rename(&away, it.dir.path()).expect("to rename");
    assert_eq!(it.look(), []);
}

#[test]
fn bytes_that_are_not_text_are_said() {
    let mut it = Fixture::new();
    fs::write(it.dir.path().join("web.yaml"), [0xff, 0xfe, 0x00]).expect("to write");
    let (facts, problems) = it.look_short();
    assert_eq!(facts, [""; 0]);
    assert!(
        problems[0].starts_with("web.yaml: file: is not UTF-8"),
        "{problems:?}"
    );
}

#[test]
fn a_pipe_is_left_out_and_holds_up_nothing() {
    let mut fixture = Fixture::new();
    let pipe = fixture.dir.path().join("pipe.yaml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    fixture.write("web.yaml", &import("web", "243.0.0.1"));
    let (facts, problems) = fixture.look_short();
    assert!(!facts.is_empty());
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("is not a file")),
        "{problems:?}"
    );
}
