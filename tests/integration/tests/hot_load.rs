//! Publishing to a running server: what is live, what is refused, what comes back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "test"
)]

use std::{fs, io::Write, time::Duration};

use anyhow::Result;
use bindery_integration::{
    Cli,
    hot::{Component, change, development_host, plugin, publish, wait_for_version},
};
use bindery_testkit::{HostBuilder, Socket, TestHost, dist, wait_for_condition};
use serde_json::{Value, json};

const TASK: &str = "test.hot-load";
/// A second of computing; machines are shared.
const SOON: Duration = Duration::from_secs(120);

async fn check(host: &TestHost, parameters: Value) -> Result<bindery_testkit::Answer> {
    let body = json!({ "inputs": {}, "parameters": parameters });
    host.post(&format!("/api/v1/tasks/{TASK}/validate"), &body)
        .await
}

async fn output(host: &TestHost, execution: &str) -> Result<Value> {
    let path = format!("/api/v1/executions/{execution}/results");
    let results = host.get(&path).await?.expect_status(200)?.json()?;
    Ok(results["output"].clone())
}

/// Number of versions that carry a status.
fn count(plugin: &Value, status: &str) -> usize {
    let versions = plugin["versions"].as_array().unwrap();
    versions
        .iter()
        .filter(|version| version["status"] == status)
        .count()
}

/// The next event of tasks.
async fn told(socket: &mut Socket, event: &str, version: &str) -> Result<()> {
    let frame = socket.next(SOON).await?;
    assert_eq!(frame["topic"], "tasks", "{frame}");
    assert_eq!(frame["event"], event, "{frame}");
    assert_eq!(frame["data"]["task"], TASK, "{frame}");
    assert_eq!(frame["data"]["version"], version, "{frame}");
    Ok(())
}

fn actions(plugin: &Value) -> Vec<&str> {
    let history = plugin["history"].as_array().unwrap();
    history
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_component_is_live_when_the_answer_comes_and_versions_stand_side_by_side() -> Result<()> {
    let (host, _folder) = development_host().await?;
    let mut socket = host.socket().await?;
    socket.subscribe(&["tasks"], None).await?;
    let component = Component::built()?;

    let first = publish(&host, component.bytes()).await?;
    let first = first.expect_status(201)?.json()?;
    assert_eq!(first["name"], TASK);
    assert_eq!(first["trust"], "development");
    assert_eq!(first["report"]["compile"]["confined"], "L2", "{first}");
    eprintln!(
        "a component of {} bytes is live after {} ms, {} of them in the compiler",
        first["component_bytes"],
        first["report"]["milliseconds"],
        first["report"]["compile"]["milliseconds"],
    );
    told(&mut socket, "task.loaded", "1.0.1000").await?;
    let again = publish(&host, component.bytes()).await?;
    let again = again.expect_status(200)?.json()?;
    assert_eq!(again["digest"], first["digest"]);

    let second = publish(&host, component.version(1001)?.bytes()).await?;
    second.expect_status(201)?;
    told(&mut socket, "task.updated", "1.0.1001").await?;
    let task = host.get(&format!("/api/v1/tasks/{TASK}")).await?.json()?;
    assert_eq!(task["version"], "1.0.1001");
    assert_eq!(task["versions"], json!(["1.0.1001", "1.0.1000"]));
    assert_eq!(task["package"], format!("{TASK}@1.0.1001"));
    for (name, version) in [
        (TASK.to_owned(), "1.0.1001"),
        (format!("{TASK}@1.0.1000"), "1.0.1000"),
    ] {
        let run = host.execute(&name, json!({}), json!({})).await?;
        let record = host.wait_for_end(&run.execution, SOON).await?;
        assert_eq!(record["status"], "succeeded", "{record}");
        assert_eq!(record["task_version"], version);
        let marked = record["notices"].as_array().unwrap();
        assert!(
            marked
                .iter()
                .any(|notice| notice["code"] == "unsigned_plugin")
        );
        let output = output(&host, &run.execution).await?;
        assert_eq!(output["computed_by"], version);
        assert_eq!(output["checked_by"], version);
    }

    drop(socket);
    let mut socket = host.socket().await?;
    socket.subscribe(&["tasks"], None).await?;
    // Back, by one call; the newer one stays, disabled.
    let back = change(&host, TASK, "rollback")
        .await?
        .expect_status(200)?
        .json()?;
    told(&mut socket, "task.updated", "1.0.1000").await?;
    assert_eq!(back["version"], "1.0.1000");
    assert_eq!(count(&back, "disabled"), 1);
    let checked = check(&host, json!({})).await?.expect_status(200)?.json()?;
    assert_eq!(checked["parameters"]["checked_by"], "1.0.1000");
    let none = change(&host, TASK, "rollback").await?;
    assert_eq!(
        none.expect_status(409)?.problem()?["code"],
        "nothing_before"
    );
    // And on again.
    let on = change(&host, TASK, "enable")
        .await?
        .expect_status(200)?
        .json()?;
    told(&mut socket, "task.updated", "1.0.1001").await?;
    assert_eq!(on["version"], "1.0.1001");

    // What was done is known, also after a restart.
    let before = plugin(&host, TASK).await?;
    assert_eq!(
        actions(&before),
        ["enabled", "rolled_back", "published", "published"]
    );
    let mut host = host;
    host.kill()?;
    host.restart().await?;
    let after = plugin(&host, TASK).await?;
    for name in ["version", "digest", "history"] {
        assert_eq!(after[name], before[name]);
    }
    check(&host, json!({})).await?.expect_status(200)?;

    let request = host.request(reqwest::Method::DELETE, &format!("/api/v1/plugins/{TASK}"));
    host.send(request).await?.expect_status(204)?;
    wait_for_version(&host, TASK, None).await
}

#[tokio::test]
async fn what_runs_ends_on_the_version_it_began_with_even_across_a_restart() -> Result<()> {
    let (mut host, _folder) = development_host().await?;
    let component = Component::built()?;
    publish(&host, component.bytes())
        .await?
        .expect_status(201)?;
    let run = host.execute(TASK, json!({}), json!({ "spin": 3 })).await?;
    host.wait_for_status(&run.execution, &["running"], SOON)
        .await?;
    publish(&host, component.version(1001)?.bytes())
        .await?
        .expect_status(201)?;
    let path = format!("/api/v1/plugins/{TASK}?version=1.0.1000");
    let request = host.request(reqwest::Method::DELETE, &path);
    host.send(request).await?.expect_status(204)?;
    let record = host.execution(&run.execution).await?;
    assert_eq!(
        record["status"], "running",
        "too short to be seen: {record}"
    );
    host.kill()?;
    host.restart().await?;
    let gone = host.get(&format!("/api/v1/tasks/{TASK}@1.0.1000")).await?;
    assert_eq!(gone.status, 404);
    let record = host.wait_for_end(&run.execution, SOON).await?;
    assert_eq!(record["status"], "succeeded", "{record}");
    let output = output(&host, &run.execution).await?;
    assert_eq!(output["computed_by"], "1.0.1000");
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_breaks_ten_times_in_a_row_is_put_aside_and_others_are_not() -> Result<()> {
    let (host, _folder) = development_host().await?;
    let component = Component::built()?;
    publish(&host, component.bytes())
        .await?
        .expect_status(201)?;
    let other = component.task(1)?;
    publish(&host, other.bytes()).await?.expect_status(201)?;
    for _ in 0..9 {
        check(&host, json!({ "kind": "trap" }))
            .await?
            .expect_status(502)?;
    }
    // A good answer between them: it begins anew.
    check(&host, json!({})).await?.expect_status(200)?;
    for _ in 0..10 {
        check(&host, json!({ "kind": "trap" }))
            .await?
            .expect_status(502)?;
    }
    wait_for_version(&host, TASK, None).await?;
    let aside = plugin(&host, TASK).await?;
    assert_eq!(aside["versions"][0]["cause"], "put_aside", "{aside}");
    assert_eq!(actions(&aside)[0], "put_aside");
    assert!(
        aside["history"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("broke"),
        "{aside}"
    );
    assert!(
        host.get("/api/v1/tasks/test.ht-p0001")
            .await?
            .status
            .is_success()
    );
    change(&host, TASK, "enable").await?.expect_status(200)?;
    check(&host, json!({})).await?.expect_status(200)?;
    host.is_healthy().await
}

#[tokio::test]
async fn an_upgrade_that_breaks_is_taken_back_by_the_host() -> Result<()> {
    let (host, _folder) = development_host().await?;
    let component = Component::built()?;
    publish(&host, component.bytes())
        .await?
        .expect_status(201)?;
    let run = host.execute(TASK, json!({}), json!({ "a": 1 })).await?;
    host.wait_for_status(&run.execution, &["succeeded"], SOON)
        .await?;
    let bad = component.version(1001)?.trapping()?;
    let published = publish(&host, bad.bytes()).await?;
    let published = published.expect_status(201)?.json()?;
    // The request that was really made shows it, before anybody meets it.
    let replay = &published["report"]["replay"];
    assert_eq!(replay["validated"], 1, "{published}");
    assert_eq!(replay["different"], 1, "{published}");
    for _ in 0..3 {
        check(&host, json!({})).await?.expect_status(502)?;
    }
    wait_for_version(&host, TASK, Some("1.0.1000")).await?;
    check(&host, json!({})).await?.expect_status(200)?;
    let plugin = plugin(&host, TASK).await?;
    assert_eq!(actions(&plugin)[0], "rolled_back_by_host", "{plugin}");
    assert_eq!(plugin["history"][0]["from_version"], "1.0.1001");
    Ok(())
}

#[tokio::test]
async fn a_folder_is_watched_and_half_a_file_is_not_read() -> Result<()> {
    let (host, folder) = development_host().await?;
    let component = Component::built()?;
    let file = folder.path().join("hot.wasm");
    let bytes = component.bytes();
    let mut writer = fs::File::create(&file)?;
    // Grows for longer than the folder is looked at twice.
    for chunk in bytes.chunks(bytes.len().div_ceil(16)) {
        writer.write_all(chunk)?;
        writer.flush()?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    drop(writer);
    wait_for_version(&host, TASK, Some("1.0.1000")).await?;
    assert!(!host.log().contains("not loaded"), "{}", host.log());

    fs::write(&file, component.version(1001)?.bytes())?;
    wait_for_version(&host, TASK, Some("1.0.1001")).await?;
    fs::remove_file(&file)?;
    // Both came from that file.
    wait_for_version(&host, TASK, None).await?;
    let gone = plugin(&host, TASK).await?;
    assert_eq!(actions(&gone)[0], "removed_from_folder", "{gone}");
    fs::write(&file, component.bytes())?;
    wait_for_version(&host, TASK, Some("1.0.1000")).await?;

    // What cannot be loaded is said, and changes nothing.
    fs::write(folder.path().join("bad.wasm"), b"\0asm nonsense")?;
    wait_for_condition("the fault to be logged", SOON, async || {
        Ok(host.log().contains("bad.wasm").then_some(()))
    })
    .await?;
    check(&host, json!({})).await?.expect_status(200)?;
    host.is_healthy().await
}

#[tokio::test]
async fn unsigned_plugins_are_refused_and_what_ships_is_not() -> Result<()> {
    let host = TestHost::start().await?;
    let answer = publish(&host, Component::built()?.bytes()).await?;
    let problem = answer.expect_status(403)?.problem()?;
    assert_eq!(problem["code"], "unsigned");
    assert!(problem["hint"].as_str().unwrap().contains("sign"));
    let shipped = plugin(&host, "system.noop").await?;
    assert_eq!(shipped["versions"][0]["trust"], "shipped");

    // A package that ships, with one byte more.
    let packages = tempfile::tempdir()?;
    let package = packages.path().join("system.noop");
    fs::create_dir(&package)?;
    for name in ["bindery.toml", "component.wasm"] {
        fs::copy(
            dist()?.join("plugins/system.noop").join(name),
            package.join(name),
        )?;
    }
    let mut manifest = fs::OpenOptions::new()
        .append(true)
        .open(package.join("bindery.toml"))?;
    writeln!(manifest)?;
    let server = format!("http://{}", host.address());
    let command = [
        "plugin",
        "publish",
        "--server",
        &server,
        "--token",
        host.token(),
    ];
    let finished = Cli::new(&command)?.arg(&package).finish().await?;
    assert_eq!(finished.code()?, 1, "{finished:?}");
    assert!(finished.stderr.contains("(unsigned)"), "{finished:?}");

    // The component alone is one that ships, and is there.
    let component = fs::read(package.join("component.wasm"))?;
    let known = publish(&host, component).await?;
    let known = known.expect_status(200)?.json()?;
    assert_eq!(known["name"], "system.noop");
    let rubbish = publish(&host, b"no archive at all".to_vec()).await?;
    let code = rubbish.expect_status(422)?.problem()?["code"].clone();
    assert_eq!(code, "package_invalid");
    Ok(())
}

#[tokio::test]
async fn compiled_code_that_was_changed_is_never_run() -> Result<()> {
    let (mut host, _folder) = development_host().await?;
    publish(&host, Component::built()?.bytes())
        .await?
        .expect_status(201)?;
    host.kill()?;
    let mut changed = 0;
    for entry in fs::read_dir(host.data().join("cache/components"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cwasm")
        {
            let mut bytes = fs::read(&path)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes)?;
            changed += 1;
        }
    }
    assert_eq!(changed, 1);
    host.restart().await?;
    assert!(host.log().contains("not ours or damaged"), "{}", host.log());
    check(&host, json!({})).await?.expect_status(200)?;
    Ok(())
}

/// A component with so much code that compiling it takes many times a second.
fn compile_bomb() -> Vec<u8> {
    fn leb(mut value: usize, out: &mut Vec<u8>) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                out.push(low);
                return;
            }
            out.push(low | 0x80);
        }
    }
    fn section(id: u8, content: &[u8], out: &mut Vec<u8>) {
        out.push(id);
        leb(content.len(), out);
        out.extend_from_slice(content);
    }
    const FUNCTIONS: usize = 240;
    // One local of i32, then: local 0 := (local 0 * 31) ^ (local 0 rotated by itself), often.
    let mut body = vec![1, 1, 0x7f];
    for _ in 0..16_000 {
        body.extend_from_slice(&[
            0x20, 0, 0x41, 31, 0x6c, 0x20, 0, 0x20, 0, 0x77, 0x73, 0x21, 0,
        ]);
    }
    body.push(0x0b);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 0, 0], &mut module);
    let mut functions = Vec::new();
    leb(FUNCTIONS, &mut functions);
    functions.extend(std::iter::repeat_n(0, FUNCTIONS));
    section(3, &functions, &mut module);
    let mut code = Vec::new();
    leb(FUNCTIONS, &mut code);
    for _ in 0..FUNCTIONS {
        leb(body.len(), &mut code);
        code.extend_from_slice(&body);
    }
    section(10, &code, &mut module);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(1, &module, &mut component);
    component
}

#[tokio::test]
async fn a_component_that_is_a_bomb_for_the_compiler_is_stopped() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let settings = directory.path().join("settings.toml");
    fs::write(&settings, "[plugin]\ncompile_seconds_max = 1\n")?;
    let plugins = directory.path().join("plugins");
    fs::create_dir(&plugins)?;
    let host = HostBuilder::default()
        .argument("--dev")
        .argument("--plugins")
        .argument(&plugins)
        .argument("--config")
        .argument(&settings)
        .start()
        .await?;
    let before = host.resident_bytes()?;
    let bomb = compile_bomb();
    let size_bytes = bomb.len() as u64;
    let started = std::time::Instant::now();
    let answer = publish(&host, bomb).await?;
    let code = answer.expect_status(422)?.problem()?["code"].clone();
    assert_eq!(code, "compile_limit_exceeded");
    eprintln!(
        "a bomb of {size_bytes} bytes is stopped after {:?}",
        started.elapsed()
    );
    // The compiler's memory was another process's; the upload itself passed through here.
    let grown = host.resident_bytes()?.saturating_sub(before);
    assert!(grown < 8 * size_bytes, "{grown} bytes more");
    publish(&host, Component::built()?.bytes())
        .await?
        .expect_status(201)?;
    host.is_healthy().await
}
