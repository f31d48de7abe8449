//! Options of a command as Go's flag package takes them, and runc with it: `--force=true`, `-force`, `-force=0`.
//! Rewritten to the one form that clap reads. go-runc writes `-no-subreaper`.

use crate::cli::truth;
use clap::{ArgAction, Command};
use std::ffi::OsString;

/// `args` of `command`, its name not among them. What stands behind the words of `exec` is another program's.
pub fn rewrite(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let ends_at_word = command.get_positionals().any(clap::Arg::is_trailing_var_arg_set);
    let mut rewritten: Vec<OsString> = Vec::with_capacity(args.len());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy().into_owned();
        if text == "--" || ends_at_word && !text.starts_with('-') {
            rewritten.push(arg);
            break;
        }
        let Some((option, value)) = known(command, &text) else {
            rewritten.push(arg);
            continue;
        };
        let long = option.get_long().map(|name| format!("--{name}")).unwrap_or_default();
        match (option.get_action(), value.map(|value| (value, truth(value)))) {
            (ArgAction::SetTrue, Some((_, Some(true)))) => rewritten.push(long.into()),
            // The last one holds.
            (ArgAction::SetTrue, Some((_, Some(false)))) => rewritten.retain(|earlier| *earlier != *long),
            (_, Some((value, _))) if !text.starts_with("--") => {
                rewritten.push(format!("{long}={value}").into())
            }
            (_, Some(_)) => rewritten.push(arg),
            (action, None) => {
                rewritten.push(if long.is_empty() { arg } else { long.into() });
                if action.takes_values() {
                    rewritten.extend(args.next());
                }
            }
        }
    }
    rewritten.extend(args);
    rewritten
}

/// The option that `text` names, and what stands behind its `=`.
fn known<'a>(command: &'a Command, text: &'a str) -> Option<(&'a clap::Arg, Option<&'a str>)> {
    let name = text.strip_prefix('-')?;
    let name = name.strip_prefix('-').unwrap_or(name);
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    let short =
        |arg: &clap::Arg| !text.starts_with("--") && arg.get_short().is_some_and(|c| name == c.to_string());
    let named = |arg: &&clap::Arg| arg.get_long() == Some(name) || short(arg);
    command.get_arguments().find(named).map(|arg| (arg, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Parser};

    #[derive(Parser)]
    #[allow(dead_code)]
    struct Exec {
        #[arg(short, long)]
        tty: bool,
        #[arg(short, long)]
        user: Option<String>,
        #[arg(trailing_var_arg = true, required = true)]
        words: Vec<String>,
    }

    fn rewritten(command: &Command, line: &str) -> String {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        rewrite(command, args).iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn as_go_reads_them() {
        let exec = <Exec as clap::CommandFactory>::command();
        for (line, expected) in [
            ("--tty=true -user 7 c1 sh", "--tty --user 7 c1 sh"),
            ("-tty=1 --user=7 c1 sh", "--tty --user=7 c1 sh"),
            ("--tty --tty=false c1 sh", "c1 sh"),
            ("-t -tty=F -user=a=b c1 ls -tty=true", "--user=a=b c1 ls -tty=true"),
            ("-u -tty c1 --tty=true", "--user -tty c1 --tty=true"),
            ("-tu 7 c1 sh -la", "-tu 7 c1 sh -la"),
            ("--tty=maybe c1", "--tty=maybe c1"),
            ("-- -tty=true", "-- -tty=true"),
        ] {
            assert_eq!(rewritten(&exec, line), expected, "{line}");
        }
        let delete = Command::new("delete")
            .arg(Arg::new("force").short('f').long("force").action(ArgAction::SetTrue))
            .arg(Arg::new("id"));
        assert_eq!(rewritten(&delete, "c1 -force=true"), "c1 --force");
        assert_eq!(rewritten(&delete, "-9 -force c1"), "-9 --force c1");
    }
}
