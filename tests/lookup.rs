//! Lookups in hostile trees: both ways of looking up (openat2 and stepping) against a model in memory, on
//! random trees full of links. Needs no root.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{RwLock, RwLockReadGuard};

use orlop::sys::path::{Last, RootFd, identity};
use proptest::prelude::*;
use rustix::fs::{CWD, Mode, OFlags};

#[derive(Debug, Clone)]
enum Node {
    Dir(BTreeMap<String, Node>),
    File,
    Link(String),
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[abc]", 1 => Just("..".to_string()), 1 => Just(".".to_string())]
}

fn some_path() -> impl Strategy<Value = String> {
    (any::<bool>(), prop::collection::vec(word(), 1..5), any::<bool>()).prop_map(
        |(absolute, words, slash)| {
            let (first, last) = (if absolute { "/" } else { "" }, if slash { "/" } else { "" });
            format!("{first}{}{last}", words.join("/"))
        },
    )
}

fn tree() -> impl Strategy<Value = BTreeMap<String, Node>> {
    let leaf = prop_oneof![1 => Just(Node::File), 3 => some_path().prop_map(Node::Link)];
    let node = leaf.prop_recursive(3, 24, 3, |inner| {
        prop::collection::btree_map("[abc]", inner, 0..4).prop_map(Node::Dir)
    });
    prop::collection::btree_map("[abc]", node, 1..4)
}

fn build(at: &Path, nodes: &BTreeMap<String, Node>) {
    for (name, node) in nodes {
        let path = at.join(name);
        match node {
            Node::Dir(inner) => {
                fs::create_dir(&path).unwrap();
                build(&path, inner);
            }
            Node::File => fs::write(&path, "").unwrap(),
            Node::Link(target) => symlink(target, &path).unwrap(),
        }
    }
}

/// The rules of path_resolution(7) with the root as `/`, on names alone: where the path ends, or the errno.
fn model(root: &BTreeMap<String, Node>, path: &str, last: Last) -> Result<Vec<String>, i32> {
    let top = Node::Dir(root.clone());
    let mut here: Vec<String> = Vec::new();
    let mut todo: Vec<String> = words(path);
    let mut links = 0;
    let node_at = |path: &[String]| -> Option<Node> {
        path.iter().try_fold(top.clone(), |node, name| match node {
            Node::Dir(inner) => inner.get(name).cloned(),
            _ => None,
        })
    };
    while !todo.is_empty() {
        let word = todo.remove(0);
        let Some(Node::Dir(inner)) = node_at(&here) else { return Err(libc::ENOTDIR) };
        match word.as_str() {
            "." => {}
            ".." => drop(here.pop()),
            name => match inner.get(name) {
                None => return Err(libc::ENOENT),
                Some(Node::Link(target)) if !(todo.is_empty() && last == Last::Stay) => {
                    links += 1;
                    if links > 40 {
                        return Err(libc::ELOOP);
                    }
                    if target.starts_with('/') {
                        here.clear();
                    }
                    let mut next = words(target);
                    next.append(&mut todo);
                    todo = next;
                }
                Some(_) => here.push(name.to_string()),
            },
        }
    }
    Ok(here)
}

fn words(path: &str) -> Vec<String> {
    let mut words: Vec<String> = path.split('/').filter(|word| !word.is_empty()).map(String::from).collect();
    if path.ends_with('/') && !words.is_empty() {
        words.push(".".into());
    }
    words
}

fn open(path: &Path) -> std::os::fd::OwnedFd {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn both(root: &Path) -> [RootFd; 2] {
    [RootFd::new(open(root)), RootFd::stepping(open(root))]
}

/// Any rename on the host makes openat2 give up (EAGAIN) on a path with `..`: while one test renames without pause, no
/// other looks up.
static STORM: RwLock<()> = RwLock::new(());

fn calm() -> RwLockReadGuard<'static, ()> {
    STORM.read().unwrap_or_else(|e| e.into_inner())
}

/// Ends the exchange, also when an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lookups_agree_with_the_model(tree in tree(), paths in prop::collection::vec(some_path(), 1..12)) {
        let _calm = calm();
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        fs::create_dir(&root).unwrap();
        build(&root, &tree);
        for backend in both(&root) {
            for path in &paths {
                for last in [Last::Follow, Last::Stay] {
                    let expected = model(&tree, path, last);
                    let answer = backend.find(Path::new(path), last);
                    match (&expected, &answer) {
                        (Ok(names), Ok(fd)) => {
                            let real = open(&root.join(names.iter().collect::<PathBuf>()));
                            prop_assert_eq!(identity(fd.as_fd()).unwrap(), identity(real.as_fd()).unwrap(), "{} {:?}", path, last);
                        }
                        (Err(errno), Err(e)) => prop_assert_eq!(*errno, e.errno(), "{} {:?}", path, last),
                        _ => prop_assert!(false, "{path} {last:?}: {expected:?}, got {answer:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_made_is_found_again_and_inside(tree in tree(), path in some_path(), file in any::<bool>()) {
        let _calm = calm();
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        fs::create_dir(&root).unwrap();
        build(&root, &tree);
        let [new, stepping] = both(&root);
        let made = if file { new.make_file(Path::new(&path)) } else { new.make_dir_all(Path::new(&path)) };
        let left: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
        prop_assert_eq!(left.len(), 1, "something was made outside");
        if let Ok(made) = made {
            for backend in [new, stepping] {
                let found = backend.find(Path::new(&path), Last::Follow).unwrap();
                prop_assert_eq!(identity(found.as_fd()).unwrap(), identity(made.fd.as_fd()).unwrap());
            }
        }
    }
}

/// T24 and the rest that random trees do not hit.
#[test]
fn limits_are_the_kernels() {
    let _calm = calm();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: String| dir.path().join(name);
    fs::write(at("l0".into()), "").unwrap();
    for n in 1..=41 {
        symlink(format!("l{}", n - 1), at(format!("l{n}"))).unwrap();
    }
    let name = "n".repeat(255);
    fs::write(at(name.clone()), "").unwrap();
    let long = "./".repeat(2047);
    for root in both(dir.path()) {
        let errno = |path: &str| root.find(Path::new(path), Last::Follow).err().map(|e| e.errno());
        assert_eq!(errno("l40"), None);
        assert_eq!(errno("l41"), Some(libc::ELOOP));
        assert_eq!(errno(&name), None);
        assert_eq!(errno(&format!("{name}n")), Some(libc::ENAMETOOLONG));
        assert_eq!(errno(&format!("{long}.")), None);
        assert_eq!(errno(&format!("{long}./")), Some(libc::ENAMETOOLONG));
        assert_eq!(errno(""), Some(libc::ENOENT));
        assert_eq!(errno("/"), None);
        assert_eq!(errno("../../.."), None);
    }
}

/// What is opened is where all links lead, whoever does the lookup.
#[test]
fn a_file_is_opened_through_links() {
    let _calm = calm();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("etc")).unwrap();
    std::fs::write(at("etc/file"), "inside").unwrap();
    for (link, target) in [("link", "/etc/file"), ("etc/twice", "../link"), ("up", "../../etc/file")] {
        std::os::unix::fs::symlink(target, at(link)).unwrap();
    }
    for root in both(dir.path()) {
        for name in ["/etc/file", "/link", "/etc/twice", "/up", "etc/./file"] {
            let fd = root.open(Path::new(name), OFlags::RDONLY, Last::Follow).unwrap();
            assert_eq!(std::io::read_to_string(std::fs::File::from(fd)).unwrap(), "inside", "{name}");
        }
        let stay = root.open(Path::new("/link"), OFlags::RDONLY, Last::Stay).unwrap_err();
        assert_eq!(stay.errno(), libc::ELOOP);
        let directory = root.open(Path::new("/etc/.."), OFlags::RDONLY, Last::Follow).unwrap();
        assert!(std::fs::File::from(directory).metadata().unwrap().is_dir());
    }
}

#[test]
fn dangling_absolute_links_are_made_inside() {
    let _calm = calm();
    let dir = tempfile::tempdir().unwrap();
    symlink("/abs/path/missing", dir.path().join("lnk")).unwrap();
    let root = RootFd::new(open(dir.path()));
    let found = root.make_dir_all(Path::new("/lnk/newdir/x")).unwrap();
    assert!(found.made);
    assert!(dir.path().join("abs/path/missing/newdir/x").is_dir());
    assert!(!root.make_dir_all(Path::new("/lnk/newdir/x")).unwrap().made);
    assert!(root.make_file(Path::new("/lnk/f")).unwrap().made);
    assert!(dir.path().join("abs/path/missing/f").is_file());
}

#[test]
fn the_component_in_the_way_is_named() {
    let _calm = calm();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/hosts"), "").unwrap();
    for root in both(dir.path()) {
        let said = root.make_dir_all(Path::new("/etc/hosts/x")).unwrap_err().to_string();
        assert_eq!(
            said,
            "not a directory (openat); hint: /etc/hosts inside the root is a regular file, not a directory"
        );
    }
}

/// T10, T11: while another process exchanges a directory with a link out of the root, nothing is ever found or
/// made outside.
#[test]
fn exchanged_names_never_lead_out() {
    let _storm = STORM.write().unwrap_or_else(|e| e.into_inner());
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().canonicalize().unwrap();
    let root = here.join("root");
    let outside = here.join("outside");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    symlink(&outside, root.join("a/link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let a = open(&root.join("a"));
            while !stop.load(Ordering::Relaxed) {
                let swap = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&a, "b", &a, "link", swap).unwrap();
            }
        });
        let _stop = Stop(&stop);
        for backend in both(&root) {
            for n in 0..3000 {
                let path = format!("/a/b/../b/new{}", n % 5);
                match backend.make_dir_all(Path::new(&path)) {
                    Ok(found) => {
                        let at = fs::read_link(format!("/proc/self/fd/{}", found.fd.as_raw_fd())).unwrap();
                        assert!(at.starts_with(&root), "{}", at.display());
                    }
                    Err(e) => {
                        assert!(matches!(e.errno(), libc::EAGAIN | libc::ENOENT | libc::ENOTDIR), "{e}")
                    }
                }
            }
        }
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}
