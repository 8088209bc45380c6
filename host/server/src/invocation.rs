//! From the words on the command line to a command, in two steps where it takes two.
//!
//! `run` and `task validate` take flags that only the definition of the named task knows. What
//! everybody can type is tried first, without looking at any plugin. Only when words remain that
//! fit nothing, or help is asked for, the plugins are loaded, the task's flags are added to the
//! command, and all of it is read again: strictly, so that a flag which nobody has is an error
//! with a suggestion.

use std::ffi::{OsStr, OsString};

use bindery_core::TaskRef;
use bindery_runtime::{Catalog, Runtime, RuntimeConfig, TaskEntry};
use clap::{Command, CommandFactory, FromArgMatches, Parser, error::ErrorKind};

use crate::{
    cli::{Cli, Command as CliCommand, LocalArguments, TaskCommand},
    paths, plugins,
    settings::Settings,
    task_cli::TaskFlags,
    trust,
};

/// Subcommands, outermost first, that take a task and its flags.
const WITH_TASK: [&[&str]; 2] = [&["run"], &["task", "validate"]];

/// What was typed.
#[derive(Debug)]
pub(crate) enum Invocation {
    Plain(Box<Cli>),
    /// Only the definition of a task can tell.
    OfTask(OfTask),
}

/// Words whose meaning depends on a task.
#[derive(Debug)]
pub(crate) struct OfTask {
    words: Vec<OsString>,
    path: &'static [&'static str],
    /// Why they could not be read without it.
    error: clap::Error,
    /// The same words without those that nobody but the task may know.
    common: Box<Cli>,
}

/// Reads the words; ends the process where they are no command at all.
pub(crate) fn read() -> Invocation {
    let words: Vec<OsString> = std::env::args_os().collect();
    match read_from(words) {
        Ok(invocation) => invocation,
        Err(error) => error.exit(),
    }
}

fn read_from(words: Vec<OsString>) -> Result<Invocation, clap::Error> {
    let error = match Cli::try_parse_from(&words) {
        Ok(cli) => return Ok(Invocation::Plain(Box::new(cli))),
        Err(error) => error,
    };
    let about_task = matches!(
        error.kind(),
        ErrorKind::UnknownArgument | ErrorKind::DisplayHelp
    );
    if !about_task {
        return Err(error);
    }
    let Some((path, common)) = WITH_TASK
        .into_iter()
        .find_map(|path| Some((path, common_words(&words, path)?)))
    else {
        return Err(error);
    };
    match Cli::try_parse_from(common) {
        Ok(common) => Ok(Invocation::OfTask(OfTask {
            words,
            path,
            error,
            common: Box::new(common),
        })),
        // `run --help` names no task: the help of the command itself.
        Err(_) if error.kind() == ErrorKind::DisplayHelp => Err(error),
        Err(other) => Err(other),
    }
}

/// The words of `bindery SUBCOMMAND TASK …` that the command has for every task. None when it is
/// another subcommand.
fn common_words(words: &[OsString], path: &[&str]) -> Option<Vec<OsString>> {
    let mut command = Cli::command();
    command.build();
    let mut rest = words.iter();
    let mut kept = vec![rest.next()?.clone()];
    let mut wanted = path.iter();
    let mut next_name = wanted.next();
    let mut at = &command;
    let mut task_seen = false;
    while let Some(word) = rest.next() {
        let text = word.to_str().unwrap_or_default();
        if text == "--" {
            kept.push(word.clone());
            kept.extend(rest.cloned());
            break;
        }
        if let Some(flag) = Flag::read(text) {
            if matches!(text, "-h" | "--help") {
                continue;
            }
            match flag.of(at) {
                Some(takes_value) => {
                    kept.push(word.clone());
                    if takes_value && !flag.has_value {
                        kept.extend(rest.next().cloned());
                    }
                }
                // The task's own: with its value in the same word, or, for all that can be known
                // here, in the next one. A word that is left over by that is left out below.
                None if next_name.is_some() => kept.push(word.clone()),
                None => {}
            }
            continue;
        }
        match next_name {
            Some(name) if *name == text => {
                at = at.find_subcommand(OsStr::new(text))?;
                kept.push(word.clone());
                next_name = wanted.next();
            }
            Some(_) => return None,
            None if !task_seen => {
                task_seen = true;
                kept.push(word.clone());
            }
            // The value of a flag of the task's own.
            None => {}
        }
    }
    next_name.is_none().then_some(kept)
}

/// A word that is a flag.
struct Flag<'a> {
    name: &'a str,
    long: bool,
    has_value: bool,
}

impl<'a> Flag<'a> {
    fn read(word: &'a str) -> Option<Self> {
        if let Some(name) = word.strip_prefix("--") {
            let (name, has_value) = match name.split_once('=') {
                Some((name, _)) => (name, true),
                None => (name, false),
            };
            return Some(Self {
                name,
                long: true,
                has_value,
            });
        }
        let name = word.strip_prefix('-')?;
        let first = name.chars().next().filter(char::is_ascii_alphabetic)?;
        Some(Self {
            name,
            long: false,
            has_value: name.len() > first.len_utf8(),
        })
    }

    /// Whether it takes a value, when the command knows it.
    fn of(&self, command: &Command) -> Option<bool> {
        let argument = command.get_arguments().find(|argument| {
            if self.long {
                argument.get_long() == Some(self.name)
            } else {
                self.name.chars().next() == argument.get_short()
            }
        })?;
        Some(argument.get_action().takes_values())
    }
}

impl OfTask {
    pub(crate) const fn verbose(&self) -> u8 {
        self.common.verbose
    }

    /// Reads the words again, with the flags of the task. Ends the process where they are no
    /// command, and after help.
    ///
    /// # Errors
    /// When the plugins cannot be looked at.
    pub(crate) async fn read(self) -> anyhow::Result<Cli> {
        let (task, local) = match &self.common.command {
            CliCommand::Run(arguments)
            | CliCommand::Task {
                command: TaskCommand::Validate(arguments),
            } => (arguments.task.clone(), arguments.local.clone()),
            _ => self.error.exit(),
        };
        let Ok(task) = task.parse::<TaskRef>() else {
            // Whether it is asked for help or run: there can be no such task.
            Cli::command()
                .error(
                    ErrorKind::ValueValidation,
                    format!("`{task}` is not a task id; the task comes before its own flags"),
                )
                .exit();
        };
        match find(&local, &task).await? {
            Some(entry) => match self.read_with(&entry) {
                Ok(cli) => Ok(cli),
                Err(error) => error.exit(),
            },
            // Said by whoever runs it, as for a task without flags.
            None if self.error.kind() == ErrorKind::UnknownArgument => Ok(*self.common),
            None => {
                eprintln!("bindery: no task `{task}` (see `bindery task list`)\n");
                self.error.exit()
            }
        }
    }

    fn read_with(&self, entry: &TaskEntry) -> Result<Cli, clap::Error> {
        let definition = &entry.definition;
        let base = Cli::command();
        let mut at = &base;
        for name in self.path {
            match at.find_subcommand(name) {
                Some(found) => at = found,
                None => return Err(base.clone().error(ErrorKind::InvalidSubcommand, *name)),
            }
        }
        let flags = TaskFlags::new(definition, at);
        let command = change(base.clone(), self.path, &|command| {
            flags.add_to(command, definition)
        });
        let matches = command.try_get_matches_from(&self.words)?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        let mut inner = &matches;
        for name in self.path {
            if let Some(found) = inner.subcommand_matches(name) {
                inner = found;
            }
        }
        if let CliCommand::Run(arguments)
        | CliCommand::Task {
            command: TaskCommand::Validate(arguments),
        } = &mut cli.command
        {
            arguments.own = flags.read(inner);
        }
        Ok(cli)
    }
}

/// Changes the subcommand at a path.
fn change(command: Command, path: &[&'static str], with: &dyn Fn(Command) -> Command) -> Command {
    match path {
        [] => with(command),
        [name, rest @ ..] => command.mut_subcommand(name, |inner| change(inner, rest, with)),
    }
}

/// The task, when a plugin defines it.
async fn find(local: &LocalArguments, task: &TaskRef) -> anyhow::Result<Option<TaskEntry>> {
    let settings = Settings::read(local)?;
    let runtime = Runtime::new(&RuntimeConfig {
        cache_directory: paths::user_cache().map(|cache| cache.join("components")),
        ..RuntimeConfig::default()
    })?;
    let catalog = Catalog::default();
    // Plugins that cannot be loaded are reported when the command runs.
    let policy = trust::policy(&settings, None)?;
    plugins::load(&runtime, &catalog, &settings.plugins, &policy).await?;
    Ok(catalog.task(task))
}

/// The help of one task, as `bindery run TASK --help` gives it.
pub(crate) fn task_help(entry: &TaskEntry) -> String {
    let base = Cli::command();
    let Some(run) = base.find_subcommand("run") else {
        return String::new();
    };
    let flags = TaskFlags::new(&entry.definition, run);
    flags
        .add_to(run.clone(), &entry.definition)
        .render_long_help()
        .to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "test")]

    use super::*;

    fn common(words: &[&str], path: &[&str]) -> Option<Vec<String>> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        common_words(&words, path).map(|words| {
            words
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect()
        })
    }

    #[test]
    fn words_of_the_task_are_left_out_and_the_others_kept() {
        let kept = common(
            &[
                "bindery",
                "-v",
                "run",
                "a.b",
                "--depth",
                "3",
                "--plugins",
                "DIR",
                "--deep",
                "--json",
                "--width=4",
                "-i",
                "x=y",
                "-oDIR",
                "--help",
            ],
            &["run"],
        );
        let expected = [
            "bindery",
            "-v",
            "run",
            "a.b",
            "--plugins",
            "DIR",
            "--json",
            "-i",
            "x=y",
            "-oDIR",
        ];
        assert_eq!(kept.unwrap(), expected);
        let kept = common(
            &["bindery", "task", "validate", "--dev", "a.b", "--x", "-1"],
            &["task", "validate"],
        );
        assert_eq!(
            kept.unwrap(),
            ["bindery", "task", "validate", "--dev", "a.b"]
        );
        assert_eq!(common(&["bindery", "task", "list"], &["run"]), None);
        assert_eq!(
            common(&["bindery", "task", "list"], &["task", "validate"]),
            None
        );
    }

    #[test]
    fn only_a_task_can_tell_what_its_flags_mean() {
        let read = |words: &[&str]| read_from(words.iter().map(OsString::from).collect());
        assert!(matches!(
            read(&["bindery", "run", "a.b", "--json"]),
            Ok(Invocation::Plain(_))
        ));
        assert!(matches!(
            read(&["bindery", "run", "a.b", "--depth", "3"]),
            Ok(Invocation::OfTask(_))
        ));
        assert!(matches!(
            read(&["bindery", "run", "a.b", "--help"]),
            Ok(Invocation::OfTask(_))
        ));
        for (words, kind) in [
            (&["bindery", "run", "--help"][..], ErrorKind::DisplayHelp),
            (&["bindery", "--bogus"], ErrorKind::UnknownArgument),
            (
                &["bindery", "task", "list", "--bogus"],
                ErrorKind::UnknownArgument,
            ),
            (&["bindery", "run"], ErrorKind::MissingRequiredArgument),
            (
                &["bindery", "run", "--depth"],
                ErrorKind::MissingRequiredArgument,
            ),
        ] {
            match read(words) {
                Err(error) => assert_eq!(error.kind(), kind, "{words:?}"),
                Ok(other) => panic!("{words:?}: {other:?}"),
            }
        }
    }
}
