//! `bindery plugin run`.

use anyhow::{Context, bail};

use super::{arguments::PluginRunArguments, build, test};
use crate::{cli::RunArguments, exit::Exit, task_cli::OwnArguments};

pub(crate) async fn command(arguments: PluginRunArguments) -> anyhow::Result<Exit> {
    let package = build::package(&arguments.directory, arguments.no_build).await?;
    let task = match arguments.task {
        Some(task) => task,
        None => only_task(&package).await?,
    };
    let mut local = arguments.local;
    // The others stay: they know the formats of its files.
    let mut plugins = match local.plugins.as_slice() {
        [] => crate::paths::beside_program("plugins")
            .into_iter()
            .collect(),
        named => named.to_vec(),
    };
    plugins.push(package);
    local.plugins = plugins;
    // It is the author's own, and not signed yet.
    local.dev = true;
    crate::run::run(RunArguments {
        task,
        request: arguments.request,
        local,
        own: OwnArguments::default(),
    })
    .await
}

async fn only_task(package: &std::path::Path) -> anyhow::Result<String> {
    let plugin = test::load(&package.join("component.wasm")).await?;
    match plugin.tasks() {
        [only] => Ok(only.id.clone()),
        [] => bail!("the plugin has no tasks"),
        [first, ..] => Err(anyhow::anyhow!("the plugin has several tasks"))
            .with_context(|| format!("name one: `bindery plugin run --task {}`", first.id)),
    }
}
