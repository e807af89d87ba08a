//! The binary itself: what a shell sees of it.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

fn admin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_admin"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    admin(arguments).output().expect("the binary runs")
}

#[test]
fn help_teaches_by_example_and_says_the_exit_codes() {
    let output = run(&["--help"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success() && output.stderr.is_empty());
    for words in ["Examples:", "--local user list", "--stack latchkey doctor", "Exit codes: 0 done"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for command in [&["user"][..], &["keys"], &["mail"], &["user", "set-email"], &["keys", "revoke"]] {
        assert!(run(&[command, &["--help"]].concat()).status.success(), "{command:?}");
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success());
        for command in ["revoke-sessions", "unblock", "doctor", "rotate"] {
            assert!(text.contains(command), "{shell}: {command}");
        }
    }
    assert_eq!(run(&["completions", "dos"]).status.code(), Some(2));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    for arguments in [&["completions", "bash"][..], &["--help"]] {
        let mut child = admin(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // As `head` does that has read enough, before anything came.
        drop(child.stdout.take());
        let mut told = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut told).expect("UTF-8");
        assert!(child.wait().expect("an end").success(), "{told}");
        assert_eq!(told, "");
    }
}

#[test]
fn an_error_is_one_line_without_colours_and_with_json_it_is_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = format!("--local={}", folder.path().display());
    let output = run(&[&local, "user", "find", "ann"]);
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(3));
    assert!(told.starts_with("error: no local stack runs") && told.lines().count() == 1, "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let output = run(&[&local, "--json", "doctor"]);
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    let prefix = r#"{"error":{"code":"not_found","message":"no local stack runs on "#;
    assert!(told.starts_with(prefix) && told.lines().count() == 1, "{told}");

    // Colours where they are wanted, and nowhere else.
    let coloured = |variables: &[(&str, &str)]| {
        let mut command = admin(&[&local, "doctor"]);
        let output = command.envs(variables.iter().copied()).output().expect("the binary runs");
        output.stderr.contains(&0x1b)
    };
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn a_file_of_another_kind_is_a_failure_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("endpoint.json");
    std::fs::File::create(&path).and_then(|mut file| file.write_all(b"{}")).expect("a file");
    let output = run(&[&format!("--local={}", folder.path().display()), "user", "find", "ann"]);
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("endpoint.json"), "{told}");
}
